import type { RoomEvent } from "./protocol";

/** A room's events in order, each once, whichever way they came. */
export class Timeline {
  readonly #events: RoomEvent[] = [];
  readonly #ids = new Set<string>();
  #complete = false;

  constructor(readonly limit = 2000) {}

  get events(): readonly RoomEvent[] {
    return this.#events;
  }

  /** The index of the oldest event, if there is any. */
  get firstIndex(): number | undefined {
    return this.#events[0]?.index;
  }

  /** Whether older events may exist. */
  get hasMore(): boolean {
    return !this.#complete && (this.firstIndex ?? 0) > 0;
  }

  /** Take an event in; returns its position, or undefined if it was there already. */
  add(event: RoomEvent): number | undefined {
    if (this.#ids.has(event.id)) return undefined;
    let position = this.#events.length;
    while (position > 0 && (this.#events[position - 1]?.index ?? -1) > event.index) position -= 1;
    if (position === 0 && this.#events.length >= this.limit) return undefined;
    this.#ids.add(event.id);
    this.#events.splice(position, 0, event);
    return position;
  }

  /** Note that nothing older exists. */
  markComplete(): void {
    this.#complete = true;
  }

  /** Let the oldest go while there are too many; returns them. */
  trim(): RoomEvent[] {
    const surplus = Math.max(0, this.#events.length - this.limit);
    const gone = this.#events.splice(0, surplus);
    for (const event of gone) this.#ids.delete(event.id);
    if (gone.length) this.#complete = false;
    return gone;
  }

  /** The index below which events are missing in the middle, as after a lost connection. */
  gap(): number | undefined {
    for (let at = this.#events.length - 1; at > 0; at -= 1) {
      const newer = this.#events[at];
      const older = this.#events[at - 1];
      if (newer && older && newer.index > older.index + 1) return newer.index;
    }
    return undefined;
  }
}
