import { Framer } from "../client/audio/framer";
import { level } from "../client/audio/level";
import { Resampler } from "../client/audio/resampler";

/** Sends `{frame: ArrayBuffer, level: number}`, 320 samples at 16 kHz, every 20 ms. */
class MicrophoneProcessor extends AudioWorkletProcessor {
  readonly #resampler = new Resampler(sampleRate, 16_000);
  #level = 0;
  readonly #framer = new Framer((frame) => {
    this.port.postMessage({ frame: frame.buffer, level: this.#level }, [frame.buffer]);
    this.#level = 0;
  });

  process(inputs: Float32Array[][]): boolean {
    const samples = inputs[0]?.[0];
    if (samples) {
      this.#level = Math.max(this.#level, level(samples));
      this.#framer.push(this.#resampler.process(samples));
    }
    return true;
  }
}

registerProcessor("salon-microphone", MicrophoneProcessor);
