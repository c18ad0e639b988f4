import type { TurnLatency } from "../client/protocol";
import { byId, create } from "./dom";

const STAGES = [
  ["recognised", "recognised"],
  ["firstWord", "first word"],
  ["firstSound", "first sound"],
  ["firstAudio", "first frame"],
] as const;

/**
 * How the last answer's delay came about: end of speech, recognised, first word, first sound of the
 * voice, first frame on its way.
 */
export class LatencyView {
  readonly #figure = byId("latency");
  readonly #total = byId("latency-total");
  readonly #legend = byId("latency-legend");

  show(turn: TurnLatency): void {
    this.#figure.hidden = false;
    this.#figure.dataset.turn = String(turn.turn);
    this.#total.textContent = `${Math.round(turn.firstAudio)} ms`;
    let from = 0;
    this.#legend.replaceChildren(
      ...STAGES.map(([stage, words]) => {
        const at = turn[stage];
        const bar = this.#figure.querySelector<HTMLElement>(`.stack [data-stage=${stage}]`);
        if (bar) bar.style.flexGrow = String(Math.max(0, at - from));
        from = at;
        const item = create("li", "", `${words} ${Math.round(at)} ms`);
        item.dataset.stage = stage;
        return item;
      }),
    );
  }
}
