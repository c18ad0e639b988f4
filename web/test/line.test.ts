import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CallEnd } from "../src/client/call";
import { Line, RtcMemory } from "../src/client/line";
import type { LineOptions } from "../src/client/line";
import { FakePeer, FakePeerClass } from "./fake-peer";
import { Fake, FakeSocket } from "./fake-socket";

const track = { kind: "audio" } as unknown as MediaStreamTrack;
let memory: RtcMemory;

function make(extra: Partial<LineOptions> = {}): Line {
  return new Line({
    url: "http://salon.test:8000/page",
    room: "r1",
    participant: "p1",
    name: "Zoë",
    track,
    memory,
    WebSocket: Fake,
    RTCPeerConnection: FakePeerClass,
    ...extra,
  });
}

/** Let everything that waits for nothing happen. */
const settle = () => vi.advanceTimersByTimeAsync(0);

async function dial(extra: Partial<LineOptions> = {}): Promise<[Line, Promise<void>]> {
  const line = make(extra);
  const started = line.start();
  started.catch(() => undefined);
  await settle();
  return [line, started];
}

async function live(extra: Partial<LineOptions> = {}): Promise<[Line, FakeSocket, FakePeer]> {
  const [line, started] = await dial(extra);
  const [socket, peer] = [FakeSocket.last, FakePeer.last];
  socket.accept();
  socket.say({ event: "answer", sdp: "answer 1" });
  await settle();
  peer.become("connected");
  await started;
  return [line, socket, peer];
}

/** The WebSocket call that follows a failed WebRTC one is taken. */
async function fallBack(started: Promise<void>): Promise<FakeSocket> {
  const socket = FakeSocket.last;
  expect(new URL(socket.url).pathname).toBe("/ws");
  socket.accept();
  socket.say({ event: "answer", sdp: "" });
  await started;
  return socket;
}

function ends(line: Line): CallEnd[] {
  const seen: CallEnd[] = [];
  line.on("end", (end) => seen.push(end));
  return seen;
}

const commands = (socket: FakeSocket) => socket.said.map(({ command }) => command);

beforeEach(() => {
  FakeSocket.made = [];
  FakePeer.made = [];
  memory = new RtcMemory();
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe("WebRTC", () => {
  it("invites with an offer and is live when sound can flow (G145)", async () => {
    const [line, socket, peer] = await live({
      iceServers: async () => [{ urls: "stun:stun.test" }],
      option: { vad: {} },
    });
    expect(socket.url).toBe(
      "ws://salon.test:8000/webrtc?handler=room&room=r1&participant=p1&name=Zo%C3%AB",
    );
    expect(socket.said).toEqual([{ command: "invite", option: { offer: "offer 1", vad: {} } }]);
    expect(peer.configuration.iceServers).toEqual([{ urls: "stun:stun.test" }]);
    expect(peer.answers).toEqual(["answer 1"]);
    expect(peer.track).toBe(track);
    expect([line.path, line.state]).toEqual(["webrtc", "live"]);
  });

  it("is not live by the answer alone", async () => {
    const [line] = await dial();
    FakeSocket.last.accept();
    FakeSocket.last.say({ event: "answer", sdp: "answer 1" });
    await settle();
    expect(line.state).toBe("connecting");
  });

  it("sends candidates after the invite, before and after the answer (G88, G146)", async () => {
    await dial();
    const [socket, peer] = [FakeSocket.last, FakePeer.last];
    peer.find("candidate:1");
    socket.accept();
    peer.find("candidate:2");
    socket.say({ event: "answer", sdp: "answer 1" });
    await settle();
    peer.find("candidate:3");
    peer.find("");
    peer.find(null);
    expect(commands(socket)).toEqual(["invite", ...Array<string>(4).fill("addIceCandidate")]);
    expect(socket.said.slice(1).map(({ candidate }) => candidate)).toEqual([
      "candidate:1",
      "candidate:2",
      "candidate:3",
      "",
    ]);
  });

  it("takes sound by itself, key presses, and another microphone", async () => {
    const [line, socket, peer] = await live();
    expect(line.sendAudio(new Int16Array(320))).toBe(false);
    expect(socket.sent.every((data) => typeof data === "string")).toBe(true);
    expect(line.insertDTMF("5#")).toBe(true);
    expect(line.insertDTMF("x")).toBe(false);
    peer.dtmf.canInsertDTMF = false;
    expect(line.insertDTMF("1")).toBe(false);
    expect(peer.tones).toEqual(["5#"]);
    const other = { kind: "audio" } as unknown as MediaStreamTrack;
    await line.setTrack(other);
    expect(peer.track).toBe(other);
  });

  it("ends with the socket, and lets the connection go", async () => {
    const [line, socket, peer] = await live();
    const seen = ends(line);
    socket.drop(1006);
    expect(seen).toEqual([{ code: 1006, reason: "", hungUp: false }]);
    expect(peer.closed).toBe(true);
    expect(line.state).toBe("ended");
  });

  it("hangs up", async () => {
    const [line, socket, peer] = await live();
    const seen = ends(line);
    line.hangup();
    expect(commands(socket).at(-1)).toBe("hangup");
    socket.say({ event: "hangup", reason: "caller" });
    socket.drop(1000);
    expect(seen).toEqual([{ code: 1000, reason: "caller", hungUp: true }]);
    expect(peer.closed).toBe(true);
  });
});

describe("the WebSocket instead", () => {
  it("is used when no sound flows for 3 s, with nobody in the room twice", async () => {
    const [line, started] = await dial();
    const [first, peer] = [FakeSocket.last, FakePeer.last];
    first.accept();
    first.say({ event: "answer", sdp: "answer 1" });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(commands(first)).toEqual(["invite"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(peer.closed).toBe(true);
    expect(commands(first)).toEqual(["invite", "hangup"]);
    // The second call waits until the first has left the room.
    expect(FakeSocket.made).toHaveLength(1);
    first.say({ event: "hangup", reason: "caller" });
    first.drop(1000);
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    const socket = await fallBack(started);
    const [before, after] = [first, socket].map(({ url }) => new URL(url).search);
    expect(after).toBe(before);
    expect(socket.said).toEqual([{ command: "invite", option: { codec: "pcm" } }]);
    expect([line.path, line.state]).toEqual(["websocket", "live"]);
    expect(line.sendAudio(new Int16Array(320))).toBe(true);
    expect(line.insertDTMF("1")).toBe(false);
  });

  it("does not wait long for a server that does not let go", async () => {
    const [, started] = await dial();
    FakeSocket.last.accept();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(FakeSocket.made).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSocket.made[0]?.closedWith).toBe(1000);
    await fallBack(started);
  });

  it("is used at once when the socket is refused (G286)", async () => {
    const [line, started] = await dial();
    const reasons: unknown[] = [];
    line.on("fallback", (error) => reasons.push(error));
    FakeSocket.last.drop(1006);
    await settle();
    await fallBack(started);
    expect(reasons).toMatchObject([{ code: "refused" }]);
    expect(FakePeer.last.closed).toBe(true);
  });

  it.each([
    ["an error", { event: "error", sender: "invite", error: "no carrier" }],
    ["an answer without SDP", { event: "answer", sdp: "" }],
  ])("is used when the server answers with %s", async (_, event) => {
    const [, started] = await dial();
    const first = FakeSocket.last;
    first.accept();
    first.say(event);
    await settle();
    expect(commands(first).at(-1)).toBe("hangup");
    first.drop(1000);
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    await fallBack(started);
  });

  it("is used when the browser refuses the answer, or finds no way", async () => {
    for (const fail of [
      async (peer: FakePeer) => {
        peer.badAnswer = true;
        FakeSocket.last.say({ event: "answer", sdp: "odd" });
      },
      async (peer: FakePeer) => peer.become("failed"),
    ]) {
      memory.clear();
      const [, started] = await dial();
      FakeSocket.last.accept();
      await fail(FakePeer.last);
      await settle();
      FakeSocket.last.drop(1000);
      await settle();
      await fallBack(started);
    }
  });

  it("is used where the browser has no WebRTC, or where it is wanted", async () => {
    for (const extra of [{ RTCPeerConnection: null }, { choice: "websocket" as const }]) {
      const [, started] = await dial(extra);
      await fallBack(started);
    }
    expect(FakePeer.made).toHaveLength(0);
  });

  it("is remembered for the server, until the network changes", async () => {
    const [line, started] = await dial();
    FakeSocket.last.drop(1006);
    await settle();
    await fallBack(started);
    const [, again] = await dial();
    await fallBack(again);
    expect(FakePeer.made).toHaveLength(1);
    line.networkChanged();
    await live();
    expect(FakePeer.made).toHaveLength(2);
  });

  it("is not blamed on WebRTC when the server takes no call at all", async () => {
    const [, started] = await dial();
    FakeSocket.last.drop(1006);
    await settle();
    FakeSocket.last.drop(1006);
    await expect(started).rejects.toMatchObject({ code: "refused" });
    await live();
    expect(FakeSocket.made).toHaveLength(3);
  });

  it("is not used when WebRTC alone is wanted", async () => {
    const [line, started] = await dial({ choice: "webrtc" });
    FakeSocket.last.accept();
    await vi.advanceTimersByTimeAsync(4_000);
    await expect(started).rejects.toMatchObject({ code: "media" });
    expect(FakeSocket.made).toHaveLength(1);
    expect(line.state).toBe("ended");
    const [, none] = await dial({ choice: "webrtc", RTCPeerConnection: null });
    await expect(none).rejects.toMatchObject({ code: "media" });
  });

  it("is not used when the user has hung up meanwhile", async () => {
    const [line, started] = await dial();
    FakeSocket.last.accept();
    line.hangup();
    expect(commands(FakeSocket.last)).toEqual(["invite", "hangup"]);
    await vi.advanceTimersByTimeAsync(5_000);
    await expect(started).rejects.toMatchObject({ code: "ended" });
    expect(FakeSocket.made).toHaveLength(1);
    expect(FakePeer.last.closed).toBe(true);
  });
});

describe("a network that changes", () => {
  async function answerRestart(socket: FakeSocket): Promise<FakePeer> {
    await settle();
    socket.say({ event: "answer", sdp: "answer 2" });
    await settle();
    FakePeer.last.become("connected");
    return FakePeer.last;
  }

  it("has a second connection made on the same socket, which takes over", async () => {
    const [line, socket, first] = await live();
    const states: string[] = [];
    line.on("state", (state) => states.push(state));
    line.networkChanged();
    await settle();
    const next = FakePeer.last;
    expect(next).not.toBe(first);
    expect(socket.said.at(-1)).toEqual({ command: "invite", option: { offer: "offer 1" } });
    next.find("candidate:9");
    first.find("candidate:old");
    expect(socket.said.at(-1)).toEqual({ command: "addIceCandidate", candidate: "candidate:9" });
    // Until it flows anew, what still comes the old way is heard.
    expect(first.closed).toBe(false);
    await answerRestart(socket);
    expect(next.answers).toEqual(["answer 2"]);
    expect([first.closed, next.closed]).toEqual([true, false]);
    expect(states).toEqual(["reconnecting", "live"]);
    expect(line.insertDTMF("1")).toBe(true);
    expect([first.tones, next.tones]).toEqual([[], ["1"]]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([line.state, FakeSocket.made.length]).toEqual(["live", 1]);
  });

  it("is restarted for once, however often it is told of", async () => {
    const [line, socket] = await live();
    line.networkChanged();
    line.networkChanged();
    await settle();
    expect(FakePeer.made).toHaveLength(2);
    expect(commands(socket).filter((command) => command === "invite")).toHaveLength(2);
  });

  it("is also noticed by ICE: disconnected for 2 s, or failed", async () => {
    const [line, socket, first] = await live();
    first.becomeIce("disconnected");
    await vi.advanceTimersByTimeAsync(1_900);
    first.becomeIce("connected");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(FakePeer.made).toHaveLength(1);
    first.becomeIce("disconnected");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(FakePeer.made).toHaveLength(2);
    const second = await answerRestart(socket);
    expect(line.state).toBe("live");
    // The first one is gone and says nothing any more.
    expect(first.onconnectionstatechange).toBeNull();
    second.becomeIce("failed");
    second.become("failed");
    await settle();
    expect(FakePeer.made).toHaveLength(3);
    expect(line.state).toBe("reconnecting");
    await answerRestart(socket);
    expect(line.state).toBe("live");
  });

  it("loses the call when no sound is back after 5 s", async () => {
    const [line, socket, peer] = await live();
    const seen = ends(line);
    peer.become("failed");
    await vi.advanceTimersByTimeAsync(4_999);
    expect(commands(socket)).toEqual(["invite", "invite"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(FakePeer.made.map(({ closed }) => closed)).toEqual([true, true]);
    expect(commands(socket).at(-1)).toBe("hangup");
    // The next call waits for this one's end.
    expect(seen).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual([{ code: 1006, reason: "", hungUp: false }]);
    expect(memory.has("http://salon.test:8000")).toBe(false);
  });

  it("loses the call when the second invite fails (G52)", async () => {
    const [line, socket] = await live();
    const seen = ends(line);
    line.networkChanged();
    await settle();
    socket.say({ event: "error", sender: "invite", error: "no" });
    expect(commands(socket).at(-1)).toBe("hangup");
    socket.drop(1000);
    await settle();
    expect(seen).toMatchObject([{ hungUp: false }]);
  });

  it("can be given up by the user", async () => {
    const [line, socket] = await live();
    const seen = ends(line);
    line.networkChanged();
    line.hangup();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(commands(socket).at(-1)).toBe("hangup");
    expect(FakeSocket.made).toHaveLength(1);
    expect(seen).toEqual([]);
  });
});
