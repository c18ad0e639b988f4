import type { RoomEvent, StreamStart } from "../client/protocol";
import { byId, create } from "./dom";
import { fillEntry } from "./entry";
import type { Entry } from "./entry";

/** How long the last words stay if no event of the timeline takes their place, in ms. */
const LINGER = 4_000;

interface Line {
  element: HTMLElement;
  timer?: ReturnType<typeof setTimeout>;
}

/** Words while they form: of those who speak, and of answers that are being produced. */
export class CaptionsView {
  readonly #captions = byId("captions");
  readonly #lines = new Map<string, Line>();

  constructor(private readonly follow: (change: () => void) => void) {}

  /** Interim words of a participant. The end without words keeps the last ones for a moment. */
  spoken(participant: string, entry: Entry, final: boolean): void {
    const key = `person:${participant}`;
    if (entry.text) this.#show(key, entry);
    if (final) this.#linger(key);
  }

  /** An answer begins; it shows when it has words. */
  streamStart(start: StreamStart, entry: Entry): void {
    this.#show(`stream:${start.stream_id}`, entry);
  }

  streamText(stream: string, text: string): void {
    const line = this.#lines.get(`stream:${stream}`);
    if (!line) return;
    this.follow(() => {
      line.element.hidden = !text;
      const words = line.element.querySelector("p");
      if (words) words.textContent = text;
    });
  }

  streamEnd(stream: string): void {
    this.#remove(`stream:${stream}`);
  }

  /** The timeline has the event now: its caption goes. */
  committed(event: RoomEvent): void {
    if (event.type !== "message") return;
    const participant = event.source.participant_id;
    if (participant) this.#remove(`person:${participant}`);
    this.#remove(`stream:${event.id}`); // an answer's event has the id of its stream
  }

  /** Nobody is heard any more. */
  clear(): void {
    for (const key of [...this.#lines.keys()]) this.#remove(key);
  }

  #show(key: string, entry: Entry): void {
    this.follow(() => {
      let line = this.#lines.get(key);
      if (!line) {
        line = { element: create("div") };
        this.#lines.set(key, line);
        this.#captions.append(line.element);
      }
      clearTimeout(line.timer);
      fillEntry(line.element, entry);
      line.element.hidden = !entry.text;
    });
  }

  #linger(key: string): void {
    const line = this.#lines.get(key);
    if (!line) return;
    clearTimeout(line.timer);
    line.timer = setTimeout(() => this.#remove(key), LINGER);
  }

  #remove(key: string): void {
    const line = this.#lines.get(key);
    if (!line) return;
    clearTimeout(line.timer);
    this.#lines.delete(key);
    this.follow(() => line.element.remove());
  }
}
