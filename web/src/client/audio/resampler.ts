/** Zero crossings of the filter on each side: below 1 ms of delay at 16 kHz and above. */
const CROSSINGS = 12;
const MAX_PHASES = 1024;
/** Share of the smaller Nyquist band that passes. */
const PASS = 0.9;

/** Live conversion between two sample rates by a windowed-sinc filter bank; mono floats. */
export class Resampler {
  readonly #up: number;
  readonly #down: number;
  readonly #phases: number;
  readonly #taps: number;
  readonly #table: Float32Array;
  #buffer: Float32Array;
  #filled: number;
  #output = new Float32Array(0);
  #position = 0;
  #phase = 0;

  constructor(
    readonly from: number,
    readonly to: number,
  ) {
    const divisor = greatestCommonDivisor(Math.round(from), Math.round(to));
    this.#up = Math.round(to) / divisor;
    this.#down = Math.round(from) / divisor;
    this.#phases = Math.min(this.#up, MAX_PHASES);
    const cutoff = PASS * Math.min(1, to / from);
    const half = Math.ceil(CROSSINGS / cutoff);
    this.#taps = 2 * half;
    this.#table = filterBank(this.#phases, half, cutoff);
    this.#buffer = new Float32Array(this.#taps + 4096);
    this.#filled = this.#taps - 1;
  }

  /** Delay in ms. */
  get delay(): number {
    return this.from === this.to ? 0 : (1000 * (this.#taps / 2)) / this.from;
  }

  /** What `input` becomes; the result is valid until the next call. */
  process(input: Float32Array): Float32Array {
    if (this.from === this.to) return input;
    this.#append(input);
    const most = Math.ceil((input.length * this.#up) / this.#down) + 1;
    if (this.#output.length < most) this.#output = new Float32Array(most);
    let count = 0;
    while (this.#position + this.#taps <= this.#filled) {
      this.#output[count] = this.#sample();
      count += 1;
      this.#phase += this.#down;
      const whole = Math.floor(this.#phase / this.#up);
      this.#phase -= whole * this.#up;
      this.#position += whole;
    }
    const done = Math.min(this.#position, this.#filled);
    this.#buffer.copyWithin(0, done, this.#filled);
    this.#filled -= done;
    this.#position -= done;
    return this.#output.subarray(0, count);
  }

  /** Forget what came before. */
  reset(): void {
    this.#buffer.fill(0);
    this.#filled = this.#taps - 1;
    this.#position = 0;
    this.#phase = 0;
  }

  #append(input: Float32Array): void {
    if (this.#filled + input.length > this.#buffer.length) {
      const larger = new Float32Array(2 * (this.#filled + input.length));
      larger.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = larger;
    }
    this.#buffer.set(input, this.#filled);
    this.#filled += input.length;
  }

  #sample(): number {
    const row = Math.floor((this.#phase * this.#phases) / this.#up) * this.#taps;
    let sum = 0;
    for (let tap = 0; tap < this.#taps; tap += 1) {
      sum += (this.#buffer[this.#position + tap] ?? 0) * (this.#table[row + tap] ?? 0);
    }
    return sum;
  }
}

/** One row of `2 * half` weights for each fraction of an input sample. */
function filterBank(phases: number, half: number, cutoff: number): Float32Array {
  const taps = 2 * half;
  const table = new Float32Array(phases * taps);
  for (let phase = 0; phase < phases; phase += 1) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const x = tap - (half - 1) - phase / phases;
      const weight = sinc(cutoff * x) * blackman(x / half);
      table[phase * taps + tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < taps; tap += 1) {
      const at = phase * taps + tap;
      table[at] = (table[at] ?? 0) / sum;
    }
  }
  return table;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function blackman(x: number): number {
  if (Math.abs(x) >= 1) return 0;
  return 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
