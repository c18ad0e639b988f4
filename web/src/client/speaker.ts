import { Emitter } from "./emitter";
import { SPEAKER_WORKLET } from "./worklets";

export interface SpeakerReport {
  playing: boolean;
  /** Loudness, 0 to 1 on a scale of 60 dB. */
  level: number;
  /** How often sound ran out, ends of speech included. */
  underruns: number;
  /** Samples lost because too many waited. */
  dropped: number;
}

export interface SpeakerEvents {
  report: SpeakerReport;
}

export interface SpeakerOptions {
  /** Any rate will do. Not closed by this class. */
  context: AudioContext;
  /** How much sound is gathered before it is played, in ms. */
  jitterMs?: number;
  /** The built worklet; by default the file beside the library. */
  workletUrl?: string;
}

/** Plays 16 kHz frames as they come. */
export class Speaker extends Emitter<SpeakerEvents> {
  readonly #options: SpeakerOptions;
  #node: AudioWorkletNode | undefined;

  constructor(options: SpeakerOptions) {
    super();
    this.#options = options;
  }

  async start(): Promise<void> {
    const { context, jitterMs = 60, workletUrl = SPEAKER_WORKLET } = this.#options;
    await context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(context, "salon-speaker", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { jitterMs },
    });
    node.port.onmessage = ({ data }: MessageEvent<SpeakerReport>) => this.emit("report", data);
    node.connect(context.destination);
    this.#node = node;
  }

  /** Play these samples after the ones that wait. */
  play(samples: Int16Array): void {
    const copy = samples.slice();
    this.#node?.port.postMessage({ frame: copy.buffer }, [copy.buffer]);
  }

  /** Fall silent at once, with a fade of 5 ms. */
  flush(): void {
    this.#node?.port.postMessage({ flush: true });
  }

  /** Idempotent. */
  stop(): void {
    if (this.#node) this.#node.port.onmessage = null;
    this.#node?.disconnect();
    this.#node = undefined;
  }
}
