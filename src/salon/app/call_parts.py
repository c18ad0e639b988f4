"""What calls are given beside their engines: sounds, files, backgrounds, bridges, rights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from salon.app.call_files import CallFiles
from salon.app.call_record_sinks import LocalSink, RecordTarget
from salon.app.call_record_spool import Resender
from salon.app.call_records import CallRecordQueue
from salon.app.caller import current_caller
from salon.app.engines import Engines, register_providers
from salon.app.house import Service
from salon.app.metrics import Metrics
from salon.app.records import Recorders, RoomRecordings
from salon.app.retention import KeepRule, Retention
from salon.app.settings import Settings
from salon.app.upgrade import upgrade_headers
from salon.base import UrlPolicy
from salon.gateway import Session
from salon.gateway.ambiance import Ambiance, AmbianceStore
from salon.gateway.bridging import Bridges
from salon.gateway.cleaning import Cleaning
from salon.gateway.companions import Companion
from salon.gateway.ears import Ears
from salon.gateway.handlers import CallHandler
from salon.gateway.journal import SUFFIX, Journal
from salon.gateway.media_pass import MediaPass, MediaPassTotals
from salon.gateway.media_pass_link import WebSocketLinks
from salon.gateway.query import CallQuery
from salon.gateway.recording import CallRecordings
from salon.gateway.rights import ALL_RIGHTS, CallRights
from salon.gateway.sound_cache import SoundCache
from salon.gateway.sound_files import SoundFiles
from salon.gateway.sounds import SoundLoader
from salon.gateway.speech_cache import SpeechCache
from salon.gateway.subscription import Subscription
from salon.gateway.voices import Voices
from salon.gateway.webhook import Post, WebhookError, WebhookHandler
from salon.gateway.webhook_post import WebhookPost
from salon.voice.recorder import RecordingWriter

_log = logging.getLogger("salon.app")

CONFINED = CallRights(files=False, media_pass=False, bridge=False, keys=False)
"""What calls of organizations and of room tokens may do beyond talking: nothing."""
SPEECH_PART = 0.5
"""Part of the cache that speech may take; the rest is for decoded sounds."""


def rights_of_caller(query: CallQuery) -> CallRights:
    """What the call that is being decided on may do; keys of the server may do everything."""
    del query
    return ALL_RIGHTS if current_caller().kind in {"local", "key"} else CONFINED


class Disk:
    """The thread that writes recordings and events files, while the server runs."""

    def __init__(self) -> None:
        self._thread: RecordingWriter | None = None

    def writer(self) -> RecordingWriter | None:
        """The thread; None while the server does not run."""
        return self._thread

    async def open(self) -> None:
        """Begin."""
        self._thread = RecordingWriter()

    async def close(self) -> None:
        """Write what waits."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()


class CallParts:
    """Made from the settings, once per server. `ConfigurationError`, `MissingExtraError`."""

    def __init__(self, settings: Settings, engines: Engines, metrics: Metrics) -> None:
        self.disk = Disk()
        self.speech: SpeechCache | None = None
        self._settings = settings
        sounds: SoundCache | None = None
        if settings.media_cache_bytes:
            size = int(settings.media_cache_bytes * SPEECH_PART)
            self.speech = SpeechCache(SoundFiles(settings.media_cache / "speech", size))
            rest = settings.media_cache_bytes - size
            sounds = SoundCache(SoundFiles(settings.media_cache / "sounds", rest))
        if settings.speech_providers is not None:
            register_providers(engines.providers, settings.speech_providers)
        self.voices: Voices = engines.voices(self.speech)
        self.ears: Ears = engines.ears()
        hosts = settings.media_hosts
        self.sounds = SoundLoader(
            roots=(settings.media,), policy=UrlPolicy(allowed_hosts=hosts), cache=sounds
        )
        self.backgrounds = AmbianceStore(self.sounds, settings.background)
        self.links = WebSocketLinks(
            UrlPolicy(schemes=frozenset({"ws", "wss"}), allowed_hosts=hosts)
        )
        self.passes = MediaPassTotals()
        self.bridges = Bridges(forward_dtmf=settings.bridge_keys)
        self.recorders = Recorders(
            RoomRecordings(settings.recordings, self.disk.writer, enabled=settings.recording),
            CallRecordings((settings.call_recordings, settings.media), self.disk.writer),
        )
        self.files = CallFiles(settings.events, self.live_files)
        self.records = _records(settings, self.disk)
        self.webhook = _webhook(settings)
        self.retention = Retention(_rules(settings), in_use=self.live_files)
        metrics.watch_call_parts(self._figures())

    def companions(self, session: Session) -> tuple[Companion, ...]:
        """What goes along with a call that begins."""
        journal: tuple[Journal, ...] = ()
        if self._settings.call_events:
            journal = Journal.of(session, self._settings.events, self.disk.writer)
        return (
            *journal,
            Cleaning(),
            Ambiance(self.backgrounds),
            Subscription(),
            *self.bridges.companions(session),
            MediaPass(self.links, self.passes),
        )

    def _figures(self) -> dict[str, Callable[[], int]]:
        """What operators may want to know, by the label it gets."""
        records, webhook, swept = self.records, self.webhook, self.retention.total
        cached = [cache.files for cache in (self.speech, self.sounds.cache) if cache is not None]
        figures: dict[str, Callable[[], int]] = {
            "bridges": lambda: self.bridges.count,
            "files_deleted": lambda: sum(swept.files.values()),
            "files_not_deleted": lambda: swept.failed,
            "cache_hits": lambda: sum(files.hits for files in cached),
            "cache_misses": lambda: sum(files.misses for files in cached),
            "media_passes": lambda: self.passes.live,
            "media_passes_begun": lambda: self.passes.begun,
            "media_passes_failed": lambda: self.passes.failed,
            "media_pass_chunks_sent": lambda: self.passes.sent,
            "media_pass_chunks_dropped": lambda: self.passes.dropped,
        }
        if records is not None:
            figures["records_waiting"] = lambda: len(records)
            figures["records_written"] = lambda: records.written
            figures["records_spooled"] = lambda: records.spooled
            figures["records_dropped"] = lambda: records.dropped
            figures["records_resent"] = lambda: records.resent
        if webhook is not None:
            figures["webhooks_taken"] = lambda: webhook.sent
            figures["webhooks_failed"] = lambda: webhook.failed
        return figures

    def webhook_handler(self) -> CallHandler:
        """For a call that is to be announced, made while its connection is decided on."""
        post: Post = self.webhook or _no_webhook
        return WebhookHandler(post, upgrade_headers(), timeout=self._settings.accept_timeout)

    def ended(self, session: Session) -> None:
        """A call is over."""
        self.bridges.ended(session)
        if self.records is not None:
            self.records.put(session)

    def live_files(self) -> frozenset[Path]:
        """Files that calls write now; may be asked from any thread."""
        writer = self.disk.writer()
        return frozenset() if writer is None else writer.held()

    def first(self) -> tuple[Service, ...]:
        """Opened before everything that writes, closed after it."""
        return (Service("recordings", self.disk.open, self.disk.close, close_timeout=10.0),)

    def services(self) -> tuple[Service, ...]:
        """Opened before calls come, closed after the last one."""
        made: list[Service] = []
        if self.records is not None:
            made.append(
                Service("call records", self.records.start, self.records.close, close_timeout=10.0)
            )
        if self.webhook is not None:
            made.append(Service("webhook of calls", _nothing, self.webhook.close))
        return (
            *made,
            Service("backgrounds of calls", _nothing, self.backgrounds.close),
            Service("retention", self.retention.start, self.retention.close),
        )


async def _nothing() -> None:
    """It starts when a call needs it."""


async def _no_webhook(_body: object) -> None:
    raise WebhookError("no webhook is set up for calls (SALON_CALL_WEBHOOK_URLS)")


def _records(settings: Settings, disk: Disk) -> CallRecordQueue | None:
    target = settings.record_target
    if target is None:
        return None
    spool = LocalSink(settings.data_dir / "call-records")
    sink = target.sink()
    again: Resender | None = None
    if not _is_spool(target, spool.root):
        folders = (settings.call_recordings, settings.recordings, settings.media, settings.events)
        again = Resender(sink, spool.root, files=folders)

    async def settled() -> None:
        writer = disk.writer()
        if writer is not None:
            await writer.written()

    return CallRecordQueue(sink, spool=spool, resender=again, settled=settled)


def _is_spool(target: RecordTarget, spool: Path) -> bool:
    """Records go to the spool itself, or where it lies: none of them is one that waits there."""
    if target.type != "local":
        return False
    root, spool = Path(target.root).resolve(), spool.resolve()
    return root.is_relative_to(spool) or spool.is_relative_to(root)


def _webhook(settings: Settings) -> WebhookPost | None:
    if not settings.call_webhook_urls:
        return None
    sign: Callable[[str, bytes], dict[str, str]] | None = None
    if settings.call_webhook_secret is not None:
        from salon.providers.webhooks.signing import WebhookSigner

        sign = WebhookSigner(settings.call_webhook_secret).headers
    return WebhookPost(
        settings.call_webhook_urls,
        method=settings.call_webhook_method,
        headers=settings.call_webhook_headers,
        sign=sign,
    )


def _rules(settings: Settings) -> tuple[KeepRule, ...]:
    kept = [settings.data_dir / "call-records"]
    target = settings.record_target
    if target is not None and target.type == "local":
        kept.append(Path(target.root))
    return (
        KeepRule(
            "recordings",
            (settings.recordings, settings.call_recordings),
            "*.wav",
            settings.keep_recordings_days,
            settings.keep_recordings_bytes,
        ),
        KeepRule(
            "events files",
            (settings.events,),
            f"*{SUFFIX}",
            settings.keep_events_days,
            settings.keep_events_bytes,
        ),
        KeepRule(
            "call records",
            tuple(kept),
            "*.json",
            settings.keep_records_days,
            settings.keep_records_bytes,
        ),
    )
