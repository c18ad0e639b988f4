"""A relay in virtual time: it turns a clean packet schedule into what a bad network delivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from salon.media import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, MediaError, Samples
from salon.media.packet_codec import PacketDecoder
from salon.media.playout import Playout

RAMP = 24_000
"""Milliseconds after which the coded media time starts again."""
_OFFSET = 2000
TICK = 0.02


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet at the sender: `time` is when it left, in seconds of the receiver's clock; `media`
    its media time in samples at 16 kHz since the start."""

    sequence: int
    timestamp: int
    payload: bytes
    time: float
    media: int
    marker: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    time: float
    packet: Sent


def clock_sound(start: int, count: int) -> Samples:
    """Sound that says when it was spoken: its level grows by one each millisecond."""
    return ((np.arange(start, start + count) // 16) % RAMP + _OFFSET).astype(np.int16)


def spoken_at(samples: Samples) -> float:
    """The media time in ms (modulo `RAMP`) of the first of `clock_sound` samples."""
    return float(samples[0]) - _OFFSET


def schedule(
    seconds: float,
    *,
    packet_ms: int = 20,
    first_sequence: int = 100,
    first_timestamp: int = 5000,
    clock_rate: int = 16_000,
    ppm: float = 0.0,
    begin: float = 10.0,
    sound: Callable[[int, int], Samples] = clock_sound,
    pauses: Sequence[tuple[float, float]] = (),
) -> list[Sent]:
    """What a perfect sender sends: its clock is slow by `ppm` (so that it sends late); `pauses` are
    spans in seconds in which it is silent and sends nothing (DTX)."""
    size = packet_ms * 16
    sent: list[Sent] = []
    paused = False
    for index in range(int(seconds * 1000 / packet_ms)):
        media = index * size
        if any(start <= media / SAMPLE_RATE < stop for start, stop in pauses):
            paused = True
            continue
        sent.append(
            Sent(
                sequence=(first_sequence + len(sent)) & 0xFFFF,
                timestamp=(first_timestamp + media * clock_rate // SAMPLE_RATE) & 0xFFFFFFFF,
                payload=sound(media, size).tobytes(),
                time=begin + media / SAMPLE_RATE * (1 + ppm * 1e-6),
                media=media,
                marker=paused or not sent,
            )
        )
        paused = False
    return sent


@dataclass
class Relay:
    """Loses, delays, doubles and reorders, always alike for the same `seed`.

    `loss` is the share lost at random; `burst` the mean length of a burst of losses (1 = no
    bursts); `jitter` draws delays in seconds beyond `base`; `ordered` keeps the order (a later
    packet waits for the earlier); `outage` is (start, stop, lost): what is sent in between arrives
    in one burst at its end, or never.
    """

    seed: int = 1
    base: float = 0.05
    loss: float = 0.0
    burst: float = 1.0
    duplicates: float = 0.0
    jitter: Callable[[np.random.Generator, int], np.ndarray] | None = None
    ordered: bool = False
    outage: tuple[float, float, bool] | None = None
    lost: set[int] = field(default_factory=set)
    """Media times of what was lost."""

    def relay(self, sent: Sequence[Sent]) -> list[Arrival]:
        rng = np.random.default_rng(self.seed)
        count = len(sent)
        extra = np.zeros(count) if self.jitter is None else self.jitter(rng, count)
        dropped = self._dropped(rng, count)
        doubled = rng.random(count) < self.duplicates
        out: list[Arrival] = []
        newest = 0.0
        for packet, late, drop, double in zip(sent, extra, dropped, doubled, strict=True):
            time = packet.time + self.base + float(late)
            if self.outage and self.outage[0] <= packet.time < self.outage[1]:
                drop = drop or self.outage[2]
                time = max(time, self.outage[1] + self.base)
            if drop:
                self.lost.add(packet.media)
                continue
            if self.ordered:
                time = newest = max(time, newest)
            out.append(Arrival(time, packet))
            if double:
                out.append(Arrival(time + 0.003, packet))
        return sorted(out, key=lambda one: one.time)

    def _dropped(self, rng: np.random.Generator, count: int) -> list[bool]:
        """Gilbert's model: bursts of mean length `burst`, `loss` of all."""
        if not self.loss:
            return [False] * count
        stay = 1 - 1 / self.burst
        enter = self.loss * (1 - stay) / (1 - self.loss)
        if self.burst == 1.0:
            stay = enter = self.loss
        bad, out = False, []
        for draw in rng.random(count):
            bad = bool(draw < (stay if bad else enter))
            out.append(bad)
        return out


def gamma_jitter(
    p95: float, shape: float = 2.0
) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Delays whose 95th percentile is `p95` seconds."""
    scale = p95 / float(np.percentile(np.random.default_rng(0).gamma(shape, 1.0, 200_000), 95))
    return lambda rng, count: rng.gamma(shape, scale, count)


def uniform_jitter(most: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, count: rng.uniform(0, most, count)


def jitter_p95_ms(arrivals: Iterable[Arrival]) -> float:
    """The true one: above the fastest packet."""
    delays = np.array([one.time - one.packet.time for one in arrivals])
    return float(np.percentile(delays - delays.min(), 95) * 1000)


class ScriptedDecoder(PacketDecoder):
    """16-bit samples as they are. Concealment holds the last sample and sinks to silence; with
    `redundant` any lost packet can be restored from the next, as `restored` says."""

    def __init__(self, clock_rate: int = 16_000, *, redundant: bool = False) -> None:
        self.clock_rate = clock_rate
        self.redundant = redundant
        self.resets = 0
        self.concealments = 0
        self.damage: set[bytes] = set()
        self._last = 0
        self._gain = 1.0

    def decode(self, payload: bytes) -> Samples:
        if payload in self.damage:
            raise MediaError("damaged")
        samples = np.frombuffer(payload, dtype=np.int16)
        self._last, self._gain = int(samples[-1]), 1.0
        return samples

    def conceal(self, samples: int) -> Samples:
        self.concealments += 1
        gain = np.maximum(self._gain - np.arange(1, samples + 1) / 1920, 0.0)
        self._gain = float(gain[-1])
        return (self._last * gain).astype(np.int16)

    def recover(self, following: bytes, samples: int) -> Samples | None:
        if not self.redundant:
            return None
        first = int(np.frombuffer(following, dtype=np.int16)[0]) - _OFFSET
        return clock_sound(first * 16 - samples, samples)

    def duration(self, payload: bytes) -> int:
        return 0 if len(payload) % 2 else len(payload) // 2

    def reset(self) -> None:
        self.resets += 1
        self._last, self._gain = 0, 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One tick: `delay` is from the mouth to here in ms, where real sound was heard."""

    time: float
    samples: Samples | None
    concealed: bool
    delay: float | None
    depth: float
    target: float


def listen(
    playout: Playout,
    arrivals: Sequence[Arrival],
    *,
    begin: float = 10.0,
    seconds: float | None = None,
    phase: float = 0.007,
    lateness: Callable[[int], float] | None = None,
    skipped: Callable[[int], bool] | None = None,
    sent_at: Callable[[float], float] | None = None,
) -> list[Heard]:
    """Insert and pull in the order of time. `sent_at` says when a media time (seconds) was spoken,
    by the receiver's clock; without it the sender's clock is exact."""
    end = begin + seconds if seconds is not None else arrivals[-1].time
    heard: list[Heard] = []
    queue = iter(arrivals)
    arrival = next(queue, None)
    tick = 0
    while (nominal := begin + phase + tick * TICK) < end:
        now = nominal + (lateness(tick) if lateness else 0.0)
        while arrival is not None and arrival.time <= now:
            one = arrival.packet
            playout.insert(
                one.payload, one.sequence, one.timestamp, arrival.time, marker=one.marker
            )
            arrival = next(queue, None)
        if not (skipped and skipped(tick)):
            heard.append(_hear(playout, now, begin, sent_at))
        tick += 1
    return heard


def _hear(
    playout: Playout, now: float, begin: float, sent_at: Callable[[float], float] | None
) -> Heard:
    samples = playout.pull(now)
    figures = playout.statistics()
    delay = None
    if samples is not None:
        assert samples.shape == (FRAME_SAMPLES,)
        assert samples.dtype == np.int16
        if not playout.concealed and samples.min() >= _OFFSET and _smooth(samples):
            elapsed = (now - begin) * 1000
            spoken = spoken_at(samples)
            spoken += RAMP * round((elapsed - spoken) / RAMP)
            if sent_at is not None:
                spoken = (sent_at(spoken / 1000) - begin) * 1000
            delay = elapsed - spoken
    else:
        samples = None
    return Heard(now, samples, playout.concealed, delay, figures.depth_ms, figures.target_ms)


def _smooth(samples: Samples) -> bool:
    """Whether the level tells a time: it does not where concealment is blended in."""
    return int(np.abs(np.diff(samples)).max()) <= 2


def delays(heard: Iterable[Heard], start: float = 0.0, stop: float = 1e9) -> np.ndarray:
    """Of what was really heard between `start` and `stop` seconds after tick 0."""
    rows = list(heard)
    begin = rows[0].time
    return np.array(
        [h.delay for h in rows if h.delay is not None and start <= h.time - begin < stop]
    )


def depths(heard: Iterable[Heard], start: float = 0.0, stop: float = 1e9) -> np.ndarray:
    rows = list(heard)
    begin = rows[0].time
    return np.array([h.depth for h in rows if start <= h.time - begin < stop])


def renumbered(sent: Sequence[Sent], sequence: int, timestamp: int) -> list[Sent]:
    """The same packets under other numbers, as after a restart of the sender."""
    return [
        replace(
            one,
            sequence=(one.sequence + sequence) & 0xFFFF,
            timestamp=(one.timestamp + timestamp) & 0xFFFFFFFF,
        )
        for one in sent
    ]


def silence(start: int, count: int) -> Samples:
    """Of any length."""
    del start
    return np.resize(SILENCE, count)
