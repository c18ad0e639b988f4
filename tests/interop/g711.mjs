// G.711 by its definition: a sign, a segment of 3 bits, 4 bits within it. Int16Array both ways.

const BIAS = 132;
const CLIP = 32635;

/** mu-law bytes of samples. */
export function encodeUlaw(samples) {
  return Buffer.from(Array.from(samples, ulaw));
}

/** A-law bytes of samples. */
export function encodeAlaw(samples) {
  return Buffer.from(Array.from(samples, alaw));
}

/** Samples of mu-law bytes. */
export function decodeUlaw(bytes) {
  return Int16Array.from(bytes, (byte) => {
    const code = ~byte & 0xff;
    const size = ((((code & 15) << 3) + BIAS) << ((code >> 4) & 7)) - BIAS;
    return code & 0x80 ? -size : size;
  });
}

/** Samples of A-law bytes. */
export function decodeAlaw(bytes) {
  return Int16Array.from(bytes, (byte) => {
    const code = byte ^ 0x55;
    const segment = (code >> 4) & 7;
    const size = ((code & 15) << 4) + 8;
    const value = segment ? (size + 256) << (segment - 1) : size;
    return code & 0x80 ? value : -value;
  });
}

function ulaw(sample) {
  const size = Math.min(Math.abs(sample), CLIP) + BIAS;
  const segment = 24 - Math.clz32(size); // 132 is in segment 0
  const code = (segment << 4) | ((size >> (segment + 3)) & 15);
  return ~(sample < 0 ? code | 0x80 : code) & 0xff;
}

function alaw(sample) {
  const size = sample < 0 ? -sample - 1 : sample;
  const segment = Math.max(0, 24 - Math.clz32(size));
  const code = (segment << 4) | ((size >> (segment ? segment + 3 : 4)) & 15);
  return (sample < 0 ? code : code | 0x80) ^ 0x55;
}
