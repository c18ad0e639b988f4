"""What Prometheus may read. Parts get the methods as callbacks and know nothing of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from salon.transport.packets import PacketStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_BATCH = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
STAGES = frozenset({"recognised", "first_word", "first_sound", "first_audio"})
OUTCOMES = frozenset({"completed", "failed", "killed", "lost"})


class Metrics:
    """The counters of one server, in a registry of its own, so that several can live in a process.

    Every method is synchronous, cheap and safe on the event loop. Label values come from closed
    sets only: nothing from outside may become one.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._calls = Gauge("salon_calls_active", "Calls now", registry=own)
        self._max_calls = Gauge("salon_max_calls", "Calls allowed", registry=own)
        self._ended = Counter("salon_calls", "Calls ended", ["outcome"], registry=own)
        self._refused = Counter("salon_calls_refused", "Refused upgrades", ["status"], registry=own)
        self._batch = Histogram(
            "salon_vad_batch_size",
            "Calls per voice activity evaluation",
            buckets=_BATCH,
            registry=own,
        )
        self._late = Gauge(
            "salon_ticker_late_ticks", "Late ticks of the 20 ms clock since start", registry=own
        )
        self._decoder = Histogram(
            "salon_decoder_wait_seconds",
            "Wait of an utterance for a free decoder",
            buckets=_SECONDS,
            registry=own,
        )
        self._turn = Histogram(
            "salon_turn_latency_seconds",
            "Time from the end of speech to a stage of the answer",
            ["stage"],
            buckets=_SECONDS,
            registry=own,
        )
        self._dropped = Counter(
            "salon_ws_dropped_audio",
            "Audio frames dropped because a client read too slowly",
            registry=own,
        )

        self._early = Counter(
            "salon_ws_early_dropped_audio",
            "Audio packets dropped because too many came before the invite",
            registry=own,
        )
        self._rtc_connect = Histogram(
            "salon_webrtc_connect_seconds",
            "Time from the answer to the first moment media may flow",
            buckets=_SECONDS,
            registry=own,
        )
        self._rtc_stock = Gauge(
            "salon_webrtc_stock_path",
            "1 if packets can't be had and the slower stock path carries WebRTC",
            registry=own,
        )
        self._rtc_packets = Counter(
            "salon_webrtc_packets", "Packets of ended WebRTC calls", ["kind"], registry=own
        )
        self._unheard = Gauge(
            "salon_vad_dropped_samples",
            "Samples the detector had no room for, since start",
            registry=own,
        )
        self._awaited = Gauge(
            "salon_http_bodies_awaited", "Bodies awaited of callers without a key", registry=own
        )
        self._bodies = Counter(
            "salon_http_bodies_refused", "Bodies not awaited longer", ["status"], registry=own
        )
        self._parts = Gauge(
            "salon_call_parts", "What goes along with calls, since start", ["kind"], registry=own
        )

    def watch_calls(self, calls: Callable[[], int], max_calls: int) -> None:
        """Ask `calls` for the number of calls whenever it is wanted."""
        self._calls.set_function(calls)
        self._max_calls.set(max_calls)

    def call_ended(self, outcome: str) -> None:
        self._ended.labels(outcome if outcome in OUTCOMES else "failed").inc()

    def call_refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def watch_bodies(self, awaited: Callable[[], int]) -> None:
        """Ask `awaited` for the number of bodies awaited whenever it is wanted."""
        self._awaited.set_function(awaited)

    def body_refused(self, status: int) -> None:
        self._bodies.labels(str(status)).inc()

    def vad_batch(self, size: int) -> None:
        self._batch.observe(size)

    def watch_ticker(self, late: Callable[[], int]) -> None:
        """Ask `late` for the number of late ticks whenever it is wanted."""
        self._late.set_function(late)

    def decoder_wait(self, seconds: float) -> None:
        self._decoder.observe(seconds)

    def turn_latency(self, stage: str, seconds: float) -> None:
        if stage in STAGES:
            self._turn.labels(stage).observe(seconds)

    def audio_dropped(self, frames: int = 1) -> None:
        self._dropped.inc(frames)

    def early_audio_dropped(self, packets: int) -> None:
        self._early.inc(packets)

    def webrtc_connected(self, seconds: float) -> None:
        self._rtc_connect.observe(seconds)

    def webrtc_carrier(self, *, stock: bool) -> None:
        self._rtc_stock.set(int(stock))

    def webrtc_ended(self, statistics: PacketStatistics) -> None:
        """The figures of a connection that is over."""
        for kind, count in (
            ("received", statistics.packets_received),
            ("sent", statistics.packets_sent),
            ("lost", statistics.lost),
            ("rejected", statistics.rejected),
            ("unsent", statistics.unsent),
        ):
            self._rtc_packets.labels(kind).inc(max(count, 0))

    def watch_detector(self, dropped: Callable[[], int]) -> None:
        """Ask `dropped` for the number of samples lost whenever it is wanted."""
        self._unheard.set_function(dropped)

    def watch_call_parts(self, figures: Mapping[str, Callable[[], int]]) -> None:
        """Ask for each figure whenever it is wanted; the names come from this program."""
        for kind, figure in figures.items():
            self._parts.labels(kind).set_function(figure)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
