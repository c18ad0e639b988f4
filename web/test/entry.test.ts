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

  it("marks what was interrupted, broken off by an error, or too long", () => {
    const mark = (metadata: Record<string, unknown>) =>
      entryOf(roomEvent(0, { metadata }), cast)?.mark;
    expect(mark({ interrupted: true })).toBe("interrupted");
    expect(mark({ failed: true })).toBe("cut off by an error");
    expect(mark({ truncated: true })).toContain("too long");
    expect(mark({})).toBeUndefined();
  });

  it("says that an agent failed, as the server words it", () => {
    const body = "The agent could not answer: ValueError (see the log)";
    const failed = roomEvent(0, {
      type: "system",
      source: { channel_id: "system", channel_type: "system" },
      content: { type: "system", code: "agent_failed", body },
      visibility: "transport",
    });
    expect(entryOf(failed, cast)).toMatchObject({ role: "room", own: false, text: body });
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
