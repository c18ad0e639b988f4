import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Backoff } from "../src/client/backoff";
import type { RoomEvent } from "../src/client/protocol";
import { MAX_PENDING, newId, RoomClient } from "../src/client/room";
import { Fake, FakeSocket } from "./fake-socket";
import { roomEvent } from "./room-event";

function make(): RoomClient {
  return new RoomClient({
    url: "http://salon.test",
    room: "a/b",
    participant: "p1",
    name: "Ann",
    WebSocket: Fake,
    backoff: new Backoff(100, 400, () => 1),
  });
}

function open(): [RoomClient, FakeSocket] {
  const room = make();
  room.connect();
  FakeSocket.last.accept();
  return [room, FakeSocket.last];
}

beforeEach(() => {
  FakeSocket.made = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe("events", () => {
  it("come by their names", () => {
    const [room, socket] = open();
    expect(socket.url).toBe("ws://salon.test/ws/a%2Fb?participant=p1&name=Ann");
    const seen: unknown[] = [];
    room.on("hello", ({ version }) => seen.push(version));
    room.on("history", ({ events }) => seen.push(events.length));
    room.on("event", ({ index }) => seen.push(index));
    room.on("streamStart", ({ stream_id }) => seen.push(stream_id));
    room.on("streamChunk", ({ text }) => seen.push(text));
    room.on("streamEnd", ({ event }) => seen.push(event));
    room.on("streamError", ({ error }) => seen.push(error));
    room.on("caption", ({ final }) => seen.push(final));
    room.on("error", ({ code }) => seen.push(code));
    socket.say({ type: "hello", room_id: "a/b", participant_id: "p1", version: "1" });
    socket.say({ type: "history", events: [roomEvent(0)], has_more: false });
    socket.say({ type: "event", event: roomEvent(1) });
    socket.say({ type: "stream_start", stream_id: "s", source: {} });
    socket.say({ type: "stream_chunk", stream_id: "s", at: 0, delta: "ab" });
    socket.say({ type: "stream_end", stream_id: "s", event: null });
    socket.say({ type: "stream_error", stream_id: "s", error: "oh" });
    socket.say({ type: "caption", participant_id: "p2", name: "B", text: "", final: true });
    socket.say({ type: "error", code: "too_long", message: "" });
    socket.say({ type: "constructor" });
    socket.raw("no json");
    expect(seen).toEqual(["1", 1, 1, "s", "ab", null, "oh", true, "too_long"]);
  });
});

describe("messages", () => {
  it("wait for the connection and for their confirmation", () => {
    const room = make();
    const key = room.send("hello");
    room.connect();
    FakeSocket.last.accept();
    expect(FakeSocket.last.said).toEqual([
      { type: "message", text: "hello", idempotency_key: key },
    ]);
    expect(room.pending).toEqual(["hello"]);
    FakeSocket.last.say({ type: "event", event: roomEvent(0, { idempotency_key: key }) });
    expect(room.pending).toEqual([]);
  });

  it("are sent again with the same key after a lost connection", () => {
    const [room, socket] = open();
    const key = room.send("once");
    socket.drop();
    vi.advanceTimersByTime(100);
    FakeSocket.last.accept();
    expect(FakeSocket.last).not.toBe(socket);
    expect(FakeSocket.last.said[0]).toMatchObject({ text: "once", idempotency_key: key });
  });

  it("are confirmed by history too, by text where events carry no key", () => {
    const [room, socket] = open();
    room.send("same");
    room.send("same");
    const own: Partial<RoomEvent> = {
      source: { channel_id: "web", channel_type: "websocket", participant_id: "p1" },
      content: { type: "text", body: "same" },
    };
    socket.say({ type: "history", events: [roomEvent(4, own)], has_more: false });
    expect(room.pending).toEqual(["same"]);
  });

  it("are bounded", () => {
    const room = make();
    for (let i = 0; i < MAX_PENDING; i += 1) room.send(String(i));
    expect(() => room.send("more")).toThrow(RangeError);
  });

  it("have ids of 32 hex digits", () => {
    expect(newId()).toMatch(/^[0-9a-f]{32}$/);
    expect(newId()).not.toBe(newId());
  });
});

describe("connection", () => {
  it("comes back with growing pauses, and is patient anew after a success", () => {
    const [room, socket] = open();
    const delays: number[] = [];
    room.on("state", ({ state, delay }) => {
      if (state === "waiting") delays.push(delay);
    });
    socket.drop();
    for (const delay of [100, 200, 400]) {
      vi.advanceTimersByTime(delay);
      FakeSocket.last.drop();
    }
    vi.advanceTimersByTime(400);
    FakeSocket.last.accept();
    FakeSocket.last.drop();
    expect(delays).toEqual([100, 200, 400, 400, 100]);
  });

  it("spreads attempts over the upper half of the pause", () => {
    expect(new Backoff(100, 400, () => 0).next()).toBe(50);
  });

  it("connects at once when asked, without a second socket", () => {
    const [room, socket] = open();
    socket.drop();
    room.connect();
    room.connect();
    vi.advanceTimersByTime(1000);
    expect(FakeSocket.made).toHaveLength(2);
  });

  it("stays closed when closed", () => {
    const [room, socket] = open();
    room.close();
    expect(socket.closedWith).toBe(1000);
    expect(room.state).toBe("closed");
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.made).toHaveLength(1);
    expect(room.requestHistory(5)).toBe(false);
  });

  it("enters again under a new name", () => {
    const [room] = open();
    room.rename("Ann");
    expect(FakeSocket.made).toHaveLength(1);
    room.rename("Bea");
    expect(FakeSocket.last.url).toContain("name=Bea");
    FakeSocket.last.accept();
    room.requestHistory(7, 20);
    expect(FakeSocket.last.said).toEqual([{ type: "history", before_index: 7, limit: 20 }]);
  });

  it("enters anew when the network changed, though the old socket looks open", () => {
    const [room] = open();
    const old = FakeSocket.last;
    room.send("still there?", "k1");
    room.networkChanged();
    expect(FakeSocket.last).not.toBe(old);
    FakeSocket.last.accept();
    expect(FakeSocket.last.said).toEqual([
      { type: "message", text: "still there?", idempotency_key: "k1" },
    ]);
  });

  it("leaves a connection in the making, and a closed one, alone when the network changes", () => {
    const [room] = open();
    room.networkChanged();
    const made = FakeSocket.made.length;
    room.networkChanged();
    room.close();
    room.networkChanged();
    expect(FakeSocket.made).toHaveLength(made);
  });
});
