import { CallError } from "./call";
import type { CallClient } from "./call";
import { Emitter } from "./emitter";
import type { RtcAudio } from "./rtc-audio";

export type RtcCallState = "new" | "connecting" | "live" | "reconnecting" | "ended";

export interface RtcCallEvents {
  state: RtcCallState;
  /** The sound of the other side: at the start, and again after a restart. */
  remote: MediaStream;
  /** The sound is gone and a restart did not bring it back; the call is to be made anew. */
  lost: undefined;
}

export interface RtcTimes {
  /** Ms from the start until sound flows. */
  connect: number;
  /** Ms from a restart until sound flows again. */
  restart: number;
  /** Ms that ICE may be disconnected before a restart; it often comes back by itself. */
  disconnected: number;
}

export const RTC_TIMES: RtcTimes = {
  connect: 3_000,
  restart: 5_000,
  disconnected: 2_000,
};

/**
 * Negotiates the sound of one call: offer, candidates, answer, and restarts.
 *
 * A restart makes a second connection, which takes over once sound flows. Restarting ICE inside
 * the first one is no use: the server answers it with a new connection too, and Chromium's DTLS
 * then often waits for good.
 */
export class RtcCall extends Emitter<RtcCallEvents> {
  readonly #times: RtcTimes;
  #state: RtcCallState = "new";
  #started: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  /** Ends the connecting or the restart that takes too long. */
  #deadline: ReturnType<typeof setTimeout> | undefined;
  /** Runs while ICE is disconnected. */
  #pause: ReturnType<typeof setTimeout> | undefined;
  /** What carries the sound, or shall at the start. */
  #audio: RtcAudio | undefined;
  /** What shall carry it after a restart. */
  #next: RtcAudio | undefined;

  constructor(
    readonly call: CallClient,
    private readonly makeAudio: () => RtcAudio,
    times: Partial<RtcTimes> = {},
  ) {
    super();
    this.#times = { ...RTC_TIMES, ...times };
  }

  get state(): RtcCallState {
    return this.#state;
  }

  /** Resolves when sound can flow, else throws `CallError`; then `close` is up to the caller. */
  start(): Promise<void> {
    if (this.#state !== "new") throw new CallError("ended", "this call was started already");
    this.#change("connecting");
    this.#follow();
    const started = new Promise<void>((resolve, reject) => (this.#started = { resolve, reject }));
    this.#deadline = setTimeout(() => {
      this.#fail(new CallError("media", "no sound got through in time"));
    }, this.#times.connect);
    this.#dial().catch((error: unknown) => this.#fail(error));
    return started;
  }

  /** Find a way through a network that has changed; no-op unless sound flows. */
  restart(): void {
    if (this.#state !== "live") return;
    this.#change("reconnecting");
    clearTimeout(this.#pause);
    this.#deadline = setTimeout(() => this.#lose(), this.#times.restart);
    const audio = this.makeAudio();
    this.#next = audio;
    this.#followAudio(audio);
    audio.offer().then(
      (offer) => {
        if (this.#state === "reconnecting" && !this.call.invite(offer)) this.#lose();
      },
      () => this.#lose(),
    );
  }

  /** Another microphone from now on. */
  async setTrack(track: MediaStreamTrack): Promise<void> {
    await Promise.all([this.#audio?.setTrack(track), this.#next?.setTrack(track)]);
  }

  /** Send key presses; false if the other side takes none. */
  insertDTMF(digits: string): boolean {
    return this.#state === "live" && (this.#audio?.insertDTMF(digits) ?? false);
  }

  /** Hang up and wait until the server has let go, at most `most` ms. */
  async close(most?: number): Promise<void> {
    this.#end();
    await this.call.quit(most);
  }

  async #dial(): Promise<void> {
    const audio = this.makeAudio();
    this.#audio = audio;
    this.#followAudio(audio);
    const offer = await audio.offer();
    if (this.#state === "connecting") await this.call.start(offer);
  }

  #follow(): void {
    this.call.on("answer", ({ sdp }) => void this.#take(sdp ?? ""));
    this.call.on("error", ({ sender }) => {
      // The call goes on after a failed second invite (G52), but this negotiation does not.
      if (sender === "invite") this.#lose();
    });
    this.call.on("end", () => {
      this.#fail(new CallError("refused", "the server did not take the call"));
      this.#end();
    });
  }

  #followAudio(audio: RtcAudio): void {
    const newest = () => audio === (this.#next ?? this.#audio);
    audio.on("candidate", (candidate) => {
      if (newest()) this.call.addIceCandidate(candidate);
    });
    audio.on("state", (state) => {
      if (newest()) this.#media(state);
    });
    audio.on("ice", (state) => {
      if (newest()) this.#ice(state);
    });
  }

  async #take(sdp: string): Promise<void> {
    if (this.#state !== "connecting" && this.#state !== "reconnecting") return;
    try {
      if (!sdp) throw new Error("the answer has no SDP");
      await (this.#next ?? this.#audio)?.answer(sdp);
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      this.#fail(new CallError("media", words));
      this.#lose();
    }
  }

  #media(state: RTCPeerConnectionState): void {
    if (state === "connected") this.#connected();
    else if (state === "failed" || state === "closed") {
      this.#fail(new CallError("media", "no way was found"));
      if (this.#state === "live") this.restart();
      else this.#lose();
    }
  }

  #ice(state: RTCIceConnectionState): void {
    if (this.#state !== "live") return;
    clearTimeout(this.#pause);
    if (state === "failed") this.restart();
    else if (state === "disconnected") {
      this.#pause = setTimeout(() => this.restart(), this.#times.disconnected);
    }
  }

  #connected(): void {
    if (this.#state !== "connecting" && this.#state !== "reconnecting") return;
    clearTimeout(this.#deadline);
    if (this.#next) {
      this.#audio?.close();
      this.#audio = this.#next;
      this.#next = undefined;
    }
    this.#change("live");
    const remote = this.#audio?.remote;
    if (remote) this.emit("remote", remote);
    this.#started?.resolve();
    this.#started = undefined;
  }

  #fail(error: unknown): void {
    if (this.#state !== "connecting") return;
    const { reject } = this.#started ?? {};
    this.#started = undefined;
    this.#end();
    reject?.(error);
  }

  #lose(): void {
    if (this.#state !== "reconnecting") return;
    this.#end();
    this.emit("lost", undefined);
  }

  #end(): void {
    if (this.#state === "ended") return;
    clearTimeout(this.#deadline);
    clearTimeout(this.#pause);
    this.#audio?.close();
    this.#next?.close();
    this.#change("ended");
    this.#started?.reject(new CallError("ended", "the call was ended before sound flowed"));
    this.#started = undefined;
  }

  #change(state: RtcCallState): void {
    this.#state = state;
    this.emit("state", state);
  }
}
