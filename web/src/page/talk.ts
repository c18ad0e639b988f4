import { Backoff } from "../client/backoff";
import { CallError } from "../client/call";
import type { AudioPath, CallClient, CallEnd } from "../client/call";
import { Emitter } from "../client/emitter";
import { Line, RtcMemory } from "../client/line";
import type { AudioChoice } from "../client/line";
import { Microphone } from "../client/microphone";
import { untilOnline, watchNetwork } from "../client/network";
import type { CallEvent, CallFailure, Transcript, TurnLatency } from "../client/protocol";
import { RemoteSound } from "../client/remote-sound";
import type { RtcStats } from "../client/rtc-stats";
import { Speaker } from "../client/speaker";
import { AgentHeard } from "./agent-heard";
import type { DebugStats } from "./debug";

export type TalkState = "idle" | "connecting" | "live";

export interface TalkEvents {
  state: TalkState;
  /** Something to tell the user; the talk may go on. */
  trouble: unknown;
  /** The connection was lost; it is being brought back. How many attempts have failed. */
  reconnecting: number;
  /** The call is over. `end` is absent if it never began. */
  over: CallEnd | undefined;
  level: number;
  speaking: boolean;
  agentSpeaking: boolean;
  words: { text: string; final: boolean };
  turn: TurnLatency;
  failure: CallFailure;
  /** Which way the sound goes; absent outside a call. */
  path: AudioPath | undefined;
  /** How the sound fares, on WebRTC. */
  stats: RtcStats;
  /** The other side took a key press. */
  digit: string;
  /** The microphone is open: device names are known now. */
  microphone: string | undefined;
}

export interface TalkTarget {
  room: string;
  participant: string;
  name: string;
  device: string;
  audio: AudioChoice;
}

const RETRIES = 6;

/** The user's own sound is a track too. */
const AGENT_TRACK = "server-side-track";

/** A try without any network is none; but a browser may be wrong about it. */
const OFFLINE_WAIT = 30_000;

const WORTH_RETRYING = new Set(["refused", "timeout", "media"]);

/** Microphone, speaker and call together: what happens between Talk and Hang up. */
export class Talk extends Emitter<TalkEvents> {
  #state: TalkState = "idle";
  #muted = false;
  #context: AudioContext | undefined;
  #microphone: Microphone | undefined;
  #speaker: Speaker | undefined;
  #remote: RemoteSound | undefined;
  #line: Line | undefined;
  #target: TalkTarget | undefined;
  #session = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #backoff = new Backoff(500, 8_000);
  readonly #memory = new RtcMemory();
  readonly #agent = new AgentHeard((heard) => this.emit("agentSpeaking", heard));
  #speaking = false;

  constructor(
    private readonly stats: DebugStats,
    private readonly iceServers: () => Promise<RTCIceServer[]>,
  ) {
    super();
    watchNetwork(() => {
      this.#memory.clear();
      this.#line?.networkChanged();
    });
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
    const line = this.#line;
    if (line && line.state !== "ended") {
      line.hangup();
      if (this.#state !== "live") this.#finish(undefined);
      else this.#release();
    } else this.#finish(undefined);
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#line?.setMuted(muted);
    this.#microphone?.setMuted(muted);
  }

  /** Stop the agent, in this browser at once. */
  interrupt(): void {
    this.#flush();
    this.#line?.call?.interrupt();
  }

  /** Send a key press; false if the call cannot. */
  press(digit: string): boolean {
    return this.#line?.insertDTMF(digit) ?? false;
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
    const before = this.#microphone;
    this.#microphone = microphone;
    const { track } = microphone;
    // The old one is let go last, so that the call is never without.
    if (track) await this.#line?.setTrack(track);
    before?.stop();
    if (session !== this.#session) return;
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
    speaker.on("report", ({ playing }) => this.#agent.sound(playing));
  }

  async #openRemote(session: number, stream: MediaStream): Promise<void> {
    if (session !== this.#session || !this.#context) return;
    this.#remote?.stop();
    const remote = new RemoteSound({ context: this.#context, stream });
    this.#remote = remote;
    remote.on("playing", (playing) => this.#agent.sound(playing));
    remote.on("frame", (frame) => this.stats.received(frame));
    await remote.start();
  }

  #sendFrame(frame: Int16Array): void {
    const line = this.#line;
    if (line?.state !== "live") return;
    // Over WebRTC the browser sends the track itself.
    if (line.path === "webrtc" || line.sendAudio(frame)) this.stats.sent();
    else this.stats.dropped();
  }

  #flush(): void {
    this.#speaker?.flush();
    this.#remote?.flush();
  }

  /**
   * The agent was cut. What this browser holds of it is dropped; a stream is muted only if it was
   * this user who spoke, since who else did is heard in the same stream.
   */
  #cut(): void {
    this.#speaker?.flush();
    if (this.#speaking) this.#remote?.flush();
  }

  #speaks(on: boolean): void {
    this.#speaking = on;
    this.emit("speaking", on);
  }

  async #dial(session: number): Promise<void> {
    const track = this.#microphone?.track;
    if (!this.#target || !track) return;
    const { room, participant, name, audio } = this.#target;
    const began = performance.now();
    const line = new Line({
      room,
      participant,
      name,
      choice: audio,
      track,
      iceServers: this.iceServers,
      memory: this.#memory,
    });
    this.#line = line;
    line.setMuted(this.#muted);
    this.#wire(line, session);
    await line.start();
    if (session !== this.#session) return;
    this.#backoff.reset();
    this.stats.call();
    this.stats.connected(line.path, performance.now() - began);
    line.on("end", (end) => this.#ended(session, end));
  }

  #wire(line: Line, session: number): void {
    const current = () => session === this.#session && line === this.#line;
    line.on("call", (call) => this.#wireCall(call, () => current() && call === line.call));
    line.on("remote", (stream) => {
      this.#openRemote(session, stream).catch((error: unknown) => this.emit("trouble", error));
    });
    line.on("fallback", (error) => {
      this.stats.fellBack(error);
      this.#remote?.stop();
      this.#remote = undefined;
    });
    line.on("stats", (stats) => {
      this.stats.rtc(stats);
      if (current()) this.emit("stats", stats);
    });
    line.on("state", (state) => {
      this.stats.state(state);
      if (!current()) return;
      if (state === "reconnecting") this.#interrupted();
      else if (state === "live") {
        this.#change("live");
        this.emit("path", line.path);
      }
    });
  }

  #wireCall(call: CallClient, current: () => boolean): void {
    call.on("audio", (samples) => {
      this.stats.received(samples);
      if (current()) this.#speaker?.play(samples);
    });
    const when = <E>(then: (event: E) => void) => (event: E) => {
      if (current()) then(event);
    };
    call.on("interruption", when(() => this.#cut()));
    const track = (on: boolean) =>
      when(({ trackId }: CallEvent) => {
        if (trackId === AGENT_TRACK) this.#agent.track(on);
      });
    call.on("trackStart", track(true));
    call.on("trackEnd", track(false));
    call.on("speaking", when(() => this.#speaks(true)));
    call.on("silence", when(() => this.#speaks(false)));
    call.on("dtmf", when(({ digit }) => this.emit("digit", digit)));
    const words = (final: boolean) =>
      when(({ text }: Transcript) => this.emit("words", { text, final }));
    call.on("asrDelta", words(false));
    call.on("asrFinal", words(true));
    const onTurn = (turn: TurnLatency) => {
      this.stats.turn(turn);
      this.emit("turn", turn);
    };
    call.on("turn", when(onTurn));
    const onError = (failure: CallFailure) => {
      // A failed `invite` rejects `start` and is told from there.
      if (failure.sender !== "invite") this.emit("failure", failure);
    };
    call.on("error", when(onError));
  }

  /** The way of the sound is broken, or may be; the room and its timeline stay. */
  #interrupted(): void {
    this.#speaks(false);
    this.#change("connecting");
    this.emit("reconnecting", 0);
  }

  #ended(session: number, end: CallEnd): void {
    if (session !== this.#session) return;
    this.#remote?.stop();
    this.#remote = undefined;
    this.#speaker?.flush();
    this.#agent.reset();
    if (end.hungUp || !this.#microphone) {
      this.#finish(end);
      return;
    }
    this.#interrupted();
    this.#redial(session, end);
  }

  #redial(session: number, end: CallEnd): void {
    if (this.#backoff.attempt >= RETRIES) {
      this.#finish(end);
      return;
    }
    if (this.#backoff.attempt > 0) this.emit("reconnecting", this.#backoff.attempt);
    this.#retry = setTimeout(() => {
      this.#dialAgain(session).catch((error: unknown) => {
        if (session !== this.#session) return;
        if (error instanceof CallError && WORTH_RETRYING.has(error.code)) {
          this.#redial(session, end);
          return;
        }
        this.#finish(end);
        this.emit("trouble", error);
      });
    }, this.#backoff.next());
  }

  async #dialAgain(session: number): Promise<void> {
    await untilOnline(OFFLINE_WAIT);
    if (session === this.#session) await this.#dial(session);
  }

  #finish(end: CallEnd | undefined): void {
    this.#session += 1;
    this.#release();
    this.#line = undefined;
    this.#change("idle");
    this.emit("path", undefined);
    this.emit("over", end);
  }

  /** Let go of the devices at once; the call itself may still be saying goodbye. */
  #release(): void {
    clearTimeout(this.#retry);
    this.#microphone?.stop();
    this.#speaker?.stop();
    this.#remote?.stop();
    this.#microphone = this.#speaker = this.#remote = undefined;
    void this.#context?.close();
    this.#context = undefined;
    this.emit("level", 0);
    this.#speaks(false);
    this.#agent.reset();
  }

  #change(state: TalkState): void {
    this.#state = state;
    this.emit("state", state);
  }
}
