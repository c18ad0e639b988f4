const FLOOR_DB = -60;

/** Loudness of floats in -1..1 as 0 (at or below -60 dBFS) to 1 (full scale). */
export function level(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return levelOfPower(samples.length ? sum / samples.length : 0);
}

/** The same for a mean square. */
export function levelOfPower(power: number): number {
  if (power <= 0) return 0;
  const decibel = 10 * Math.log10(power);
  return Math.max(0, Math.min(1, 1 - decibel / FLOOR_DB));
}
