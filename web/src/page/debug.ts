import type { AudioPath } from "../client/call";
import type { LineState } from "../client/line";
import type { RtcStats } from "../client/rtc-stats";

/** What tests ask of the page; nothing here changes what it does. */
export interface SalonStats {
  framesSent: number;
  framesReceived: number;
  framesDropped: number;
  /** Sum of the squares of all received samples, in units of full scale. */
  receivedEnergy: number;
  turns: number;
  calls: number;
  lastTurn: unknown;
  /** Which way the sound of the last call went. */
  audioPath: AudioPath | null;
  connectionState: LineState | "idle";
  /** The last reading of a WebRTC call. */
  rtc: RtcStats | null;
  /** From the offer until sound could flow, a fallback included. */
  connectMs: number | null;
  /** Why WebRTC was given up last. */
  fallback: string | null;
}

declare global {
  interface Window {
    salonStats: SalonStats;
    /** The last 60 s of received sound, if the address ends in `#capture`. */
    salonReceived?: Int16Array[];
  }
}

const CAPTURE_SAMPLES = 60 * 16_000;

export class DebugStats {
  readonly #stats: SalonStats = {
    framesSent: 0,
    framesReceived: 0,
    framesDropped: 0,
    receivedEnergy: 0,
    turns: 0,
    calls: 0,
    lastTurn: null,
    audioPath: null,
    connectionState: "idle",
    rtc: null,
    connectMs: null,
    fallback: null,
  };
  #captured = 0;

  constructor() {
    window.salonStats = this.#stats;
    if (location.hash.includes("capture")) window.salonReceived = [];
  }

  call(): void {
    this.#stats.calls += 1;
  }

  connected(path: AudioPath | undefined, ms: number): void {
    this.#stats.audioPath = path ?? null;
    this.#stats.connectMs = Math.round(ms);
    if (path !== "webrtc") this.#stats.rtc = null;
  }

  state(state: LineState): void {
    this.#stats.connectionState = state;
  }

  rtc(stats: RtcStats): void {
    this.#stats.rtc = stats;
  }

  fellBack(error: unknown): void {
    this.#stats.fallback = error instanceof Error ? error.message : String(error);
  }

  sent(): void {
    this.#stats.framesSent += 1;
  }

  dropped(): void {
    this.#stats.framesDropped += 1;
  }

  turn(turn: unknown): void {
    this.#stats.turns += 1;
    this.#stats.lastTurn = turn;
  }

  received(frame: Int16Array): void {
    this.#stats.framesReceived += 1;
    let energy = 0;
    for (const sample of frame) energy += sample * sample;
    this.#stats.receivedEnergy += energy / 32768 ** 2;
    const chunks = window.salonReceived;
    if (!chunks) return;
    chunks.push(frame.slice());
    this.#captured += frame.length;
    while (this.#captured > CAPTURE_SAMPLES) this.#captured -= chunks.shift()?.length ?? 0;
  }
}
