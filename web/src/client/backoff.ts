/** Waiting times between attempts: doubling from `first` to `most` ms, the upper half random. */
export class Backoff {
  #attempt = 0;

  constructor(
    readonly first = 500,
    readonly most = 15_000,
    private readonly random: () => number = Math.random,
  ) {}

  /** How many times `next` was asked since the last success. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The wait before the next attempt, in ms. */
  next(): number {
    const limit = Math.min(this.most, this.first * 2 ** this.#attempt);
    this.#attempt += 1;
    return limit / 2 + (this.random() * limit) / 2;
  }

  /** An attempt succeeded. */
  reset(): void {
    this.#attempt = 0;
  }
}
