import { toFloats } from "../client/audio/framer";
import { JitterBuffer } from "../client/audio/jitter";
import { level } from "../client/audio/level";
import { Resampler } from "../client/audio/resampler";

const REPORT_SECONDS = 0.05;
const CAPACITY_SECONDS = 10;

type Order = { frame: ArrayBuffer } | { flush: true };

/** Plays 16 kHz frames; reports `{playing, level, underruns, dropped}` on change and at 20 Hz. */
class SpeakerProcessor extends AudioWorkletProcessor {
  readonly #resampler = new Resampler(16_000, sampleRate);
  readonly #buffer: JitterBuffer;
  #playing = false;
  #level = 0;
  #sinceReport = 0;

  constructor(options: { processorOptions: { jitterMs: number } }) {
    super(options);
    this.#buffer = new JitterBuffer(
      Math.round((options.processorOptions.jitterMs * sampleRate) / 1000),
      CAPACITY_SECONDS * sampleRate,
      Math.round(0.005 * sampleRate),
    );
    this.port.onmessage = ({ data }: MessageEvent<Order>) => {
      if ("flush" in data) {
        this.#buffer.flush();
        this.#resampler.reset();
      } else {
        this.#buffer.push(this.#resampler.process(toFloats(new Int16Array(data.frame))));
      }
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const output = outputs[0]?.[0];
    if (!output) return true;
    if (this.#buffer.pull(output)) this.#level = Math.max(this.#level, level(output));
    this.#sinceReport += output.length;
    const due = this.#buffer.playing && this.#sinceReport >= REPORT_SECONDS * sampleRate;
    if (due || this.#buffer.playing !== this.#playing) this.#report();
    return true;
  }

  #report(): void {
    this.#playing = this.#buffer.playing;
    this.port.postMessage({
      playing: this.#playing,
      level: this.#playing ? this.#level : 0,
      underruns: this.#buffer.underruns,
      dropped: this.#buffer.dropped,
    });
    this.#sinceReport = 0;
    this.#level = 0;
  }
}

registerProcessor("salon-speaker", SpeakerProcessor);
