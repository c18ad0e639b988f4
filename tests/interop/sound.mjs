// What goes into RTP packets and what comes out of them.
import OpusScript from "opusscript";
import { RTCRtpCodecParameters } from "werift";
import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from "./g711.mjs";

const FRAMES_PER_SECOND = 50;
const OPUS_CLOCK = 48000;
const EVENT = "telephone-event";
const KEYS = "0123456789*#ABCD";

/** Codecs to offer when `wanted` ("opus", "pcmu", "pcma") is to be the first of them. */
export function offeredCodecs(wanted) {
  const opus = audio("opus", 111, OPUS_CLOCK, "minptime=10;useinbandfec=1", 2);
  const pcmu = audio("PCMU", 0, 8000);
  const pcma = audio("PCMA", 8, 8000);
  const keys = (payloadType, clock) => audio(EVENT, payloadType, clock, "0-15");
  switch (wanted) {
    case "opus":
      return [opus, pcmu, pcma, keys(110, OPUS_CLOCK)];
    case "pcmu":
      return [pcmu, pcma, keys(126, 8000)];
    case "pcma":
      return [pcma, pcmu, keys(126, 8000)];
    default:
      throw new Error(`codec is ${wanted}; opus, pcmu and pcma are known`);
  }
}

function audio(name, payloadType, clockRate, parameters, channels = 1) {
  const mimeType = `audio/${name}`;
  return new RTCRtpCodecParameters({ mimeType, payloadType, clockRate, channels, parameters });
}

/** One direction of one codec at `rate` samples a second: frames of 20 ms. */
export class Coder {
  constructor(name, rate) {
    this.name = name.toLowerCase();
    this.rate = rate;
    this.frame = rate / FRAMES_PER_SECOND;
    this.clock = this.name === "opus" ? OPUS_CLOCK : 8000;
    if (this.name === "opus") this.opus = new OpusScript(rate, 1, OpusScript.Application.VOIP);
    else if (rate !== 8000) throw new Error(`${name} takes sound at 8000 Hz, not at ${rate}`);
  }

  /** RTP clock ticks of one frame. */
  get ticks() {
    return this.clock / FRAMES_PER_SECOND;
  }

  encode(samples) {
    if (this.name === "pcmu") return encodeUlaw(samples);
    if (this.name === "pcma") return encodeAlaw(samples);
    const bytes = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
    return this.opus.encode(bytes, samples.length);
  }

  decode(payload) {
    if (this.name === "pcmu") return decodeUlaw(payload);
    if (this.name === "pcma") return decodeAlaw(payload);
    const bytes = this.opus.decode(payload);
    return Int16Array.from({ length: bytes.length / 2 }, (_, n) => bytes.readInt16LE(2 * n));
  }
}

/** Packets of one pressed key (RFC 4733, 2.5.1): one each 20 ms, the last one three times. */
export function* keyPackets(key, ticks, frames = 5) {
  const code = KEYS.indexOf(key.toUpperCase());
  if (code < 0) throw new Error(`${key} is no key of a telephone`);
  for (let number = 1; number <= frames + 2; number++) {
    const payload = Buffer.alloc(4);
    payload[0] = code;
    payload[1] = number < frames ? 10 : 0x80 | 10; // volume -10 dBm0, the end bit
    payload.writeUInt16BE(Math.min(number, frames) * ticks, 2);
    yield { payload, marker: number === 1 };
  }
}

/**
 * Samples of received packets `{sequence, timestamp, payload}`, each where its timestamp puts it,
 * and how many packets are missing. Sequence numbers and timestamps wrap round.
 */
export function assemble(packets, coder) {
  if (!packets.length) return { samples: new Int16Array(0), lost: 0 };
  const first = packets[0];
  const placed = packets.map((packet) => ({
    order: ((packet.sequence - first.sequence + 0x8000) & 0xffff) - 0x8000,
    at: (packet.timestamp - first.timestamp) | 0,
    payload: packet.payload,
  }));
  placed.sort((one, other) => one.order - other.order);
  const parts = placed.map(({ at, payload }) => [
    Math.round(((at - placed[0].at) * coder.rate) / coder.clock),
    coder.decode(payload),
  ]);
  const end = Math.max(...parts.map(([at, samples]) => at + samples.length));
  const samples = new Int16Array(end);
  for (const [at, part] of parts) if (at >= 0) samples.set(part, at);
  const span = placed.at(-1).order - placed[0].order + 1;
  return { samples, lost: span - new Set(placed.map((packet) => packet.order)).size };
}
