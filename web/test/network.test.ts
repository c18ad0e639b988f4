import { afterEach, describe, expect, it, vi } from "vitest";
import { untilOnline, watchNetwork } from "../src/client/network";
import { Activity } from "../src/client/remote-sound";
import { audioChoice } from "../src/page/identity";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A browser in the middle of a change. */
function browser(online: boolean, type: string) {
  const scope = new EventTarget();
  const connection = Object.assign(new EventTarget(), { type });
  vi.stubGlobal("navigator", { onLine: online, connection });
  vi.stubGlobal("addEventListener", scope.addEventListener.bind(scope));
  vi.stubGlobal("removeEventListener", scope.removeEventListener.bind(scope));
  return { scope, connection };
}

describe("watchNetwork", () => {
  it("tells of another network, and not of another estimate of its speed", () => {
    const { scope, connection } = browser(true, "wifi");
    const changed = vi.fn();
    const stop = watchNetwork(changed);
    connection.dispatchEvent(new Event("change"));
    expect(changed).toHaveBeenCalledTimes(0);
    connection.type = "none";
    connection.dispatchEvent(new Event("change"));
    expect(changed).toHaveBeenCalledTimes(0);
    connection.type = "cellular";
    connection.dispatchEvent(new Event("change"));
    scope.dispatchEvent(new Event("online"));
    expect(changed).toHaveBeenCalledTimes(2);
    stop();
    scope.dispatchEvent(new Event("online"));
    expect(changed).toHaveBeenCalledTimes(2);
  });

  it("needs no such browser", () => {
    vi.stubGlobal("navigator", {});
    expect(() => watchNetwork(() => undefined)()).not.toThrow();
  });
});

describe("untilOnline", () => {
  it("waits for a network, but not for ever", async () => {
    vi.useFakeTimers();
    const { scope } = browser(false, "none");
    const seen: string[] = [];
    void untilOnline(1_000).then(() => seen.push("online"));
    await vi.advanceTimersByTimeAsync(500);
    expect(seen).toEqual([]);
    scope.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(0);
    void untilOnline(1_000).then(() => seen.push("late"));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual(["online", "late"]);
    browser(true, "wifi");
    await untilOnline(1_000);
  });
});

describe("Activity", () => {
  it("is speech, pauses between words included, and no hiss", () => {
    const activity = new Activity();
    const after = (level: number, frames: number) => {
      for (let frame = 0; frame < frames; frame += 1) activity.push(level);
      return activity.playing;
    };
    expect(after(0.15, 50)).toBe(false);
    expect(after(0.5, 1)).toBe(true);
    expect(after(0, 19)).toBe(true);
    expect(after(0, 1)).toBe(false);
    after(0.5, 1);
    activity.reset();
    expect(activity.playing).toBe(false);
  });
});

describe("audioChoice", () => {
  it("is automatic unless it is said otherwise", () => {
    expect(["webrtc", "websocket", "auto", "carrier pigeon", "", null].map(audioChoice)).toEqual([
      "webrtc",
      "websocket",
      "auto",
      "auto",
      "auto",
      "auto",
    ]);
  });
});
