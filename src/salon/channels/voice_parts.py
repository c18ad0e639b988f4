"""What a voice channel is made of, and how it is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from salon.base import TaskScope
from salon.channels.voice_bridge import VoiceBridge
from salon.channels.voice_context import VoiceContext
from salon.channels.voice_delivery import VoiceDelivery
from salon.channels.voice_ears import Ears, engine_for
from salon.channels.voice_events import Caption, LineEvents
from salon.channels.voice_guesses import Guesses
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_lines import VoiceLines
from salon.channels.voice_measures import VoiceMeasures
from salon.channels.voice_people import Caller
from salon.channels.voice_rooms import VoiceRooms
from salon.channels.voice_speakers import PipelineSpeakers
from salon.channels.voice_speaking import AgentVoice
from salon.channels.voice_traces import VoiceTraces
from salon.channels.voice_transcripts import Transcripts
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.engine import VoiceEngine
from salon.voice.events import Final, MediaEvent
from salon.voice.interruption import InterruptionConfig, interruption_of
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.stt.adapt import recognizer_of
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.provider import STTProvider
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.base import TextToSpeech, VoiceSettings
from salon.voice.tts.context import TTSContextConfig
from salon.voice.tts.provider import TTSProvider


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """What a `VoiceChannel` is asked to be; its arguments."""

    stt: STTProvider | None
    tts: TTSProvider | None
    pipeline: AudioPipelineConfig | None
    streaming: bool
    enable_barge_in: bool
    barge_in_threshold_ms: int | None
    interruption: InterruptionConfig | None
    batch_mode: bool
    voice_map: Mapping[str, str] | None
    max_audio_frames_per_second: int | None
    tts_filter: Callable[[str], str] | None
    max_sentences: int | None
    bridge: bool | AudioBridgeConfig | None
    close_providers: bool
    tts_context: TTSContextConfig | None
    pipeline_speakers: bool
    engine: VoiceEngine | None
    voice: VoiceSettings
    speak_text_events: bool
    caption: Caption | None
    speculate_after_ms: int | None


@dataclass(frozen=True, slots=True)
class VoiceReports:
    """Whom the parts tell what happens: the channel they belong to."""

    joined: Callable[[Caller], None]
    left: Callable[[Caller], None]
    media: Callable[[Caller, MediaEvent], None]
    kept: Callable[[Caller, Final, str], None]
    """Words are said in the room, as hooks left them."""
    unused: Callable[[Caller], None]
    """Nothing came of a caller's words."""
    answered: Callable[[str, str], None]
    """An agent said something in a room."""


@dataclass(frozen=True, slots=True)
class VoiceShared:
    """What most of the parts are made with."""

    channel_id: str
    options: VoiceOptions
    interruption: InterruptionConfig
    engine: VoiceEngine
    scope: TaskScope
    hooks: VoiceHooks
    rooms: VoiceRooms


@dataclass(frozen=True, slots=True)
class VoiceParts:
    """The parts of one channel."""

    shared: VoiceShared
    stt: SpeechToText | None
    tts: TextToSpeech | None
    voices: dict[str, str]
    ears: Ears
    speakers: PipelineSpeakers | None
    lines: VoiceLines
    traces: VoiceTraces
    measures: VoiceMeasures
    context: VoiceContext
    transcripts: Transcripts
    guesses: Guesses
    events: LineEvents
    delivery: VoiceDelivery
    bridge: VoiceBridge | None


def assemble(channel_id: str, options: VoiceOptions, reports: VoiceReports) -> VoiceParts:
    """The parts of a channel. `ConfigurationError` for what can't work together."""
    pipeline = options.pipeline
    interruption = _interruption(options)
    engine = options.engine or engine_for(pipeline)
    stt = None if options.stt is None else recognizer_of(options.stt)
    tts = None if options.tts is None else voice_of(options.tts)
    scope, hooks = TaskScope(f"channel {channel_id}"), VoiceHooks(channel_id)
    rooms = VoiceRooms(channel_id, interruption, answered=reports.answered)
    ears = Ears(
        engine,
        stt,
        pipeline,
        interruption,
        own_engine=options.engine is None,
        batch=options.batch_mode,
        speculate_after_ms=options.speculate_after_ms,
    )
    speakers = (
        PipelineSpeakers(pipeline, batch=options.batch_mode) if options.pipeline_speakers else None
    )
    lines = VoiceLines(
        engine,
        hooks,
        scope,
        config=ears.pipeline,
        listening=ears.listening,
        joined=reports.joined,
        left=reports.left,
        media=reports.media,
        claimed=ears.claimed,
        max_frames_per_second=options.max_audio_frames_per_second,
        speakers=speakers,
    )
    shared = VoiceShared(channel_id, options, interruption, engine, scope, hooks, rooms)
    measures = VoiceMeasures(channel_id, engine, stt, tts)
    transcripts = _transcripts(shared, reports, measures)
    guesses = Guesses(channel_id, scope)
    voices = dict(options.voice_map or {})
    redacts = pipeline is not None and pipeline.dtmf_redaction is not None
    context = VoiceContext(tts, options.tts_context, redacts=redacts)
    return VoiceParts(
        shared=shared,
        stt=stt,
        tts=tts,
        voices=voices,
        ears=ears,
        speakers=speakers,
        lines=lines,
        traces=VoiceTraces(channel_id, scope, lines.backends, lines.room_of),
        measures=measures,
        context=context,
        transcripts=transcripts,
        guesses=guesses,
        events=_events(shared, transcripts, measures, guesses),
        delivery=_delivery(shared, _agents(shared, tts, voices, context)),
        bridge=_bridge(shared),
    )


def _interruption(options: VoiceOptions) -> InterruptionConfig:
    config = options.interruption
    if config is None and options.pipeline is not None:
        config = options.pipeline.interruption
    return interruption_of(
        config,
        enable_barge_in=options.enable_barge_in,
        barge_in_threshold_ms=options.barge_in_threshold_ms,
    )


def _transcripts(
    shared: VoiceShared, reports: VoiceReports, measures: VoiceMeasures
) -> Transcripts:
    pipeline = shared.options.pipeline
    return Transcripts(
        shared.hooks,
        shared.scope,
        shared.engine.clock,
        route=shared.rooms.route,
        unused=reports.unused,
        judged=measures.judged,
        kept=reports.kept,
        detector=pipeline.turn_detector if pipeline is not None else None,
        incomplete_wait_ms=pipeline.turn_incomplete_wait_ms if pipeline is not None else 0.0,
    )


def _events(
    shared: VoiceShared, transcripts: Transcripts, measures: VoiceMeasures, guesses: Guesses
) -> LineEvents:
    pipeline = shared.options.pipeline
    return LineEvents(
        shared.hooks,
        transcripts,
        shared.rooms.floor,
        measures,
        interruption=shared.interruption,
        redaction=pipeline.dtmf_redaction if pipeline is not None else None,
        caption=shared.options.caption,
        guesses=guesses,
        is_over=shared.rooms.is_over,
    )


def _agents(
    shared: VoiceShared, tts: TextToSpeech | None, voices: dict[str, str], context: VoiceContext
) -> AgentVoice:
    return AgentVoice(
        shared.engine,
        shared.hooks,
        shared.scope,
        shared.rooms.floor,
        synthesizer=tts,
        settings=shared.options.voice,
        voices=voices,
        text_filter=shared.options.tts_filter,
        max_sentences=shared.options.max_sentences,
        interruption=shared.interruption,
        context=context,
    )


def _delivery(shared: VoiceShared, agents: AgentVoice) -> VoiceDelivery:
    return VoiceDelivery(
        shared.channel_id,
        agents,
        shared.hooks,
        shared.scope,
        shared.rooms.floors,
        keep_partial=shared.interruption.keep_partial_transcript,
        speak_text_events=shared.options.speak_text_events,
    )


def _bridge(shared: VoiceShared) -> VoiceBridge | None:
    wanted = shared.options.bridge
    config = AudioBridgeConfig() if wanted is True else wanted or None
    if config is None or not config.enabled:
        return None
    return VoiceBridge(config, shared.engine.ticker, shared.hooks, shared.scope)
