import { byId, create } from "./dom";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const NAMES: Record<string, string> = { "*": "Star", "#": "Hash" };
const SHOWN = 24;

/** Keys of a telephone; digits show when the server has taken them. */
export class Keypad {
  readonly #box = byId<HTMLDetailsElement>("keypad");
  readonly #pressed = byId("pressed");

  constructor(private readonly press: (digit: string) => boolean) {
    byId("digits").append(...KEYS.map((key) => this.#button(key)));
    // Inside the open keypad digits may be typed; elsewhere they are text.
    this.#box.addEventListener("keydown", (event) => {
      const plain = !event.altKey && !event.ctrlKey && !event.metaKey && !event.repeat;
      if (!this.#box.open || !plain || !KEYS.includes(event.key)) return;
      event.preventDefault();
      this.press(event.key);
    });
  }

  /** Offer the keypad, or take it away with what it shows. */
  show(on: boolean): void {
    const focused = this.#box.contains(document.activeElement);
    this.#box.hidden = !on;
    if (on) return;
    this.#box.open = false;
    this.#pressed.textContent = "";
    // The focus must not end up nowhere.
    if (focused) byId("talk").focus();
  }

  /** The server took this one. */
  taken(digit: string): void {
    this.#pressed.textContent = `${this.#pressed.textContent ?? ""}${digit}`.slice(-SHOWN);
  }

  #button(key: string): HTMLButtonElement {
    const button = create("button", "", key);
    button.type = "button";
    const name = NAMES[key];
    if (name) button.ariaLabel = name;
    button.addEventListener("click", () => this.press(key));
    return button;
  }
}
