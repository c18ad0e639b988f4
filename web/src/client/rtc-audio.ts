import { Emitter } from "./emitter";
import { StatsReader } from "./rtc-stats";
import type { RtcStats } from "./rtc-stats";

export interface RtcAudioEvents {
  /** An own ICE candidate, `candidate:…`; "" after the last. */
  candidate: string;
  state: RTCPeerConnectionState;
  ice: RTCIceConnectionState;
  stats: RtcStats;
}

export interface RtcAudioOptions {
  /** The microphone; not stopped by this class. */
  track: MediaStreamTrack;
  iceServers?: RTCIceServer[];
  /** Ms between two readings of the statistics. */
  statsEvery?: number;
  RTCPeerConnection?: typeof RTCPeerConnection;
}

/** True if this browser can do WebRTC. */
export function hasWebRtc(): boolean {
  return typeof globalThis.RTCPeerConnection === "function";
}

/** Digits as `insertDTMF` takes them, and how long they last, in ms. */
const TONES = /^[0-9A-D#*,]+$/i;
const TONE_MS = 120;
const TONE_GAP_MS = 70;

/** One peer connection with one sound in each direction. It knows nothing of signalling. */
export class RtcAudio extends Emitter<RtcAudioEvents> {
  readonly #peer: RTCPeerConnection;
  readonly #sender: RTCRtpSender;
  readonly #reader = new StatsReader();
  readonly #timer: ReturnType<typeof setInterval>;
  #complete = false;
  #closed = false;
  #remote: MediaStream | undefined;

  constructor({ track, iceServers = [], statsEvery = 2_000, ...rest }: RtcAudioOptions) {
    super();
    const peerClass = rest.RTCPeerConnection ?? RTCPeerConnection;
    this.#peer = new peerClass({ iceServers, bundlePolicy: "max-bundle" });
    const { sender } = this.#peer.addTransceiver(track, { direction: "sendrecv" });
    this.#sender = sender;
    this.#follow(this.#peer);
    this.#timer = setInterval(() => void this.#readStats(), statsEvery);
  }

  get state(): RTCPeerConnectionState {
    return this.#peer.connectionState;
  }

  /** The sound of the other side; known once its answer is. */
  get remote(): MediaStream | undefined {
    return this.#remote;
  }

  /** Begin, and let candidates trickle; the SDP to send. */
  async offer(): Promise<string> {
    const offer = await this.#peer.createOffer();
    await this.#peer.setLocalDescription(offer);
    return offer.sdp ?? "";
  }

  /** The other side's SDP, with all of its candidates. */
  async answer(sdp: string): Promise<void> {
    await this.#peer.setRemoteDescription({ type: "answer", sdp });
  }

  /** Send another microphone from now on. */
  async setTrack(track: MediaStreamTrack): Promise<void> {
    if (!this.#closed) await this.#sender.replaceTrack(track);
  }

  /** Send key presses; false if the other side takes none, or `digits` are none. */
  insertDTMF(digits: string): boolean {
    const { dtmf } = this.#sender;
    if (this.#closed || !dtmf?.canInsertDTMF || !TONES.test(digits)) return false;
    // What waits still is kept: a second call would replace it.
    dtmf.insertDTMF(dtmf.toneBuffer + digits, TONE_MS, TONE_GAP_MS);
    return true;
  }

  /** Idempotent; nothing is emitted afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    const peer = this.#peer;
    peer.onicecandidate = peer.onconnectionstatechange = peer.oniceconnectionstatechange = null;
    peer.ontrack = null;
    peer.close();
  }

  #follow(peer: RTCPeerConnection): void {
    peer.onicecandidate = ({ candidate }) => {
      const line = candidate?.candidate ?? "";
      // Some browsers tell the end twice, as "" and as null.
      if (!line && this.#complete) return;
      this.#complete = !line;
      this.emit("candidate", line);
    };
    peer.onconnectionstatechange = () => {
      const { transport } = this.#sender;
      if (transport) transport.onstatechange = () => this.#transport(transport.state);
      this.emit("state", peer.connectionState);
    };
    peer.oniceconnectionstatechange = () => this.emit("ice", peer.iceConnectionState);
    peer.ontrack = ({ track, streams }) => {
      this.#remote = streams[0] ?? new MediaStream([track]);
    };
  }

  /** The other side's goodbye shows here at once, and in the other states many seconds later. */
  #transport(state: RTCDtlsTransportState): void {
    if (!this.#closed && state === "closed") this.emit("ice", "disconnected");
  }

  async #readStats(): Promise<void> {
    if (this.#peer.connectionState !== "connected") return;
    const reports: unknown[] = [];
    try {
      (await this.#peer.getStats()).forEach((report: unknown) => reports.push(report));
    } catch {
      // The connection was closed meanwhile.
      return;
    }
    if (!this.#closed) this.emit("stats", this.#reader.read(reports));
  }
}
