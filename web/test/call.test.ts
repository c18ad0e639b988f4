import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CallClient, CallError, FRAME_SAMPLES, MAX_BUFFERED } from "../src/client/call";
import type { TurnLatency } from "../src/client/protocol";
import { Fake, FakeSocket } from "./fake-socket";

function make(extra: object = {}): CallClient {
  return new CallClient({
    url: "http://salon.test:8000/page?x=1#y",
    room: "a b",
    participant: "p1",
    name: "Zoë",
    WebSocket: Fake,
    ...extra,
  });
}

async function live(extra: object = {}): Promise<[CallClient, FakeSocket]> {
  const call = make(extra);
  const started = call.start();
  FakeSocket.last.accept();
  FakeSocket.last.say({ event: "answer", trackId: "s", timestamp: 1, sdp: "" });
  await started;
  return [call, FakeSocket.last];
}

const frame = () => new Int16Array(FRAME_SAMPLES).fill(258);

beforeEach(() => {
  FakeSocket.made = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe("start", () => {
  it("names the room in the query and invites with pcm (G41, G51)", async () => {
    const [, socket] = await live();
    expect(socket.url).toBe(
      "ws://salon.test:8000/ws?handler=room&room=a+b&participant=p1&name=Zo%C3%AB",
    );
    expect(socket.said).toEqual([{ command: "invite", option: { codec: "pcm" } }]);
    expect(socket.binaryType).toBe("arraybuffer");
  });

  it("uses wss for https and leaves absent names out", async () => {
    const call = make({ url: "https://salon.test", name: "", handler: "controller" });
    void call.start().catch(() => undefined);
    expect(FakeSocket.last.url).toBe(
      "wss://salon.test/ws?handler=controller&room=a+b&participant=p1",
    );
  });

  it("takes an offer to the socket of WebRTC, and candidates after it (G88, G280)", async () => {
    const call = make({ audio: "webrtc", option: { vad: {} } });
    const started = call.start("v=0");
    const socket = FakeSocket.last;
    expect(new URL(socket.url).pathname).toBe("/webrtc");
    call.addIceCandidate("candidate:1");
    socket.accept();
    call.addIceCandidate("");
    socket.say({ event: "answer", sdp: "v=0" });
    await started;
    expect(call.invite("v=1")).toBe(true);
    expect(socket.said).toEqual([
      { command: "invite", option: { offer: "v=0", vad: {} } },
      { command: "addIceCandidate", candidate: "candidate:1" },
      { command: "addIceCandidate", candidate: "" },
      { command: "invite", option: { offer: "v=1", vad: {} } },
    ]);
  });

  it("passes options on", async () => {
    const [, socket] = await live({ option: { vad: { silencePadding: 200 } } });
    expect(socket.said[0]?.option).toEqual({ codec: "pcm", vad: { silencePadding: 200 } });
  });

  it("tells a refused upgrade from a rejected invite", async () => {
    const refused = make().start();
    FakeSocket.last.drop(1006);
    await expect(refused).rejects.toMatchObject({ code: "refused" });
    const rejected = make().start();
    FakeSocket.last.accept();
    FakeSocket.last.say({ event: "error", sender: "invite", error: "no room" });
    await expect(rejected).rejects.toMatchObject({ code: "rejected", message: "no room" });
  });

  it("goes on when an engine is missing (G33)", async () => {
    const call = make();
    const started = call.start();
    FakeSocket.last.accept();
    FakeSocket.last.say({ event: "error", sender: "asr", error: "pip install salon[stt]" });
    FakeSocket.last.say({ event: "answer" });
    await started;
    expect(call.state).toBe("live");
  });

  it("gives up without an answer", async () => {
    const call = make({ answerTimeout: 50 });
    const started = expect(call.start()).rejects.toMatchObject({ code: "timeout" });
    FakeSocket.last.accept();
    await vi.advanceTimersByTimeAsync(50);
    await started;
    expect(FakeSocket.last.closedWith).toBe(1000);
  });

  it("can be used once", async () => {
    const [call] = await live();
    expect(() => call.start()).toThrow(CallError);
  });
});

describe("sound", () => {
  it("goes out as 640 little-endian bytes (G42)", async () => {
    const [call, socket] = await live();
    call.sendAudio(frame());
    const bytes = socket.sent.at(-1) as Int16Array;
    expect(bytes.byteLength).toBe(640);
    expect([...new Uint8Array(bytes.buffer, 0, 2)]).toEqual([2, 1]);
  });

  it("is silence while muted, so that turns still end", async () => {
    const [call, socket] = await live();
    call.setMuted(true);
    call.sendAudio(frame());
    expect(socket.sent.at(-1)).toEqual(new Int16Array(FRAME_SAMPLES));
    call.setMuted(false);
    call.sendAudio(frame());
    expect(socket.sent.at(-1)).toEqual(frame());
  });

  it("does not go out before the answer", () => {
    const call = make();
    void call.start().catch(() => undefined);
    FakeSocket.last.accept();
    call.sendAudio(frame());
    expect(FakeSocket.last.sent).toHaveLength(1);
  });

  it("is dropped and counted when the connection is too slow", async () => {
    const [call, socket] = await live();
    socket.bufferedAmount = MAX_BUFFERED + 1;
    call.sendAudio(frame());
    expect(call.statistics).toEqual({ sent: 0, dropped: 1 });
  });

  it("comes in as samples; an odd byte is left out", async () => {
    const [call, socket] = await live();
    const heard: Int16Array[] = [];
    call.on("audio", (samples) => heard.push(samples));
    socket.raw(new Uint8Array([0x34, 0x12, 0xff, 0xff, 7]).buffer);
    expect([...(heard[0] ?? [])]).toEqual([0x1234, -1]);
  });
});

describe("events", () => {
  it("come by name, unknown ones and garbage stop nothing (G301)", async () => {
    const [call, socket] = await live();
    const seen: string[] = [];
    call.on("message", ({ event }) => seen.push(event));
    call.on("speaking", ({ startTime }) => seen.push(`from ${startTime}`));
    socket.raw("{bad");
    socket.raw("[]");
    socket.say({ event: "brandNew" });
    socket.say({ event: "audio" });
    socket.say({ event: "speaking", startTime: 5 });
    expect(seen).toEqual(["brandNew", "audio", "speaking", "from 5"]);
  });

  it("gives the delays of a turn, none before the stage it follows", async () => {
    const [call, socket] = await live();
    const turns: unknown[] = [];
    call.on("turn", (turn) => turns.push(turn));
    socket.say({ event: "metrics", key: "ttfb.asr.x", duration: 1 });
    const data = { turn: 3, text: "hi", recognised: -20, firstWord: 210, firstAudio: null };
    socket.say({ event: "metrics", key: "turn.latency", duration: 400, data });
    expect(turns).toEqual([
      {
        turn: 3,
        text: "hi",
        total: 400,
        recognised: 0,
        firstWord: 210,
        firstSound: 400, // an older server does not tell it apart
        firstAudio: 400,
      },
    ]);
  });

  it("tells the first sound of the voice from the first frame on its way", async () => {
    const [call, socket] = await live();
    const turns: TurnLatency[] = [];
    call.on("turn", (turn) => turns.push(turn));
    const told = (firstSound: number) => ({
      turn: 1,
      recognised: 100,
      firstWord: 200,
      firstSound,
      firstAudio: 320,
    });
    for (const firstSound of [300, 150, 350]) {
      const data = told(firstSound);
      socket.say({ event: "metrics", key: "turn.latency", duration: 320, data });
    }
    expect(turns.map((turn) => [turn.firstSound, turn.firstAudio])).toEqual([
      [300, 320],
      [200, 320],
      [350, 350],
    ]);
  });

  it("reports a failing listener without keeping the event from others", async () => {
    const [call, socket] = await live();
    const micro = vi.spyOn(globalThis, "queueMicrotask").mockImplementation(() => undefined);
    const seen: string[] = [];
    call.on("message", () => {
      throw new Error("mine");
    });
    const off = call.on("message", ({ event }) => seen.push(event));
    socket.say({ event: "speaking" });
    off();
    socket.say({ event: "silence" });
    expect(seen).toEqual(["speaking"]);
    expect(micro).toHaveBeenCalledTimes(2);
    micro.mockRestore();
  });
});

describe("the end", () => {
  it("is told from a lost connection", async () => {
    const ends: unknown[] = [];
    const [call, socket] = await live();
    call.on("end", (end) => ends.push(end));
    socket.drop(1006);
    const [second, other] = await live();
    second.on("end", (end) => ends.push(end));
    other.say({ event: "hangup", reason: "autohangup", initiator: "system" });
    other.drop(1000);
    expect(ends).toEqual([
      { code: 1006, reason: "", hungUp: false },
      { code: 1000, reason: "autohangup", hungUp: true },
    ]);
  });

  it("comes within two seconds although the server is silent", async () => {
    const [call, socket] = await live();
    const ends: unknown[] = [];
    call.on("end", (end) => ends.push(end));
    call.hangup();
    expect(socket.said.at(-1)).toEqual({ command: "hangup", initiator: "caller" });
    expect(ends).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(ends).toEqual([{ code: 1000, reason: "", hungUp: true }]);
    expect(call.state).toBe("ended");
    expect(call.send("chat", { text: "x" })).toBe(false);
  });

  it("cancels a call that nobody has answered", async () => {
    const call = make();
    const started = expect(call.start()).rejects.toMatchObject({ code: "ended" });
    call.hangup();
    await started;
    expect(FakeSocket.last.closedWith).toBe(1000);
  });

  it("can be waited for, answered or not, and does not wait for ever", async () => {
    const over: string[] = [];
    const [call, socket] = await live();
    void call.quit(500).then(() => over.push("answered"));
    expect(socket.said.at(-1)).toEqual({ command: "hangup", initiator: "caller" });
    const unanswered = make();
    void unanswered.start().catch(() => undefined);
    FakeSocket.last.accept();
    void unanswered.quit(500).then(() => over.push("unanswered"));
    expect(FakeSocket.last.said.at(-1)).toEqual({ command: "hangup", initiator: "caller" });
    FakeSocket.last.drop(1000);
    const unopened = make();
    void unopened.start().catch(() => undefined);
    void unopened.quit(500).then(() => over.push("unopened"));
    await vi.advanceTimersByTimeAsync(499);
    expect(over).toEqual(["unanswered", "unopened"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(over).toEqual(["unanswered", "unopened", "answered"]);
    await call.quit();
  });

  it("sends interrupt and chat as commands", async () => {
    const [call, socket] = await live();
    call.interrupt();
    call.interrupt(30);
    call.chat("hello");
    expect(socket.said.slice(1)).toEqual([
      { command: "interrupt" },
      { command: "interrupt", fadeOutMs: 30 },
      { command: "chat", text: "hello" },
    ]);
  });
});
