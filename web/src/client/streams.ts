import type { StreamChunk, StreamedText } from "./protocol";

interface Answer {
  text: string;
  /** How many code points of the answer are known, or known to be missing. */
  size: number;
}

/** Answers of which pieces come at the same time. */
const MAX_ANSWERS = 64;

/** Puts answers together from their pieces. */
export class Streams {
  readonly #answers = new Map<string, Answer>();

  /** An answer begins, perhaps anew after a lost connection. */
  start(id: string): void {
    this.#answers.delete(id);
    const oldest = this.#answers.keys().next();
    if (this.#answers.size >= MAX_ANSWERS && !oldest.done) this.#answers.delete(oldest.value);
    this.#answers.set(id, { text: "", size: 0 });
  }

  /** Take a piece in; what is known already is not added twice. */
  add(chunk: StreamChunk): StreamedText {
    const id = chunk.stream_id;
    if (!this.#answers.has(id)) this.start(id);
    const answer = this.#answers.get(id) as Answer;
    const at = typeof chunk.at === "number" ? chunk.at : answer.size;
    const known = Math.max(0, answer.size - at);
    const points = Array.from(chunk.delta);
    const gap = at > answer.size;
    answer.text += known ? points.slice(known).join("") : chunk.delta;
    answer.size = Math.max(answer.size, at + points.length);
    return { ...chunk, at, text: answer.text, gap };
  }

  end(id: string): void {
    this.#answers.delete(id);
  }

  clear(): void {
    this.#answers.clear();
  }
}
