/** Cuts a stream of floats into int16 frames of `size` samples; the rest waits for more. */
export class Framer {
  #frame: Int16Array<ArrayBuffer>;
  #filled = 0;

  constructor(
    private readonly deliver: (frame: Int16Array<ArrayBuffer>) => void,
    readonly size = 320,
  ) {
    this.#frame = new Int16Array(size);
  }

  /** Each frame is handed over once and never touched again. */
  push(samples: Float32Array): void {
    for (const sample of samples) {
      this.#frame[this.#filled] = toInt16(sample);
      this.#filled += 1;
      if (this.#filled === this.size) {
        const full = this.#frame;
        this.#frame = new Int16Array(this.size);
        this.#filled = 0;
        this.deliver(full);
      }
    }
  }
}

/** -1..1 to int16, clipped. */
export function toInt16(sample: number): number {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

/** int16 to -1..1. */
export function toFloats(samples: Int16Array): Float32Array {
  const floats = new Float32Array(samples.length);
  for (let i = 0; i < samples.length; i += 1) floats[i] = (samples[i] ?? 0) / 32768;
  return floats;
}
