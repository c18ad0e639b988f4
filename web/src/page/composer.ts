import { byId, create } from "./dom";

/** The text box, and chips with what could be said. `say` returns false if it was not taken. */
export class Composer {
  readonly #box = byId<HTMLTextAreaElement>("message");
  readonly #chips = byId("suggestions");

  constructor(private readonly say: (text: string) => boolean) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#box.addEventListener("keydown", (event) => {
      // Enter also ends the input of composed characters; that must not send.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
  }

  suggest(texts: readonly string[]): void {
    this.#chips.hidden = texts.length === 0;
    this.#chips.replaceChildren(
      ...texts.map((text) => {
        const chip = create("button", "", text);
        chip.type = "button";
        chip.addEventListener("click", () => this.say(text));
        return chip;
      }),
    );
  }

  #send(): void {
    const text = this.#box.value.trim();
    if (text && this.say(text)) this.#box.value = "";
  }
}
