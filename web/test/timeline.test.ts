import { describe, expect, it } from "vitest";
import { Timeline } from "../src/client/timeline";
import { roomEvent } from "./room-event";

const indices = (timeline: Timeline) => timeline.events.map(({ index }) => index);

describe("Timeline", () => {
  it("keeps order and takes each event once", () => {
    const timeline = new Timeline();
    for (const index of [3, 1, 2, 3, 0]) timeline.add(roomEvent(index));
    expect(indices(timeline)).toEqual([0, 1, 2, 3]);
    expect(timeline.add(roomEvent(2))).toBeUndefined();
    expect(timeline.add(roomEvent(5))).toBe(4);
  });

  it("knows whether older events may exist", () => {
    const timeline = new Timeline();
    expect(timeline.hasMore).toBe(false);
    timeline.add(roomEvent(4));
    expect(timeline.hasMore).toBe(true);
    timeline.markComplete();
    expect(timeline.hasMore).toBe(false);
  });

  it("finds what was missed while away", () => {
    const timeline = new Timeline();
    for (const index of [0, 1, 5, 6]) timeline.add(roomEvent(index));
    expect(timeline.gap()).toBe(5);
    for (const index of [2, 3, 4]) timeline.add(roomEvent(index));
    expect(timeline.gap()).toBeUndefined();
  });

  it("is bounded: the oldest go, and older ones are not taken", () => {
    const timeline = new Timeline(3);
    for (const index of [1, 2, 3, 4]) timeline.add(roomEvent(index));
    expect(timeline.trim().map(({ index }) => index)).toEqual([1]);
    expect(timeline.add(roomEvent(0))).toBeUndefined();
    expect(indices(timeline)).toEqual([2, 3, 4]);
    expect(timeline.hasMore).toBe(true);
  });
});
