import type { AudioChoice } from "../client/line";
import { newId } from "../client/room";

const ID = "salon.participant";
const NAME = "salon.name";
const DEVICE = "salon.device";
const AUDIO = "salon.audio";

/** Storage may be switched off; then everything lasts as long as the page. */
function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Nothing to do: the value lasts as long as the page.
  }
}

/** A stored or given choice; anything else is `auto`. */
export function audioChoice(value: string | null): AudioChoice {
  return value === "webrtc" || value === "websocket" ? value : "auto";
}

/** Who sits at this browser. */
export class Identity {
  readonly participant: string;
  #name = read(NAME);
  #device = read(DEVICE);
  #audio = audioChoice(read(AUDIO));

  constructor() {
    this.participant = read(ID) || `web-${newId().slice(0, 16)}`;
    write(ID, this.participant);
  }

  get name(): string {
    return this.#name;
  }

  set name(name: string) {
    this.#name = name.replace(/\p{C}+/gu, " ").trim();
    write(NAME, this.#name);
  }

  /** Which way the sound of calls goes. */
  get audio(): AudioChoice {
    return this.#audio;
  }

  set audio(audio: AudioChoice) {
    this.#audio = audio;
    write(AUDIO, audio);
  }

  get device(): string {
    return this.#device;
  }

  set device(device: string) {
    this.#device = device;
    write(DEVICE, device);
  }
}
