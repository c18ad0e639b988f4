import { describe, expect, it } from "vitest";
import { entryOf } from "../src/page/entry";
import { roomEvent } from "./room-event";

const cast = { participant: "p1", agentName: "Ada" };
const human = (id: string) => ({
  channel_id: "voice",
  channel_type: "voice",
  participant_id: id,
});

describe("entryOf", () => {
  it("tells the agent, oneself and others apart", () => {
    expect(entryOf(roomEvent(0), cast)).toMatchObject({ role: "agent", own: false, name: "Ada" });
    expect(entryOf(roomEvent(0, { source: human("p1") }), cast)).toMatchObject({
      role: "human",
      own: true,
      name: "You",
    });
    const other = { source: human("p2"), metadata: { sender_name: "Bo" } };
    expect(entryOf(roomEvent(0, other), cast)).toMatchObject({ own: false, name: "Bo" });
    expect(entryOf(roomEvent(0, { source: human("p3") }), cast)?.name).toBe("Guest");
  });

  it("marks what was interrupted", () => {
    const cut = roomEvent(0, { metadata: { interrupted: true } });
    expect(entryOf(cut, cast)?.interrupted).toBe(true);
  });

  it("shows neither blocked, nor internal, nor wordless events", () => {
    expect(entryOf(roomEvent(0, { status: "blocked" }), cast)).toBeUndefined();
    expect(entryOf(roomEvent(0, { visibility: "internal" }), cast)).toBeUndefined();
    expect(entryOf(roomEvent(0, { type: "system" }), cast)).toBeUndefined();
    expect(entryOf(roomEvent(0, { content: { type: "media" } }), cast)).toBeUndefined();
  });

  it("lives with a date that is none", () => {
    expect(entryOf(roomEvent(0, { created_at: "soon" }), cast)?.time).toBeUndefined();
  });
});
