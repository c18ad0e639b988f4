import type { Recording, SalonApi } from "../client/api";
import { byId, create } from "./dom";

/** Links to the transcript and the recordings of a room. */
export class Downloads {
  readonly #list = byId("downloads");
  readonly #none = byId("no-recordings");

  constructor(
    private readonly api: SalonApi,
    private readonly room: string,
  ) {
    byId<HTMLAnchorElement>("transcript").href = api.transcriptUrl(room);
    byId<HTMLDetailsElement>("more").addEventListener("toggle", () => void this.refresh());
  }

  /** Ask which recordings there are; without an answer the old list stays. */
  async refresh(): Promise<void> {
    let recordings: Recording[];
    try {
      recordings = await this.api.recordings(this.room);
    } catch {
      return;
    }
    const transcript = this.#list.firstElementChild;
    const items = recordings.map((recording) => this.#item(recording));
    this.#list.replaceChildren(...(transcript ? [transcript] : []), ...items);
    this.#none.hidden = items.length > 0;
  }

  #item(recording: Recording): HTMLLIElement {
    const started = new Date(recording.started_at);
    const seconds = Math.round(recording.duration_ms / 1000);
    const length = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const when = started.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const link = create("a", "", `Recording of ${when}, ${length}`);
    link.href = this.api.recordingUrl(this.room, recording.id);
    link.download = "";
    const item = create("li");
    item.append(link);
    return item;
  }
}
