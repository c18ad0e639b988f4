import type { RoomEvent } from "../client/protocol";
import { Timeline } from "../client/timeline";
import { byId, create } from "./dom";
import { entryOf, fillEntry } from "./entry";
import type { Cast } from "./entry";

const NEAR_END = 80;

/** The list of what was said. It follows the newest entry unless the reader has scrolled up. */
export class TimelineView {
  readonly #list = byId<HTMLOListElement>("timeline");
  readonly #log = byId("log");
  readonly #scroller = byId("scroller");
  readonly #welcome = byId("welcome");
  readonly #earlier = byId<HTMLButtonElement>("earlier");
  readonly #timeline = new Timeline();
  readonly #items = new Map<string, HTMLLIElement>();
  #following = true;
  #scrolledTo = 0;

  constructor(
    private readonly cast: Cast,
    requestBefore: (index: number) => void,
  ) {
    this.#earlier.addEventListener("click", () => {
      const first = this.#timeline.firstIndex;
      if (first !== undefined) requestBefore(first);
    });
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => {
      if (this.#following) this.scrollToEnd(true);
    }).observe(this.#scroller);
  }

  get timeline(): Timeline {
    return this.#timeline;
  }

  /** Show a page of events, read out to nobody. */
  addHistory(events: readonly RoomEvent[]): void {
    const first = this.#list.firstElementChild;
    const offset = first ? first.getBoundingClientRect().top : 0;
    this.#log.setAttribute("aria-live", "off");
    for (const event of events) this.#insert(event);
    this.#refresh();
    if (this.#following) this.scrollToEnd(true);
    else if (first) {
      this.#scroller.scrollTop += first.getBoundingClientRect().top - offset;
    }
    setTimeout(() => this.#log.setAttribute("aria-live", "polite"), 500);
  }

  /** Show one new event. */
  add(event: RoomEvent): void {
    this.#insert(event);
    this.#refresh();
    if (this.#following) this.scrollToEnd();
  }

  /** Keep the newest in sight if it was so before `change`. */
  follow(change: () => void): void {
    change();
    if (this.#following) this.scrollToEnd();
  }

  scrollToEnd(now = false): void {
    this.#following = true;
    this.#scroller.scrollTo({
      top: this.#scroller.scrollHeight,
      behavior: now ? "instant" : "auto",
    });
  }

  #insert(event: RoomEvent): void {
    if (this.#timeline.add(event) === undefined) return;
    const entry = entryOf(event, this.cast);
    if (entry) {
      const item = create("li");
      fillEntry(item, entry);
      item.dataset.index = String(event.index);
      item.dataset.id = event.id;
      this.#list.insertBefore(item, this.#nextItem(event.index));
      this.#items.set(event.id, item);
    }
    for (const gone of this.#timeline.trim()) {
      this.#items.get(gone.id)?.remove();
      this.#items.delete(gone.id);
    }
  }

  #nextItem(index: number): Element | null {
    let next: Element | null = null;
    let item = this.#list.lastElementChild;
    while (item && Number((item as HTMLElement).dataset.index) > index) {
      next = item;
      item = item.previousElementSibling;
    }
    return next;
  }

  #refresh(): void {
    this.#welcome.hidden = this.#items.size > 0;
    this.#earlier.hidden = !this.#timeline.hasMore;
  }

  /** Only scrolling up ends the following: on its way down, an animated scroll is not there yet. */
  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
    if (atEnd || scrollTop < this.#scrolledTo) this.#following = atEnd;
    this.#scrolledTo = scrollTop;
  }
}
