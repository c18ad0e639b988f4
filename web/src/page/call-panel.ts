import type { AudioChoice } from "../client/line";
import { Microphone } from "../client/microphone";
import { byId, create } from "./dom";
import { audioChoice } from "./identity";
import type { Identity } from "./identity";
import { Keypad } from "./keypad";
import { LatencyView } from "./latency-view";
import type { Talk, TalkState } from "./talk";
import { WayView } from "./way-view";

const LABELS: Record<TalkState, string> = { idle: "Talk", connecting: "Cancel", live: "Hang up" };
const METER_STEP = 200;

/** Talk, mute, interrupt, the device, and the lights; the talk itself is elsewhere. */
export class CallPanel {
  readonly #talkButton = byId<HTMLButtonElement>("talk");
  readonly #mute = byId<HTMLButtonElement>("mute");
  readonly #interrupt = byId<HTMLButtonElement>("interrupt");
  readonly #device = byId<HTMLSelectElement>("device");
  readonly #audio = byId<HTMLSelectElement>("audio");
  readonly #level = byId("level");
  readonly #bar = byId("level-bar");
  #shown = 0;

  constructor(
    private readonly talk: Talk,
    private readonly identity: Identity,
    private readonly begin: () => void,
  ) {
    this.#talkButton.addEventListener("click", () => this.toggle());
    this.#mute.addEventListener("click", () => this.toggleMute());
    this.#interrupt.addEventListener("click", () => talk.interrupt());
    this.#device.addEventListener("change", () => {
      identity.device = this.#device.value;
      void talk.setDevice(this.#device.value);
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.listDevices());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#bindAudio();
    this.#follow();
    void this.listDevices();
  }

  /** Which way the sound of the next call goes, as the user wants it or as the address says. */
  get audio(): AudioChoice {
    return audioChoice(this.#audio.value);
  }

  toggle(): void {
    if (this.talk.state === "idle") this.begin();
    else this.talk.stop();
  }

  toggleMute(): void {
    if (this.#mute.disabled) return;
    this.talk.setMuted(!this.talk.muted);
    this.#mute.setAttribute("aria-pressed", String(this.talk.muted));
  }

  /** Show the microphones there are, and which one is used. */
  async listDevices(used?: string): Promise<void> {
    const devices = (await Microphone.devices()).filter(({ deviceId }) => deviceId);
    const chosen = this.identity.device;
    const options = devices
      .filter(({ deviceId }) => deviceId !== "default")
      .map(({ deviceId, label }, at) => {
        const option = create("option", "", label || `Microphone ${at + 1}`);
        option.value = deviceId;
        return option;
      });
    const preset = create("option", "", "Default microphone");
    preset.value = "";
    this.#device.replaceChildren(preset, ...options);
    const wanted = chosen && used && options.some(({ value }) => value === used) ? used : chosen;
    this.#device.value = options.some(({ value }) => value === wanted) ? wanted : "";
  }

  #bindAudio(): void {
    const given = new URLSearchParams(location.search).get("audio");
    this.#audio.value = given ? audioChoice(given) : this.identity.audio;
    this.#audio.addEventListener("change", () => (this.identity.audio = this.audio));
  }

  #follow(): void {
    const { talk } = this;
    const way = new WayView();
    const keypad = new Keypad((digit) => talk.press(digit));
    talk.on("path", (path) => {
      way.show(path);
      keypad.show(path === "webrtc");
    });
    talk.on("stats", (stats) => way.read(stats));
    talk.on("digit", (digit) => keypad.taken(digit));
    const latency = new LatencyView();
    talk.on("state", (state) => this.#state(state));
    talk.on("level", (level) => this.#showLevel(level));
    talk.on("speaking", (on) => light("speaking", on));
    talk.on("agentSpeaking", (on) => light("agent-speaking", on));
    talk.on("turn", (turn) => latency.show(turn));
    talk.on("microphone", (used) => void this.listDevices(used));
  }

  #state(state: TalkState): void {
    this.#talkButton.dataset.state = state;
    byId("talk-label").textContent = LABELS[state];
    this.#mute.disabled = state === "idle";
    this.#interrupt.disabled = state !== "live";
    if (state === "idle" && this.talk.muted) {
      this.talk.setMuted(false);
      this.#mute.setAttribute("aria-pressed", "false");
    }
  }

  #showLevel(level: number): void {
    this.#bar.style.transform = `scaleX(${level.toFixed(3)})`;
    const now = performance.now();
    if (level > 0 && now - this.#shown < METER_STEP) return;
    this.#shown = now;
    this.#level.setAttribute("aria-valuenow", String(Math.round(level * 100)));
  }

  #key(event: KeyboardEvent): void {
    if (event.repeat || event.isComposing || event.defaultPrevented) return;
    const alt = event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    // By position, since Alt makes other characters of letters on some keyboards.
    if (alt && event.code === "KeyT") this.toggle();
    else if (alt && event.code === "KeyM") this.toggleMute();
    else if (event.key === "Escape" && this.talk.state === "live") {
      // There Escape closes the list.
      if (event.target instanceof HTMLSelectElement) return;
      this.talk.interrupt();
    } else return;
    event.preventDefault();
  }
}

function light(id: string, on: boolean): void {
  const element = byId(id);
  element.dataset.on = String(on);
  const words = id === "speaking" ? ["You", "You are speaking"] : ["Agent", "Agent is speaking"];
  const label = element.querySelector(".label");
  if (label) label.textContent = words[on ? 1 : 0] ?? "";
}
