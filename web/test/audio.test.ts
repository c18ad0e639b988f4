import { describe, expect, it } from "vitest";
import { Framer, toFloats, toInt16 } from "../src/client/audio/framer";
import { JitterBuffer } from "../src/client/audio/jitter";
import { level, levelOfPower } from "../src/client/audio/level";
import { Resampler } from "../src/client/audio/resampler";

function tone(frequency: number, rate: number, seconds = 0.5): Float32Array {
  const samples = new Float32Array(Math.round(rate * seconds));
  return samples.map((_, i) => 0.5 * Math.sin((2 * Math.PI * frequency * i) / rate));
}

/** Convert in blocks, as a worklet does. */
function convert(input: Float32Array, from: number, to: number, block = 128): Float32Array {
  const resampler = new Resampler(from, to);
  const parts: number[] = [];
  for (let at = 0; at < input.length; at += block) {
    parts.push(...resampler.process(input.subarray(at, at + block)));
  }
  return Float32Array.from(parts);
}

/** Signal-to-error ratio in dB of the middle of `samples` against the best-fitting sine. */
function purity(samples: Float32Array, frequency: number, rate: number): number {
  const middle = samples.subarray(samples.length >> 2, 3 * (samples.length >> 2));
  let [ss, cc, sc, xs, xc, xx] = [0, 0, 0, 0, 0, 0];
  middle.forEach((x, i) => {
    const s = Math.sin((2 * Math.PI * frequency * i) / rate);
    const c = Math.cos((2 * Math.PI * frequency * i) / rate);
    ss += s * s;
    cc += c * c;
    sc += s * c;
    xs += x * s;
    xc += x * c;
    xx += x * x;
  });
  const determinant = ss * cc - sc * sc;
  const a = (xs * cc - xc * sc) / determinant;
  const b = (xc * ss - xs * sc) / determinant;
  const signal = a * xs + b * xc;
  return 10 * Math.log10(signal / (xx - signal));
}

describe("Resampler", () => {
  const pairs = [
    [48_000, 16_000],
    [44_100, 16_000],
    [22_050, 16_000],
    [96_000, 16_000],
    [8_000, 16_000],
    [16_000, 48_000],
    [16_000, 44_100],
  ] as const;

  it.each(pairs)("keeps a tone pure from %i to %i Hz", (from, to) => {
    const output = convert(tone(1000, from), from, to);
    expect(Math.abs(output.length - to / 2)).toBeLessThan(to * 0.003);
    expect(purity(output, 1000, to)).toBeGreaterThan(50);
    expect(level(output)).toBeCloseTo(levelOfPower(0.125), 2);
  });

  it("removes what the lower rate cannot hold", () => {
    const output = convert(tone(11_000, 48_000), 48_000, 16_000);
    expect(level(output.subarray(200))).toBeLessThan(0.05);
  });

  it("does not depend on the size of the blocks", () => {
    const input = tone(700, 44_100, 0.3);
    const once = convert(input, 44_100, 16_000, input.length);
    expect(convert(input, 44_100, 16_000, 37)).toEqual(once);
  });

  it("delays by less than 3 ms", () => {
    for (const [from, to] of pairs) expect(new Resampler(from, to).delay).toBeLessThan(3);
  });

  it("passes equal rates through, and forgets on reset", () => {
    const input = tone(500, 16_000, 0.01);
    expect(new Resampler(16_000, 16_000).process(input)).toBe(input);
    const resampler = new Resampler(48_000, 16_000);
    const first = resampler.process(input).slice();
    resampler.process(input);
    resampler.reset();
    expect(resampler.process(input)).toEqual(first);
  });
});

describe("Framer", () => {
  it("cuts frames of 320 samples and keeps the rest", () => {
    const frames: Int16Array[] = [];
    const framer = new Framer((frame) => frames.push(frame));
    framer.push(new Float32Array(319).fill(0.5));
    expect(frames).toHaveLength(0);
    framer.push(new Float32Array(322).fill(-0.5));
    expect(frames.map((frame) => frame.length)).toEqual([320, 320]);
    expect(frames[0]?.[318]).toBe(16384);
    expect(frames[0]?.[319]).toBe(-16384);
  });

  it("clips and rounds", () => {
    expect([2, 1, -1, -2, 0.00002].map(toInt16)).toEqual([32767, 32767, -32768, -32768, 1]);
    expect([...toFloats(Int16Array.of(-32768, 16384))]).toEqual([-1, 0.5]);
  });
});

describe("level", () => {
  it("spans 60 dB", () => {
    expect(level(new Float32Array(10))).toBe(0);
    expect(level(new Float32Array(0))).toBe(0);
    expect(level(new Float32Array(10).fill(1))).toBe(1);
    expect(level(new Float32Array(10).fill(0.0316227))).toBeCloseTo(0.5, 3);
  });
});

describe("JitterBuffer", () => {
  const pull = (buffer: JitterBuffer, count: number) => {
    const output = new Float32Array(count).fill(9);
    buffer.pull(output);
    return [...output];
  };
  const ones = (count: number) => new Float32Array(count).fill(1);

  it("waits for the target, then plays without a gap", () => {
    const buffer = new JitterBuffer(6, 100);
    buffer.push(ones(4));
    expect(pull(buffer, 2)).toEqual([0, 0]);
    buffer.push(ones(4));
    expect(pull(buffer, 8)).toEqual(Array(8).fill(1));
  });

  it("plays short sounds after the same time", () => {
    const buffer = new JitterBuffer(6, 100);
    buffer.push(ones(2));
    expect(pull(buffer, 4)).toEqual([0, 0, 0, 0]);
    expect(pull(buffer, 4)).toEqual([1, 1, 0, 0]);
    expect(buffer.playing).toBe(false);
    expect(buffer.underruns).toBe(1);
  });

  it("gathers anew after it ran dry", () => {
    const buffer = new JitterBuffer(4, 100);
    buffer.push(ones(4));
    pull(buffer, 6);
    buffer.push(ones(2));
    expect(pull(buffer, 2)).toEqual([0, 0]);
  });

  it("falls silent on flush, with a fade", () => {
    const buffer = new JitterBuffer(4, 100, 4);
    buffer.push(ones(50));
    pull(buffer, 10);
    buffer.flush();
    expect(pull(buffer, 6)).toEqual([0.75, 0.5, 0.25, 0, 0, 0]);
    buffer.push(ones(2));
    buffer.flush();
    expect(buffer.size).toBe(0);
    expect(pull(buffer, 8)).toEqual(Array(8).fill(0));
  });

  it("drops the oldest when full, and counts", () => {
    const buffer = new JitterBuffer(1, 4);
    buffer.push(Float32Array.of(1, 2, 3, 4, 5, 6));
    expect(buffer.dropped).toBe(2);
    expect(pull(buffer, 4)).toEqual([3, 4, 5, 6]);
  });
});
