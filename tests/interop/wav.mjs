// Mono WAV files of 16 bits.
import { readFileSync, writeFileSync } from "node:fs";

/** `{rate, samples}` of a file; throws if it is anything else. */
export function readWav(path) {
  const file = readFileSync(path);
  if (file.toString("latin1", 0, 4) !== "RIFF") throw new Error(`${path} is no WAV file`);
  let rate = 0;
  for (let at = 12; at + 8 <= file.length; ) {
    const size = file.readUInt32LE(at + 4);
    const name = file.toString("latin1", at, at + 4);
    if (name === "fmt ") {
      const mono16 = file.readUInt16LE(at + 10) === 1 && file.readUInt16LE(at + 22) === 16;
      if (!mono16) throw new Error(`${path} is not mono with 16 bits`);
      rate = file.readUInt32LE(at + 12);
    } else if (name === "data") {
      const samples = new Int16Array(Math.floor(size / 2));
      for (let n = 0; n < samples.length; n++) samples[n] = file.readInt16LE(at + 8 + 2 * n);
      return { rate, samples };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error(`${path} holds no sound`);
}

/** Write Int16Array samples. */
export function writeWav(path, rate, samples) {
  const file = Buffer.alloc(44 + 2 * samples.length);
  file.write("RIFF", 0, "latin1");
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8, "latin1");
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20); // PCM
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(2 * rate, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write("data", 36, "latin1");
  file.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, n) => file.writeInt16LE(sample, 44 + 2 * n));
  writeFileSync(path, file);
}
