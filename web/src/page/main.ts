import { SalonApi } from "../client/api";
import type { Info } from "../client/api";
import type { AudioChoice } from "../client/line";
import { watchNetwork } from "../client/network";
import { RoomClient } from "../client/room";
import { CallPanel } from "./call-panel";
import { CaptionsView } from "./captions-view";
import { Composer } from "./composer";
import { DebugStats } from "./debug";
import { byId } from "./dom";
import { Downloads } from "./downloads";
import { roleOf } from "./entry";
import type { Cast } from "./entry";
import { Identity } from "./identity";
import { login } from "./login";
import { Talk } from "./talk";
import { TimelineView } from "./timeline-view";
import { diagnose, hangupInWords, inWords } from "./words";

const WIDE = "(min-width: 52.01rem)";
const RECORDING_DELAY = 1_500;
const LOST = "The call was lost and could not be brought back. Press Talk to call again.";
/** So many failed attempts to reconnect are nothing to talk about. */
const PATIENCE = 3;

/** One room in one browser window: binds the parts of the page together. */
class Page {
  readonly #cast: Cast;
  readonly #room: RoomClient;
  readonly #timeline: TimelineView;
  readonly #captions: CaptionsView;
  readonly #talk: Talk;
  readonly #panel: CallPanel;
  readonly #downloads: Downloads;
  #askedGap = -1;
  #connectionError = false;
  #callLost = false;

  constructor(
    private readonly api: SalonApi,
    private readonly identity: Identity,
    private readonly info: Info,
    private readonly room: string,
  ) {
    this.#cast = { participant: identity.participant, agentName: info.agent?.name || "Agent" };
    this.#room = new RoomClient({ room, participant: identity.participant, name: identity.name });
    this.#timeline = new TimelineView(this.#cast, (index) => this.#room.requestHistory(index));
    this.#captions = new CaptionsView((change) => this.#timeline.follow(change));
    this.#downloads = new Downloads(api, room);
    this.#talk = new Talk(new DebugStats(), () => api.iceServers());
    this.#panel = new CallPanel(this.#talk, identity, () => this.#startTalking());
    const composer = new Composer((text) => this.#say(text));
    composer.suggest(info.agent?.suggestions ?? []);
    this.#introduce(info);
    this.#bindName();
    this.#bindShare();
    this.#followRoom();
    this.#followTalk();
    watchNetwork(() => this.#room.networkChanged());
    addEventListener("pagehide", () => this.#talk.stop());
    this.#room.connect();
  }

  #introduce(info: Info): void {
    byId("agent-name").textContent = `Talk with ${this.#cast.agentName}`;
    byId("agent-description").textContent =
      info.agent?.description || "Press Talk and speak, or type a message.";
    byId("engines").textContent = engineNotes(info);
    byId<HTMLDetailsElement>("more").open = matchMedia(WIDE).matches;
  }

  #say(text: string): boolean {
    try {
      this.#room.send(text);
    } catch (error) {
      showError(inWords(error));
      return false;
    }
    this.#timeline.scrollToEnd();
    return true;
  }

  #startTalking(): void {
    showError("");
    const { participant, name, device } = this.identity;
    void this.#talk.start({ room: this.room, participant, name, device, audio: this.#audio() });
  }

  /** What is known not to work is not tried. */
  #audio(): AudioChoice {
    const { audio } = this.#panel;
    const missing = this.info.engines?.webrtc?.available === false;
    return audio === "auto" && missing ? "websocket" : audio;
  }

  #bindName(): void {
    const field = byId<HTMLInputElement>("name");
    field.value = this.identity.name;
    field.addEventListener("change", () => {
      this.identity.name = field.value;
      field.value = this.identity.name;
      this.#room.rename(this.identity.name);
    });
  }

  #bindShare(): void {
    const button = byId<HTMLButtonElement>("share");
    button.addEventListener("click", async () => {
      const link = `${location.origin}${location.pathname}?room=${encodeURIComponent(this.room)}`;
      try {
        await navigator.clipboard.writeText(link);
        button.textContent = "Link copied";
      } catch {
        // Without https there is no clipboard; the address bar holds the same link.
        button.textContent = "Copy the address above";
      }
      setTimeout(() => (button.textContent = "Copy link"), 2_500);
    });
  }

  // -- room -------------------------------------------------------------------------------------

  #followRoom(): void {
    const room = this.#room;
    room.on("state", ({ state }) => {
      this.#showStatus();
      if (state === "waiting") void this.#explainLoss();
      if (state === "open" && this.#connectionError) this.#clearConnectionError();
    });
    room.on("history", ({ events, has_more }) => {
      const { timeline } = this.#timeline;
      const first = events[0]?.index;
      if (!has_more && (first ?? 0) <= (timeline.firstIndex ?? Infinity)) timeline.markComplete();
      for (const event of events) this.#captions.committed(event);
      this.#timeline.addHistory(events);
      this.#fillGap();
    });
    room.on("event", (event) => {
      this.#captions.committed(event);
      this.#timeline.add(event);
      this.#fillGap();
    });
    room.on("caption", ({ participant_id, name, text, final }) => {
      const own = participant_id === this.identity.participant;
      const shown = own ? "You" : name || "Guest";
      this.#captions.spoken(participant_id, { role: "human", own, name: shown, text }, final);
    });
    room.on("streamStart", (start) => {
      const role = roleOf(start.source.channel_type);
      const name = start.source.name || (role === "agent" ? this.#cast.agentName : "Guest");
      this.#captions.streamStart(start, { role, own: false, name, text: "" });
    });
    room.on("streamChunk", ({ stream_id, text }) => this.#captions.streamText(stream_id, text));
    room.on("streamEnd", ({ stream_id, event }) => {
      this.#captions.streamEnd(stream_id);
      if (event) this.#timeline.add(event);
    });
    // That it failed comes as an event too, and stays in the timeline.
    room.on("streamError", ({ stream_id }) => this.#captions.streamEnd(stream_id));
    room.on("error", ({ message }) => showError(message));
  }

  /** Ask for events missed while away; once each, since not every index need be visible. */
  #fillGap(): void {
    const gap = this.#timeline.timeline.gap();
    if (gap === undefined || gap === this.#askedGap) return;
    if (this.#room.requestHistory(gap)) this.#askedGap = gap;
  }

  async #explainLoss(): Promise<void> {
    this.#captions.clear();
    const { trouble, words } = await diagnose(this.api, this.room, false);
    if (this.#room.state === "open") return;
    if (trouble === "login") {
      this.#room.close();
      this.#talk.stop();
      await login(this.api);
      this.#room.connect();
      return;
    }
    if (trouble === "room") this.#room.close();
    this.#connectionError = true;
    showError(trouble === "room" ? words : `${words} Reconnecting…`);
  }

  #clearConnectionError(): void {
    this.#connectionError = false;
    showError("");
  }

  // -- call -------------------------------------------------------------------------------------

  #followTalk(): void {
    const talk = this.#talk;
    talk.on("state", () => this.#showStatus());
    talk.on("reconnecting", (failed) => {
      this.#callLost = true;
      if (failed === 0) this.#room.networkChanged();
      showError(
        failed < PATIENCE
          ? "The call was lost. Reconnecting…"
          : `The call was lost, and ${failed} attempts to bring it back have failed. Trying on; ` +
              "press Cancel to stop.",
      );
    });
    talk.on("trouble", (error) => void this.#explainTrouble(error));
    talk.on("failure", ({ error }) => showError(error));
    talk.on("words", ({ text, final }) => {
      const { participant } = this.identity;
      this.#captions.spoken(participant, { role: "human", own: true, name: "You", text }, final);
    });
    talk.on("over", (end) => {
      if (end && !end.hungUp) showError(LOST);
      else if (end) showError(hangupInWords(end.reason));
      setTimeout(() => void this.#downloads.refresh(), RECORDING_DELAY);
    });
    talk.on("state", (state) => {
      if (state === "live" && this.#callLost) showError("");
      if (state !== "connecting") this.#callLost = false;
    });
  }

  async #explainTrouble(error: unknown): Promise<void> {
    const refused = error instanceof Error && "code" in error && error.code === "refused";
    if (!refused) {
      showError(inWords(error));
      return;
    }
    const { words } = await diagnose(this.api, this.room, true);
    if (this.#talk.state === "idle") showError(words);
  }

  #showStatus(): void {
    const room = this.#room.state;
    const call = this.#talk.state;
    if (call === "live") showStatus("call", "In a call");
    else if (call === "connecting") showStatus("connecting", "Calling…");
    else if (room === "open") showStatus("open", "Connected");
    else if (room === "waiting") showStatus("waiting", "Reconnecting…");
    else if (room === "closed") showStatus("waiting", "Not connected");
    else if (!this.#connectionError) showStatus("connecting", "Connecting…");
  }
}

function showStatus(state: string, words: string): void {
  const status = byId("status");
  status.dataset.state = state;
  if (status.textContent !== words) status.textContent = words;
}

function showError(words: string): void {
  const error = byId("error");
  error.hidden = !words;
  error.textContent = words;
}

function engineNotes(info: Info): string {
  const notes = ["recognition", "synthesis", "model"].flatMap((kind) => {
    const engine = info.engines?.[kind];
    if (!engine) return [];
    const state = engine.available ? "" : " (not available)";
    const languages = engine.languages.map(languageName).join(", ");
    const words = engine.note || languages;
    return words ? [`${engine.name}${state}: ${words}`] : [];
  });
  return notes.map((note) => (note.endsWith(".") ? note : `${note}.`)).join(" ");
}

function languageName(tag: string): string {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

async function openRoom(api: SalonApi): Promise<string> {
  const url = new URL(location.href);
  const given = url.searchParams.get("room");
  if (given) return given;
  const room = await api.createRoom();
  url.searchParams.set("room", room);
  history.replaceState(null, "", url);
  return room;
}

async function begin(): Promise<void> {
  const api = new SalonApi();
  let info = await api.info();
  if (info.auth === "required") {
    showStatus("waiting", "Locked");
    await login(api);
    info = await api.info();
  }
  new Page(api, new Identity(), info, await openRoom(api));
}

begin().catch((error: unknown) => {
  showStatus("waiting", "Not connected");
  showError(`${inWords(error)} Reload the page to try again.`);
});
