import { describe, expect, it, vi } from "vitest";
import { RtcAudio } from "../src/client/rtc-audio";
import { QualityWatch, StatsReader } from "../src/client/rtc-stats";
import type { RtcStats } from "../src/client/rtc-stats";
import { FakePeer, FakePeerClass } from "./fake-peer";

const reports = (packetsReceived: number, packetsLost: number) => [
  { id: "c", type: "codec", mimeType: "audio/opus", clockRate: 48_000 },
  { id: "v", type: "inbound-rtp", kind: "video", jitter: 9, packetsReceived: 9, packetsLost: 9 },
  { id: "i", type: "inbound-rtp", jitter: 0.012, packetsReceived, packetsLost, codecId: "c" },
  { id: "r", type: "remote-inbound-rtp", kind: "audio", fractionLost: 0.25, roundTripTime: 0.0421 },
];

describe("StatsReader", () => {
  it("reads both directions, losses since the last reading", () => {
    const reader = new StatsReader();
    reader.read(reports(900, 100));
    expect(reader.read(reports(990, 110))).toEqual({
      roundTripMs: 42,
      jitterMs: 12,
      lostIn: 0.1,
      lostOut: 0.25,
      codec: "Opus, 48 kHz",
    });
    // Packets that were only late are no negative loss, nothing at all is no loss.
    expect(reader.read(reports(1_000, 105)).lostIn).toBe(0);
    expect(reader.read(reports(1_000, 105))).not.toHaveProperty("lostIn");
  });

  it("takes the round trip of ICE, knows G.722's clock, and lives without reports", () => {
    expect(
      new StatsReader().read([
        { id: "c", type: "codec", mimeType: "audio/G722", clockRate: 8_000 },
        { id: "o", type: "outbound-rtp", kind: "audio", codecId: "c" },
        { id: "q", type: "candidate-pair", nominated: false, currentRoundTripTime: 9 },
        { id: "p", type: "candidate-pair", nominated: true, currentRoundTripTime: 0.2 },
      ]),
    ).toEqual({ roundTripMs: 200, codec: "G.722, 16 kHz" });
    expect(new StatsReader().read([])).toEqual({});
  });

  it("is asked every two seconds while connected", async () => {
    vi.useFakeTimers();
    const audio = new RtcAudio({
      track: {} as MediaStreamTrack,
      RTCPeerConnection: FakePeerClass,
    });
    const seen: RtcStats[] = [];
    audio.on("stats", (stats) => seen.push(stats));
    FakePeer.last.reports = reports(10, 0);
    await vi.advanceTimersByTimeAsync(4_000);
    expect(seen).toHaveLength(0);
    FakePeer.last.become("connected");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(seen).toHaveLength(2);
    audio.close();
    await vi.advanceTimersByTimeAsync(4_000);
    expect(seen).toHaveLength(2);
    vi.useRealTimers();
  });
});

describe("QualityWatch", () => {
  it("tells what two readings in a row have in common, and when it is over", () => {
    const watch = new QualityWatch();
    const bad = { lostOut: 0.03, jitterMs: 61, roundTripMs: 401 };
    const none = { loss: false, jitter: false, delay: false };
    expect(watch.read(bad)).toEqual(none);
    expect(watch.read({})).toEqual(none);
    expect(watch.read(bad)).toEqual(none);
    expect(watch.read({ ...bad, jitterMs: 60 })).toEqual({ loss: true, jitter: false, delay: true });
    expect(watch.read({})).toMatchObject({ loss: true });
    expect(watch.read({})).toEqual(none);
  });
});
