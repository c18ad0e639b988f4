"""What is kept of calls: the log, recordings, and the note in a room whose call a crash cut."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from salon.app.metrics import Metrics
from salon.base import PolicyError, new_id, resolve_below, safe_name
from salon.core.kit import RoomKit
from salon.core.lanes import Lanes
from salon.core.ports.calls import CallLog, CallRecord
from salon.gateway import Session
from salon.gateway.options import CallOption
from salon.gateway.recording import SENDER, CallRecordings, rate_of
from salon.models import ChannelType, EventSource, EventType, RoomEvent, SystemContent
from salon.voice.recorder import PTIME_MS, RecordingWriter, StereoRecorder

_log = logging.getLogger("salon.app.records")

CLOSE_TIMEOUT_S = 3.0


class CallRecords:
    """Writes the log in the order of what happened, without making calls wait for the disk."""

    def __init__(self, log: CallLog, kit: RoomKit, metrics: Metrics) -> None:
        self._calls = log
        self._kit = kit
        self._metrics = metrics
        self._lane = Lanes("call log")

    async def recover(self) -> None:
        """Calls that a crash cut are recorded as ended ``failed``, also in their rooms."""
        for record in await self._calls.fail_live(at=datetime.now(UTC)):
            _log.warning("call %s was cut when the server stopped", record.id)
            if record.room_id is not None:
                await self._kit.record(_cut_note(record.room_id, record))

    def answered(self, session: Session) -> None:
        """A call is live."""
        record = CallRecord(
            session.id,
            session.query.handler,
            datetime.now(UTC),
            session.room_id,
            session.query.participant,
        )
        self._lane.put("log", lambda: self._calls.started(record))

    def ended(self, session: Session) -> None:
        """A call is over."""
        at, reason = datetime.now(UTC), session.reason or "unknown"
        self._metrics.call_ended(session.outcome)
        self._metrics.audio_dropped(session.dropped_audio)
        self._metrics.early_audio_dropped(session.early.dropped)
        self._lane.put("log", lambda: self._calls.ended(session.id, at=at, reason=reason))

    async def close(self) -> None:
        """Write what is left."""
        await self._lane.close(CLOSE_TIMEOUT_S)


def _cut_note(room_id: str, record: CallRecord) -> RoomEvent:
    return RoomEvent(
        room_id=room_id,
        type=EventType.SYSTEM,
        source=EventSource(
            channel_id="system",
            channel_type=ChannelType.SYSTEM,
            participant_id=record.participant_id,
        ),
        content=SystemContent(
            code="call_failed",
            body="A call was cut when the server stopped.",
            data={"call_id": record.id, "state": "failed"},
        ),
        visibility="transport",
    )


class RoomRecordings:
    """Makes the recorder of a call in a room: ``<root>/<room>/<time>-<call>.wav``, if `enabled`."""

    def __init__(
        self,
        root: Path,
        writer: Callable[[], RecordingWriter | None],
        *,
        enabled: bool = True,
    ) -> None:
        self._root = root
        self._writer = writer
        self._enabled = enabled
        self.failed = 0
        """Recordings that could not be begun."""

    def recorder_for(self, session: Session, option: CallOption) -> StereoRecorder | None:
        """The recorder, or None outside rooms or if the disk refuses. Of the call's own `recorder`
        option the rate and the period count (G66), but not the name."""
        writer = self._writer() if self._enabled else None
        if session.room_id is None or writer is None:
            return None
        asked = option.recorder
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{safe_name(session.id)[:40]}-{new_id()[:6]}.wav"
        try:
            folder = resolve_below(self._root, safe_name(session.room_id))
            return StereoRecorder(
                folder / name,
                writer,
                rate=rate_of(asked),
                ptime_ms=(asked.ptime if asked is not None else 0) or PTIME_MS,
                on_trouble=lambda text: session.error(SENDER, text),
            )
        except (OSError, PolicyError) as error:
            self.failed += 1
            _log.error("call %s is not recorded: %s", session.id, error)
            return None


class Recorders:
    """Who records a call: its room, if it is in one or goes to one, so that what is kept of a room
    lies in one place; else the call's own option decides."""

    def __init__(self, rooms: RoomRecordings, calls: CallRecordings) -> None:
        self._rooms = rooms
        self._calls = calls

    def recorder_for(self, session: Session, option: CallOption) -> StereoRecorder | None:
        """The recorder, or None; `RecordingError` if what was asked for can't be had."""
        if session.query.handler == "room" or session.room_id is not None:
            return self._rooms.recorder_for(session, option)
        return self._calls.recorder_for(session, option)
