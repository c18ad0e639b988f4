"""Media events become call events (section 6). Pure: no state but what is passed in."""

from __future__ import annotations

from salon.gateway.events import (
    AsrDeltaEvent,
    AsrFinalEvent,
    DtmfEvent,
    ErrorEvent,
    Event,
    InterruptionEvent,
    MetricsEvent,
    SilenceEvent,
    SpeakingEvent,
    TrackEndEvent,
    TrackStartEvent,
)
from salon.voice.events import (
    Dtmf,
    Failed,
    Final,
    Interrupted,
    MediaEvent,
    Partial,
    Recognized,
    Silence,
    Speaking,
    Synthesized,
    TrackEnded,
    TrackStarted,
    TurnMeasured,
)

_OF_SERVER = ("filetrack:", "media_pass:")
"""How the senders of failures on the server track begin, but for ``tts`` (G37)."""


def translate(event: MediaEvent, main: str, server: str, now: int) -> Event | None:
    """The call event for `event`, or None if clients are not told.

    `main` and `server` are the ids of the two tracks (G6, G110), `now` the stamp in ms.
    """
    match event:
        case Speaking():
            return SpeakingEvent(
                track_id=main, timestamp=now, start_time=event.start_ms, confidence=1.0
            )
        case Silence():
            return SilenceEvent(
                track_id=main,
                timestamp=now,
                start_time=event.start_ms,
                duration=max(0, event.duration_ms),
            )
        case Dtmf():
            return DtmfEvent(track_id=main, timestamp=now, digit=event.digit)
        case Partial() | Final():
            kind = AsrDeltaEvent if isinstance(event, Partial) else AsrFinalEvent
            return kind(
                track_id=main,
                timestamp=now,
                index=event.index,
                start_time=event.start_ms,
                end_time=event.end_ms,
                text=event.text,
                confidence=event.confidence,
            )
        case TrackStarted():
            return TrackStartEvent(track_id=server, timestamp=now, play_id=event.play_id)
        case TrackEnded():
            return TrackEndEvent(
                track_id=server,
                timestamp=now,
                duration=event.duration_ms,
                ssrc=event.ssrc,
                play_id=event.play_id,
            )
        case Interrupted():
            return InterruptionEvent(
                track_id=server,
                timestamp=now,
                play_id=event.play_id,
                subtitle=event.subtitle,
                position=event.position,
                total_duration=event.total_ms,
                current=event.current_ms,
            )
        case Failed():
            of_server = event.sender == "tts" or event.sender.startswith(_OF_SERVER)
            track = server if of_server else main
            return ErrorEvent(
                track_id=track,
                timestamp=now,
                sender=event.sender,
                error=event.message,
                code=event.code,
            )
        case Synthesized() | TurnMeasured() | Recognized():
            return _metrics(event, now)
        case _:
            return None


def _metrics(event: Synthesized | TurnMeasured | Recognized, now: int) -> MetricsEvent:
    if isinstance(event, Recognized):
        return MetricsEvent(
            timestamp=now,
            key=f"{'completed' if event.final else 'ttfb'}.asr.{event.engine}",
            duration=max(0, event.duration_ms),
            data={"index": event.index},
        )
    if isinstance(event, TurnMeasured):
        return MetricsEvent(
            timestamp=now,
            key="turn.latency",
            duration=max(0, event.first_audio_ms),
            data={
                "turn": event.index,
                "text": event.text,
                "recognised": event.recognised_ms,
                "firstWord": event.first_word_ms,
                "firstSound": event.first_sound_ms,
                "firstAudio": event.first_audio_ms,
            },
        )
    return MetricsEvent(
        timestamp=now,
        key=f"completed.tts.{event.engine}",
        duration=event.duration_ms,
        data={
            **({} if event.play_id is None else {"playId": event.play_id}),
            **({} if event.sequence is None else {"cmdSeq": event.sequence}),
            **({"speaker": event.speaker} if event.cached and event.speaker else {}),
            "length": event.length_bytes,
            "cached": event.cached,
            "ttfb": event.first_byte_ms,
            "duration": event.duration_ms,
        },
    )
