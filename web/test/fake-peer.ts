/** A peer connection whose network is the test. */
export class FakePeer {
  static made: FakePeer[] = [];
  connectionState: RTCPeerConnectionState = "new";
  iceConnectionState: RTCIceConnectionState = "new";
  onicecandidate: ((event: { candidate: { candidate: string } | null }) => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;
  ontrack: ((event: { track: unknown; streams: unknown[] }) => void) | null = null;
  offers = 0;
  local: unknown[] = [];
  answers: string[] = [];
  tones: string[] = [];
  track: unknown;
  closed = false;
  badAnswer = false;
  reports: object[] = [];
  readonly dtmf = {
    canInsertDTMF: true,
    toneBuffer: "",
    insertDTMF: (tones: string) => this.tones.push(tones),
  };

  constructor(readonly configuration: RTCConfiguration) {
    FakePeer.made.push(this);
  }

  static get last(): FakePeer {
    const peer = FakePeer.made.at(-1);
    if (!peer) throw new Error("no peer connection was made");
    return peer;
  }

  addTransceiver(track: unknown): object {
    this.track = track;
    const replaceTrack = async (other: unknown) => {
      this.track = other;
    };
    return { sender: { dtmf: this.dtmf, replaceTrack } };
  }

  async createOffer(): Promise<{ type: string; sdp: string }> {
    this.offers += 1;
    return { type: "offer", sdp: `offer ${this.offers}` };
  }

  async setLocalDescription(description: unknown): Promise<void> {
    this.local.push(description);
  }

  async setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    if (this.badAnswer) throw new Error("bad SDP");
    this.answers.push(sdp);
  }

  async getStats(): Promise<object[]> {
    return this.reports;
  }

  close(): void {
    this.closed = true;
  }

  // -- the network ------------------------------------------------------------------------------

  find(candidate: string | null): void {
    this.onicecandidate?.({ candidate: candidate === null ? null : { candidate } });
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  becomeIce(state: RTCIceConnectionState): void {
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
  }
}

export const FakePeerClass = FakePeer as unknown as typeof RTCPeerConnection;
