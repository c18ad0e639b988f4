import type { AudioPath } from "../client/call";
import { QualityWatch } from "../client/rtc-stats";
import type { RtcStats } from "../client/rtc-stats";
import { byId } from "./dom";

const NAMES: Record<AudioPath, string> = { webrtc: "WebRTC", websocket: "WebSocket" };
const WEBSOCKET_CODEC = "PCM, 16 kHz";

/** Which way the sound goes, and what is wrong with it if that lasts. */
export class WayView {
  readonly #path = byId("audio-path");
  readonly #trouble = byId("audio-trouble");
  #quality = new QualityWatch();

  show(path: AudioPath | undefined): void {
    this.#quality = new QualityWatch();
    setText(this.#path, path ? `Sound by ${NAMES[path]}` : "");
    this.#path.title = path === "websocket" ? WEBSOCKET_CODEC : "";
    setText(this.#trouble, "");
  }

  read(stats: RtcStats): void {
    if (stats.codec) this.#path.title = stats.codec;
    const { loss, jitter, delay } = this.#quality.read(stats);
    // No figures: they would be read out anew every two seconds.
    const words = [
      ...(loss ? ["sound is getting lost"] : []),
      ...(jitter ? ["sound comes unevenly"] : []),
      ...(delay ? ["long way to the server"] : []),
    ].join(", ");
    setText(this.#trouble, words && ` – weak connection: ${words}`);
    this.#trouble.title = words && figures(stats);
  }
}

/** A live region is read out at every change, also by the same words. */
function setText(element: HTMLElement, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

function figures({ lostIn = 0, lostOut = 0, jitterMs = 0, roundTripMs = 0 }: RtcStats): string {
  const percent = (part: number) => `${Math.round(part * 100)} %`;
  return (
    `${percent(lostIn)} of what you hear and ${percent(lostOut)} of what you say is lost, ` +
    `jitter ${jitterMs} ms, round trip ${roundTripMs} ms`
  );
}
