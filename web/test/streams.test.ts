import { describe, expect, it } from "vitest";
import { Backoff } from "../src/client/backoff";
import type { StreamedText } from "../src/client/protocol";
import { RoomClient } from "../src/client/room";
import { Streams } from "../src/client/streams";
import { Fake, FakeSocket } from "./fake-socket";

const piece = (at: number, delta: string, stream_id = "s") => ({ stream_id, at, delta });

describe("Streams", () => {
  it("put pieces together, each answer for itself", () => {
    const streams = new Streams();
    streams.start("s");
    streams.add(piece(0, "one "));
    streams.add(piece(0, "other", "t"));
    expect(streams.add(piece(4, "two"))).toEqual({
      stream_id: "s",
      at: 4,
      delta: "two",
      text: "one two",
      gap: false,
    });
  });

  it("count characters as the server does", () => {
    const streams = new Streams();
    streams.add(piece(0, "a😀"));
    expect(streams.add(piece(2, "b"))).toMatchObject({ text: "a😀b", gap: false });
  });

  it("take nothing twice and notice what is missing", () => {
    const streams = new Streams();
    streams.add(piece(0, "😀bc"));
    expect(streams.add(piece(1, "bcd"))).toMatchObject({ text: "😀bcd", gap: false });
    expect(streams.add(piece(0, "😀"))).toMatchObject({ text: "😀bcd", gap: false });
    expect(streams.add(piece(9, "z"))).toMatchObject({ text: "😀bcdz", gap: true });
    expect(streams.add(piece(10, "!"))).toMatchObject({ text: "😀bcdz!", gap: false });
  });

  it("begin anew with a new start, and are bounded", () => {
    const streams = new Streams();
    streams.add(piece(0, "old"));
    streams.start("s");
    expect(streams.add(piece(0, "new")).text).toBe("new");
    for (let i = 0; i < 100; i += 1) streams.start(`x${i}`);
    expect(streams.add(piece(3, "!"))).toMatchObject({ text: "!", gap: true });
    streams.end("x99");
    expect(streams.add(piece(0, "y", "x99")).text).toBe("y");
  });
});

describe("RoomClient", () => {
  it("gives the text so far, and all of it again after a lost connection", () => {
    const room = new RoomClient({
      url: "http://salon.test",
      room: "r",
      participant: "p",
      WebSocket: Fake,
      backoff: new Backoff(100, 400, () => 1),
    });
    const seen: StreamedText[] = [];
    room.on("streamChunk", (chunk) => seen.push(chunk));
    const joined = () => {
      room.connect();
      FakeSocket.last.accept();
      FakeSocket.last.say({ type: "stream_start", stream_id: "s", source: {} });
    };
    joined();
    FakeSocket.last.say({ type: "stream_chunk", ...piece(0, "Hel") });
    FakeSocket.last.say({ type: "stream_chunk", ...piece(3, "lo") });
    FakeSocket.last.drop();
    joined();
    FakeSocket.last.say({ type: "stream_chunk", ...piece(0, "Hello ") });
    FakeSocket.last.say({ type: "stream_end", stream_id: "s", event: null });
    expect(seen.map(({ text }) => text)).toEqual(["Hel", "Hello", "Hello "]);
    expect(seen.some(({ gap }) => gap)).toBe(false);
    room.close();
  });
});
