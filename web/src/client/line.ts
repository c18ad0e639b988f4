import { CallClient, CallError } from "./call";
import type { AudioPath, CallClientOptions, CallEnd } from "./call";
import { Emitter } from "./emitter";
import { hasWebRtc, RtcAudio } from "./rtc-audio";
import { RtcCall } from "./rtc-call";
import type { RtcTimes } from "./rtc-call";
import type { RtcStats } from "./rtc-stats";

/** Which way the sound should go; `auto`: WebRTC, or the WebSocket where that does not work. */
export type AudioChoice = "auto" | AudioPath;

export type LineState = "new" | "connecting" | "live" | "reconnecting" | "ended";

export interface LineEvents {
  state: LineState;
  /** A call is being made: listen to it now. The one before, if any, is over. */
  call: CallClient;
  /** WebRTC did not work and the WebSocket is tried. */
  fallback: unknown;
  /** The sound of the other side over WebRTC; over a WebSocket it comes with the call. */
  remote: MediaStream;
  stats: RtcStats;
  /** Once, after a `start` that succeeded. */
  end: CallEnd;
}

/** The servers where WebRTC did not work, until the page is loaded anew or the network changes. */
export class RtcMemory {
  readonly #failed = new Set<string>();

  has(server: string): boolean {
    return this.#failed.has(server);
  }

  add(server: string): void {
    this.#failed.add(server);
  }

  clear(): void {
    this.#failed.clear();
  }
}

const PAGE_MEMORY = new RtcMemory();

export interface LineOptions extends Omit<CallClientOptions, "audio"> {
  choice?: AudioChoice;
  /** The microphone, for WebRTC. */
  track: MediaStreamTrack;
  iceServers?: () => Promise<RTCIceServer[]>;
  memory?: RtcMemory;
  times?: Partial<RtcTimes>;
  /** Null: there is none. Absent: the browser's. */
  RTCPeerConnection?: typeof RTCPeerConnection | null;
}

/** How long the server may take to let go of a call before another one takes its place, in ms. */
const QUIT_TIMEOUT = 1_000;

/** One call whose sound goes over WebRTC if it can, else over the WebSocket. Not used again. */
export class Line extends Emitter<LineEvents> {
  readonly #options: LineOptions;
  readonly #memory: RtcMemory;
  #state: LineState = "new";
  #call: CallClient | undefined;
  #rtc: RtcCall | undefined;
  #track: MediaStreamTrack;
  #muted = false;
  #hungUp = false;
  #wasLive = false;

  constructor(options: LineOptions) {
    super();
    this.#options = options;
    this.#memory = options.memory ?? PAGE_MEMORY;
    this.#track = options.track;
  }

  get state(): LineState {
    return this.#state;
  }

  get call(): CallClient | undefined {
    return this.#call;
  }

  /** Which way the sound goes, or is tried. */
  get path(): AudioPath | undefined {
    return this.#call && (this.#rtc ? "webrtc" : "websocket");
  }

  /** Resolves when sound can flow, else throws `CallError`. */
  async start(): Promise<void> {
    if (this.#state !== "new") throw new CallError("ended", "this call was started already");
    this.#change("connecting");
    try {
      await this.#connect();
      this.#check();
    } catch (error) {
      this.#change("ended");
      throw error;
    }
    this.#wasLive = true;
    this.#change("live");
    if (this.#call?.state === "ended") this.#ended({ code: 1006, reason: "", hungUp: false });
  }

  /** 20 ms of the microphone; false if they are lost, or if WebRTC takes the sound itself. */
  sendAudio(frame: Int16Array): boolean {
    const call = this.#call;
    if (!call || this.#rtc || this.#state !== "live") return false;
    const { sent } = call.statistics;
    call.sendAudio(frame);
    return call.statistics.sent > sent;
  }

  /** The track is muted by whoever owns it; over the WebSocket silence is sent. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#call?.setMuted(muted);
  }

  /** Another microphone from now on. */
  async setTrack(track: MediaStreamTrack): Promise<void> {
    this.#track = track;
    await this.#rtc?.setTrack(track);
  }

  /** Send key presses; false if this call cannot. */
  insertDTMF(digits: string): boolean {
    return this.#rtc?.insertDTMF(digits) ?? false;
  }

  /** The network may be another one: forget what did not work, and find the way anew. */
  networkChanged(): void {
    this.#memory.clear();
    this.#rtc?.restart();
  }

  hangup(): void {
    this.#hungUp = true;
    if (this.#state === "live") this.#call?.hangup();
    else void this.#drop();
  }

  // -- making the call --------------------------------------------------------------------------

  async #connect(): Promise<void> {
    const { choice = "auto", url, RTCPeerConnection: peerClass } = this.#options;
    const server = new URL(url ?? globalThis.location?.href).origin;
    const possible = peerClass === undefined ? hasWebRtc() : peerClass !== null;
    const tried = choice === "webrtc" || (choice === "auto" && possible && !this.#memory.has(server));
    if (tried && !possible) throw new CallError("media", "this browser has no WebRTC");
    if (tried) {
      try {
        await this.#startRtc();
        return;
      } catch (error) {
        // The first call is over before the second begins: nobody is in the room twice.
        await this.#drop();
        this.#check();
        if (choice === "webrtc") throw error;
        this.emit("fallback", error);
      }
    }
    await this.#startSocket();
    // Only now is it sure that WebRTC was the reason, and not the server or the network.
    if (tried) this.#memory.add(server);
  }

  async #startRtc(): Promise<void> {
    const { iceServers, times } = this.#options;
    const servers = (await iceServers?.()) ?? [];
    this.#check();
    const call = this.#makeCall("webrtc");
    const rtc = new RtcCall(call, () => this.#makeAudio(servers), times);
    this.#rtc = rtc;
    rtc.on("remote", (stream) => this.emit("remote", stream));
    rtc.on("state", (state) => {
      if (this.#wasLive && (state === "live" || state === "reconnecting")) this.#change(state);
    });
    rtc.on("lost", () => void this.#lost());
    this.emit("call", call);
    await rtc.start();
  }

  #makeAudio(iceServers: RTCIceServer[]): RtcAudio {
    const { RTCPeerConnection: peerClass } = this.#options;
    const audio = new RtcAudio({
      track: this.#track,
      iceServers,
      ...(peerClass ? { RTCPeerConnection: peerClass } : {}),
    });
    audio.on("stats", (stats) => this.emit("stats", stats));
    return audio;
  }

  async #startSocket(): Promise<void> {
    const call = this.#makeCall("websocket");
    this.emit("call", call);
    await call.start();
  }

  #makeCall(audio: AudioPath): CallClient {
    const call = new CallClient({ ...this.#options, audio });
    call.setMuted(this.#muted);
    call.on("end", (end) => {
      if (call === this.#call) this.#ended(end);
    });
    this.#call = call;
    return call;
  }

  // -- its end ----------------------------------------------------------------------------------

  /** Throws if the user hung up meanwhile. */
  #check(): void {
    if (this.#hungUp) throw new CallError("ended", "the call was ended before it was answered");
  }

  /** Leave the current call, without an `end`. */
  async #drop(): Promise<void> {
    const [call, rtc] = [this.#call, this.#rtc];
    this.#call = this.#rtc = undefined;
    if (rtc) await rtc.close(QUIT_TIMEOUT);
    else await call?.quit(QUIT_TIMEOUT);
  }

  async #lost(): Promise<void> {
    await this.#drop();
    this.#ended({ code: 1006, reason: "", hungUp: this.#hungUp });
  }

  #ended(end: CallEnd): void {
    if (!this.#wasLive || this.#state === "ended") return;
    this.#change("ended");
    this.emit("end", end);
  }

  #change(state: LineState): void {
    if (this.#state === "ended") return;
    this.#state = state;
    this.emit("state", state);
  }
}
