import { Emitter } from "./emitter";
import { turnLatency } from "./protocol";
import type {
  Answer,
  CallEvent,
  CallFailure,
  Dtmf,
  Hangup,
  Interruption,
  Metrics,
  Silence,
  Speaking,
  TrackEnd,
  TrackStart,
  Transcript,
  TurnLatency,
} from "./protocol";
import { browserSocket, OPEN, parseObject, socketUrl } from "./socket";
import type { SocketClass, SocketLike } from "./socket";

/** Samples of a 20 ms frame: int16, mono, 16 kHz, little-endian on the wire (G42). */
export const FRAME_SAMPLES = 320;
export const SAMPLE_RATE = 16_000;

/** Frames are dropped while more than this waits in the socket: 0.5 s of sound, in bytes. */
export const MAX_BUFFERED = 16_000;

/** Which way the sound of a call goes. */
export type AudioPath = "webrtc" | "websocket";

export type CallState = "new" | "connecting" | "live" | "ended";

/** How a call ended. `code` is the WebSocket close code. */
export interface CallEnd {
  code: number;
  reason: string;
  /** True if either side hung up; false if the connection was lost. */
  hungUp: boolean;
}

export interface CallClientEvents {
  state: CallState;
  answer: Answer;
  speaking: Speaking;
  silence: Silence;
  asrDelta: Transcript;
  asrFinal: Transcript;
  trackStart: TrackStart;
  trackEnd: TrackEnd;
  interruption: Interruption;
  metrics: Metrics;
  dtmf: Dtmf;
  hangup: Hangup;
  error: CallFailure;
  /** Delays of one turn. */
  turn: TurnLatency;
  /** Sound from the other side, usually 320 samples. */
  audio: Int16Array;
  /** Every event of the protocol, known to this library or not. */
  message: CallEvent;
  end: CallEnd;
}

/** The options of `invite`; what is known of them here is how the sound goes. */
export interface CallOption {
  codec?: "pcm";
  /** SDP, for WebRTC. */
  offer?: string;
  [key: string]: unknown;
}

export interface CallClientOptions {
  /** `room`: the call is in a room with its agent. `controller`: this program drives it. */
  handler?: "room" | "controller";
  room?: string;
  participant?: string;
  name?: string;
  /** `websocket` if absent. With `webrtc`, `start` needs an offer and no sound goes over here. */
  audio?: AudioPath;
  option?: CallOption;
  /** Where Salon runs; the page's own origin if absent. */
  url?: string;
  /** Ms from `start` to the answer. */
  answerTimeout?: number;
  WebSocket?: SocketClass;
}

/**
 * Why a call did not begin. `refused`: the upgrade failed (the browser does not tell why; ask
 * `/health`); `rejected`: the server answered `invite` with an error; `timeout`: no answer;
 * `media`: answered, but no sound can go over WebRTC.
 */
export class CallError extends Error {
  constructor(
    readonly code: "refused" | "rejected" | "timeout" | "media" | "ended",
    message: string,
  ) {
    super(message);
    this.name = "CallError";
  }
}

const HANGUP_TIMEOUT = 2_000;

/** Candidates kept until the socket is open; a browser finds far fewer. */
const MAX_CANDIDATES = 64;

const NAMED = new Set<string>([
  "answer",
  "speaking",
  "silence",
  "asrDelta",
  "asrFinal",
  "trackStart",
  "trackEnd",
  "interruption",
  "metrics",
  "dtmf",
  "hangup",
  "error",
]);

/** One call over the media socket. An ended client is not used again: make a new one. */
export class CallClient extends Emitter<CallClientEvents> {
  readonly #options: CallClientOptions;
  #state: CallState = "new";
  #socket: SocketLike | undefined;
  #muted = false;
  #hungUp = false;
  #reason = "";
  #sent = 0;
  #dropped = 0;
  readonly #candidates: string[] = [];
  #started: { resolve: () => void; reject: (error: CallError) => void } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: CallClientOptions) {
    super();
    this.#options = options;
  }

  get state(): CallState {
    return this.#state;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Frames sent, and frames dropped because the connection is too slow. */
  get statistics(): { sent: number; dropped: number } {
    return { sent: this.#sent, dropped: this.#dropped };
  }

  /**
   * Connect and `invite`; resolves when the call is answered, else throws `CallError`. `offer` is
   * the SDP of a WebRTC call.
   */
  start(offer?: string): Promise<void> {
    if (this.#state !== "new") throw new CallError("ended", "this call was started already");
    const { handler = "room", room, participant, name, url, audio } = this.#options;
    this.#change("connecting");
    const socketClass = this.#options.WebSocket ?? browserSocket();
    const socket = new socketClass(
      socketUrl(url, audio === "webrtc" ? "/webrtc" : "/ws", { handler, room, participant, name }),
    );
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.invite(offer);
      for (const candidate of this.#candidates.splice(0)) this.addIceCandidate(candidate);
    };
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#socket = socket;
    this.#timer = setTimeout(() => {
      this.#fail(new CallError("timeout", "nobody answered the call"));
      socket.close(1000);
    }, this.#options.answerTimeout ?? 10_000);
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
    });
  }

  /** Send a command of the protocol; false if there is no connection. */
  send(command: string, fields: object = {}): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify({ command, ...fields }));
    return true;
  }

  /** Send `invite`; a second one with another offer negotiates a WebRTC call anew. */
  invite(offer?: string): boolean {
    const media = offer === undefined ? { codec: "pcm" } : { offer };
    return this.send("invite", { option: { ...media, ...this.#options.option } });
  }

  /** Tell the server of an own ICE candidate, "" after the last; never before `invite` (G88). */
  addIceCandidate(candidate: string): void {
    if (this.send("addIceCandidate", { candidate }) || this.#state === "ended") return;
    if (this.#candidates.length < MAX_CANDIDATES) this.#candidates.push(candidate);
  }

  /** Send 20 ms of sound: 320 samples at 16 kHz. While muted it goes out as silence. */
  sendAudio(frame: Int16Array): void {
    if (this.#state !== "live" || this.#socket?.readyState !== OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED) {
      this.#dropped += 1;
      return;
    }
    this.#socket.send(this.#muted ? new Int16Array(frame.length) : toLittleEndian(frame));
    this.#sent += 1;
  }

  /** Send silence instead of sound, so that the server still hears a turn end. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
  }

  /** Stop what the agent says. */
  interrupt(fadeOutMs?: number): boolean {
    return this.send("interrupt", fadeOutMs === undefined ? {} : { fadeOutMs });
  }

  /** Type something to whoever handles the call. */
  chat(text: string): boolean {
    return this.send("chat", { text });
  }

  /** End the call; the server's `hangup` follows, or the socket is closed after 2 s. */
  hangup(): void {
    this.#hungUp = true;
    const socket = this.#socket;
    if (!socket || this.#state === "ended") return;
    const asked = this.#state === "live" && this.send("hangup", { initiator: "caller" });
    clearTimeout(this.#timer);
    if (asked) this.#timer = setTimeout(() => this.#leave(socket), HANGUP_TIMEOUT);
    else this.#leave(socket);
  }

  /**
   * Hang up, answered or not, and wait until the server has let go, at most `most` ms: whoever
   * calls again as the same participant is then in the room once.
   */
  quit(most = HANGUP_TIMEOUT): Promise<void> {
    this.#hungUp = true;
    const socket = this.#socket;
    if (!socket || this.#state === "ended") return Promise.resolve();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#leave(socket), most);
    const over = new Promise<void>((resolve) => this.on("end", () => resolve()));
    if (!this.send("hangup", { initiator: "caller" })) this.#leave(socket);
    return over;
  }

  /** Close without waiting for the other side's close, which a dead network never brings. */
  #leave(socket: SocketLike): void {
    socket.onclose = socket.onmessage = socket.onopen = null;
    socket.close(1000);
    this.#closed(1000, "");
  }

  #received(data: unknown): void {
    if (data instanceof ArrayBuffer) {
      this.emit("audio", fromLittleEndian(data));
      return;
    }
    const message = parseObject(data);
    if (!message || typeof message.event !== "string") return;
    const event = message as unknown as CallEvent;
    this.#follow(event);
    this.emit("message", event);
    if (NAMED.has(event.event)) this.emit(event.event as "message", event);
    if (event.event === "metrics") {
      const turn = turnLatency(event as Metrics);
      if (turn) this.emit("turn", turn);
    }
  }

  #follow(event: CallEvent): void {
    switch (event.event) {
      case "answer":
        if (!this.#hungUp) clearTimeout(this.#timer);
        // A WebRTC call is answered again whenever it is negotiated anew.
        if (this.#state === "connecting") this.#change("live");
        this.#started?.resolve();
        this.#started = undefined;
        break;
      case "hangup":
        this.#hungUp = true;
        this.#reason = (event as Hangup).reason ?? "";
        break;
      case "error":
        // A missing engine is told before the answer too, and the call runs (G33).
        if (this.#state === "connecting" && (event as CallFailure).sender === "invite") {
          this.#fail(new CallError("rejected", (event as CallFailure).error));
        }
        break;
    }
  }

  #fail(error: CallError): void {
    this.#started?.reject(error);
    this.#started = undefined;
  }

  #closed(code: number, reason: string): void {
    if (this.#state === "ended") return;
    clearTimeout(this.#timer);
    this.#socket = undefined;
    this.#change("ended");
    this.#fail(
      this.#hungUp
        ? new CallError("ended", "the call was ended before it was answered")
        : new CallError("refused", reason || "the server did not take the call"),
    );
    this.emit("end", { code, reason: this.#reason || reason, hungUp: this.#hungUp });
  }

  #change(state: CallState): void {
    this.#state = state;
    this.emit("state", state);
  }
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function swapped(samples: Int16Array): Int16Array {
  const copy = samples.slice();
  const view = new DataView(copy.buffer);
  for (let i = 0; i < samples.length; i += 1) view.setInt16(2 * i, samples[i] ?? 0, true);
  return copy;
}

function toLittleEndian(samples: Int16Array): Int16Array {
  return LITTLE_ENDIAN ? samples : swapped(samples);
}

/** A trailing odd byte is no sample and is left out. */
function fromLittleEndian(data: ArrayBuffer): Int16Array {
  const samples = new Int16Array(data, 0, data.byteLength >> 1);
  return LITTLE_ENDIAN ? samples : swapped(samples);
}
