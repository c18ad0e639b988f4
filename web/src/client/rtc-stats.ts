/** How the sound of a WebRTC call fares. Absent: not known yet. */
export interface RtcStats {
  roundTripMs?: number;
  /** Of the sound that comes in. */
  jitterMs?: number;
  /** 0 to 1, of what should have come since the last reading. */
  lostIn?: number;
  /** 0 to 1, of what was sent, as the other side reports it. */
  lostOut?: number;
  /** For people: `Opus, 48 kHz`. */
  codec?: string;
}

/** The counters a reading is compared with. */
interface Counted {
  received: number;
  lost: number;
}

type Report = Record<string, unknown> & { id: string; type: string };

/** Turns reports of `getStats` into readings; one per connection. */
export class StatsReader {
  #before: Counted = { received: 0, lost: 0 };

  read(reports: Iterable<unknown>): RtcStats {
    const all = new Map<string, Report>();
    for (const report of reports) all.set((report as Report).id, report as Report);
    const find = (type: string, fits: (report: Report) => boolean = () => true) =>
      [...all.values()].find((report) => report.type === type && fits(report));
    const audio = (report: Report) => report.kind === undefined || report.kind === "audio";
    const inbound = find("inbound-rtp", audio);
    const outbound = find("outbound-rtp", audio);
    const remote = find("remote-inbound-rtp", audio);
    const pair = find("candidate-pair", ({ nominated }) => nominated === true);
    const roundTrip = number(remote?.roundTripTime) ?? number(pair?.currentRoundTripTime);
    const jitter = number(inbound?.jitter);
    const lostOut = number(remote?.fractionLost);
    const lostIn = inbound && this.#lost(inbound);
    const codec = codecName(all.get(String(inbound?.codecId ?? outbound?.codecId)));
    return {
      ...(roundTrip === undefined ? {} : { roundTripMs: Math.round(roundTrip * 1000) }),
      ...(jitter === undefined ? {} : { jitterMs: Math.round(jitter * 1000) }),
      ...(lostIn === undefined ? {} : { lostIn }),
      ...(lostOut === undefined ? {} : { lostOut }),
      ...(codec === undefined ? {} : { codec }),
    };
  }

  /** Late packets count as lost first and as received later, so the difference may be negative. */
  #lost(inbound: Report): number | undefined {
    const count = (key: string) => number(inbound[key]) ?? 0;
    const now = { received: count("packetsReceived"), lost: count("packetsLost") };
    const received = now.received - this.#before.received;
    const lost = Math.max(0, now.lost - this.#before.lost);
    this.#before = now;
    return received + lost > 0 ? lost / (received + lost) : undefined;
  }
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

const CODECS: Record<string, string> = {
  opus: "Opus",
  pcmu: "G.711 µ-law",
  pcma: "G.711 A-law",
  g722: "G.722",
};

function codecName(report: Report | undefined): string | undefined {
  const type = String(report?.mimeType ?? "").replace(/^audio\//i, "");
  if (!type) return undefined;
  // The RTP clock of G.722 says 8 kHz by mistake of its RFC.
  const rate = type.toLowerCase() === "g722" ? 16_000 : number(report?.clockRate);
  return (CODECS[type.toLowerCase()] ?? type) + (rate ? `, ${rate / 1000} kHz` : "");
}

export interface Trouble {
  loss: boolean;
  jitter: boolean;
  delay: boolean;
}

const READINGS = 2;

/** Tells trouble only if it lasts: two readings in a row, for its coming as for its going. */
export class QualityWatch {
  #shown: Trouble = { loss: false, jitter: false, delay: false };
  readonly #streak = { loss: 0, jitter: 0, delay: 0 };

  /** What is worth telling after this reading. */
  read({ lostIn = 0, lostOut = 0, jitterMs = 0, roundTripMs = 0 }: RtcStats): Trouble {
    const now: Trouble = {
      loss: Math.max(lostIn, lostOut) > 0.02,
      jitter: jitterMs > 60,
      delay: roundTripMs > 400,
    };
    for (const key of ["loss", "jitter", "delay"] as const) {
      this.#streak[key] = now[key] === this.#shown[key] ? 0 : this.#streak[key] + 1;
      if (this.#streak[key] < READINGS) continue;
      this.#shown = { ...this.#shown, [key]: now[key] };
      this.#streak[key] = 0;
    }
    return this.#shown;
  }
}
