/**
 * Evens out when sound arrives: playing begins when `target` samples wait or that much time has
 * passed, and begins anew after it ran dry. When full, the oldest sound is dropped and counted.
 */
export class JitterBuffer {
  readonly #ring: Float32Array;
  #read = 0;
  #size = 0;
  #state: "idle" | "filling" | "playing" = "idle";
  #waited = 0;
  dropped = 0;
  underruns = 0;

  constructor(
    readonly target: number,
    readonly capacity: number,
    readonly fade = 80,
  ) {
    this.#ring = new Float32Array(capacity);
  }

  /** Samples that wait. */
  get size(): number {
    return this.#size;
  }

  get playing(): boolean {
    return this.#state === "playing";
  }

  push(samples: Float32Array): void {
    if (samples.length === 0) return;
    if (this.#state === "idle") {
      this.#state = "filling";
      this.#waited = 0;
    }
    for (const sample of samples) {
      if (this.#size === this.capacity) {
        this.#read = (this.#read + 1) % this.capacity;
        this.#size -= 1;
        this.dropped += 1;
      }
      this.#ring[(this.#read + this.#size) % this.capacity] = sample;
      this.#size += 1;
    }
  }

  /** Fill `output`, with silence where there is no sound; false if it is all silence. */
  pull(output: Float32Array): boolean {
    if (this.#state === "filling") {
      this.#waited += output.length;
      if (this.#size >= this.target || this.#waited >= this.target) this.#state = "playing";
    }
    if (this.#state !== "playing") {
      output.fill(0);
      return false;
    }
    const count = Math.min(output.length, this.#size);
    for (let i = 0; i < count; i += 1) {
      output[i] = this.#ring[(this.#read + i) % this.capacity] ?? 0;
    }
    this.#read = (this.#read + count) % this.capacity;
    this.#size -= count;
    if (count < output.length) {
      output.fill(0, count);
      this.#state = "idle";
      this.underruns += 1;
    }
    return true;
  }

  /** Drop what waits but for a short fade, which avoids a click. */
  flush(): void {
    const keep = this.#state === "playing" ? Math.min(this.fade, this.#size) : 0;
    for (let i = 0; i < keep; i += 1) {
      const at = (this.#read + i) % this.capacity;
      this.#ring[at] = (this.#ring[at] ?? 0) * (1 - (i + 1) / keep);
    }
    this.#size = keep;
    if (this.#state === "filling") this.#state = "idle";
  }
}
