import { Backoff } from "../client/backoff";
import { CallClient, CallError } from "../client/call";
import type { CallEnd } from "../client/call";
import { Emitter } from "../client/emitter";
import { Microphone } from "../client/microphone";
import type { CallFailure, Transcript, TurnLatency } from "../client/protocol";
import { Speaker } from "../client/speaker";
import type { DebugStats } from "./debug";

export type TalkState = "idle" | "connecting" | "live";

export interface TalkEvents {
  state: TalkState;
  /** Something to tell the user; the talk may go on. */
  trouble: unknown;
  /** The connection was lost; an attempt to get it back is under way. */
  reconnecting: undefined;
  /** The call is over. `end` is absent if it never began. */
  over: CallEnd | undefined;
  level: number;
  speaking: boolean;
  agentSpeaking: boolean;
  words: { text: string; final: boolean };
  turn: TurnLatency;
  failure: CallFailure;
  /** The microphone is open: device names are known now. */
  microphone: string | undefined;
}

export interface TalkTarget {
  room: string;
  participant: string;
  name: string;
  device: string;
}

const RETRIES = 6;

/** Microphone, speaker and call together: what happens between Talk and Hang up. */
export class Talk extends Emitter<TalkEvents> {
  #state: TalkState = "idle";
  #muted = false;
  #context: AudioContext | undefined;
  #microphone: Microphone | undefined;
  #speaker: Speaker | undefined;
  #call: CallClient | undefined;
  #target: TalkTarget | undefined;
  #session = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #backoff = new Backoff(500, 8_000);

  constructor(private readonly stats: DebugStats) {
    super();
  }

  get state(): TalkState {
    return this.#state;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Open the microphone and call. What goes wrong comes as `trouble`. */
  async start(target: TalkTarget): Promise<void> {
    if (this.#state !== "idle") return;
    this.#session += 1;
    const session = this.#session;
    this.#target = target;
    this.#backoff.reset();
    this.#change("connecting");
    try {
      // Made inside the click, or the browser keeps it silent.
      this.#context = new AudioContext({ latencyHint: "interactive" });
      const resumed = this.#context.resume();
      await this.#openMicrophone(session, target.device);
      await resumed;
      if (session !== this.#session) return;
      await this.#openSpeaker(session, this.#context);
      if (session !== this.#session) return;
      await this.#dial(session);
    } catch (error) {
      if (session !== this.#session) return;
      this.#finish(undefined);
      this.emit("trouble", error);
    }
  }

  /** Hang up, or give up calling. */
  stop(): void {
    if (this.#state === "idle") return;
    const call = this.#call;
    if (call && call.state !== "ended") {
      call.hangup();
      if (this.#state !== "live") this.#finish(undefined);
      else this.#release();
    } else this.#finish(undefined);
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#call?.setMuted(muted);
    this.#microphone?.setMuted(muted);
  }

  /** Stop the agent, in this browser at once. */
  interrupt(): void {
    this.#speaker?.flush();
    this.#call?.interrupt();
  }

  /** Use another microphone from now on. */
  async setDevice(device: string): Promise<void> {
    if (this.#target) this.#target.device = device;
    if (this.#state === "idle" || !this.#context) return;
    try {
      await this.#openMicrophone(this.#session, device);
    } catch (error) {
      this.emit("trouble", error);
    }
  }

  async #openMicrophone(session: number, deviceId: string): Promise<void> {
    if (!this.#context) return;
    const microphone = new Microphone({ context: this.#context, deviceId });
    await microphone.start();
    if (session !== this.#session) {
      microphone.stop();
      return;
    }
    this.#microphone?.stop();
    this.#microphone = microphone;
    microphone.setMuted(this.#muted);
    microphone.on("level", (level) => this.emit("level", level));
    microphone.on("frame", (frame) => this.#sendFrame(frame));
    microphone.on("ended", () => void this.setDevice(""));
    this.emit("microphone", microphone.deviceId);
  }

  async #openSpeaker(session: number, context: AudioContext): Promise<void> {
    const speaker = new Speaker({ context });
    await speaker.start();
    if (session !== this.#session) {
      speaker.stop();
      return;
    }
    this.#speaker = speaker;
    speaker.on("report", ({ playing }) => this.emit("agentSpeaking", playing));
  }

  #sendFrame(frame: Int16Array): void {
    const call = this.#call;
    if (call?.state !== "live") return;
    const before = call.statistics;
    call.sendAudio(frame);
    if (call.statistics.sent > before.sent) this.stats.sent();
    else if (call.statistics.dropped > before.dropped) this.stats.dropped();
  }

  async #dial(session: number): Promise<void> {
    const target = this.#target;
    if (!target) return;
    const { room, participant, name } = target;
    const call = new CallClient({ room, participant, name });
    this.#call = call;
    call.setMuted(this.#muted);
    this.#wire(call, session);
    await call.start();
    if (session !== this.#session) return;
    this.#backoff.reset();
    this.stats.call();
    this.#change("live");
    call.on("end", (end) => this.#ended(session, end));
  }

  #wire(call: CallClient, session: number): void {
    const current = () => session === this.#session && call === this.#call;
    call.on("audio", (samples) => {
      this.stats.received(samples);
      if (current()) this.#speaker?.play(samples);
    });
    call.on("interruption", () => this.#speaker?.flush());
    call.on("speaking", () => this.emit("speaking", true));
    call.on("silence", () => this.emit("speaking", false));
    call.on("asrDelta", ({ text }: Transcript) => this.emit("words", { text, final: false }));
    call.on("asrFinal", ({ text }: Transcript) => this.emit("words", { text, final: true }));
    call.on("turn", (turn) => {
      this.stats.turn(turn);
      this.emit("turn", turn);
    });
    call.on("error", (failure) => {
      // A failed `invite` rejects `start` and is told from there.
      if (failure.sender !== "invite") this.emit("failure", failure);
    });
  }

  #ended(session: number, end: CallEnd): void {
    if (session !== this.#session) return;
    if (end.hungUp || !this.#microphone) {
      this.#finish(end);
      return;
    }
    this.#speaker?.flush();
    this.emit("speaking", false);
    this.#change("connecting");
    this.emit("reconnecting", undefined);
    this.#redial(session, end);
  }

  #redial(session: number, end: CallEnd): void {
    if (this.#backoff.attempt >= RETRIES) {
      this.#finish(end);
      return;
    }
    this.#retry = setTimeout(() => {
      this.#dial(session).catch((error: unknown) => {
        if (session !== this.#session) return;
        if (error instanceof CallError && error.code === "refused") this.#redial(session, end);
        else {
          this.#finish(end);
          this.emit("trouble", error);
        }
      });
    }, this.#backoff.next());
  }

  #finish(end: CallEnd | undefined): void {
    this.#session += 1;
    this.#release();
    this.#call = undefined;
    this.#change("idle");
    this.emit("over", end);
  }

  /** Let go of the devices at once; the call itself may still be saying goodbye. */
  #release(): void {
    clearTimeout(this.#retry);
    this.#microphone?.stop();
    this.#speaker?.stop();
    this.#microphone = this.#speaker = undefined;
    void this.#context?.close();
    this.#context = undefined;
    this.emit("level", 0);
    this.emit("speaking", false);
    this.emit("agentSpeaking", false);
  }

  #change(state: TalkState): void {
    this.#state = state;
    this.emit("state", state);
  }
}
