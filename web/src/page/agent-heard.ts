/**
 * Whether an agent is heard: there is sound, and the server plays something of an agent's. Sound
 * alone says little, since what other people say comes the same way.
 */
export class AgentHeard {
  #sound = false;
  #track = false;
  #told = false;

  constructor(private readonly tell: (heard: boolean) => void) {}

  /** Something is to be heard, or nothing any more. */
  sound(on: boolean): void {
    this.#sound = on;
    this.#look();
  }

  /** An agent's words are being played, or ended. */
  track(on: boolean): void {
    this.#track = on;
    this.#look();
  }

  /** The call is over. */
  reset(): void {
    this.#sound = this.#track = false;
    this.#look();
  }

  #look(): void {
    const heard = this.#sound && this.#track;
    if (heard === this.#told) return;
    this.#told = heard;
    this.tell(heard);
  }
}
