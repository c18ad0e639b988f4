"""The composition root: ports meet implementations."""

from __future__ import annotations

from salon.app.agents import Agents
from salon.app.call_desk import CallDesk
from salon.app.call_parts import CallParts, rights_of_caller
from salon.app.caller import current_caller
from salon.app.engines import Engines
from salon.app.guests import Guests
from salon.app.house import House, Service
from salon.app.metrics import Metrics
from salon.app.records import CallRecords
from salon.app.settings import Settings
from salon.app.texts import RoomSockets
from salon.app.transports import add_transports, mailbox_services
from salon.app.webrtc import WebRtc
from salon.channels.voice import VoiceChannel
from salon.channels.websocket import WebSocketChannel
from salon.core.kit import RoomKit
from salon.core.memory.locks import InMemoryLockManager
from salon.gateway import EventBus, Gateway, Session, SessionServices, install_event_bus
from salon.gateway.endpoints import SOCKET_ENDPOINTS
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.query import CallQuery
from salon.gateway.room import RoomHandler
from salon.store import make_stores
from salon.voice.bridge_config import AudioBridgeConfig
from salon.voice.events import TurnMeasured
from salon.voice.tts.base import VoiceSettings
from salon.voice.turns import InterruptionStrategy, TurnConfig


def compose(settings: Settings) -> House:
    """Everything one server needs, not yet started. Raises `ConfigurationError`."""
    metrics = Metrics()
    agents = Agents(settings)
    engines = Engines(settings, metrics, agents.first.provider)
    hints = agents.speech_hints()
    engines.voice.hints = lambda: hints
    metrics.watch_ticker(lambda: engines.ticker.statistics().late)
    metrics.watch_detector(lambda: engines.voice.vad.statistics().dropped_samples)
    stores = make_stores(settings.database_url)
    locks = InMemoryLockManager(sole_process=True)  # one server per store
    kit = RoomKit(store=stores.conversation, lock_manager=locks, raw_payload=settings.raw_payload)
    texts = WebSocketChannel()
    voice = VoiceChannel(
        engine=engines.voice,
        speak_text_events=False,
        voice=VoiceSettings(voice=settings.tts_voice),
        voice_map=agents.voices,
        bridge=_bridge(settings),
        caption=texts.caption,
    )
    for channel in (texts, voice, *agents.channels):
        kit.register_channel(channel)
    guests = Guests(
        kit, (texts.channel_id, voice.channel_id, *agents.channel_ids), agents.channel_ids
    )
    records = CallRecords(stores.calls, kit, metrics)
    parts = CallParts(settings, engines, metrics)
    bus = EventBus()
    turns = _turns(settings)

    def handler_for(query: CallQuery) -> CallHandler:
        if query.handler == "room":
            door = guests.door(current_caller())
            return RoomHandler(query, kit=kit, channel=voice, door=door, turns=turns)
        if query.handler == "webhook":
            return parts.webhook_handler()
        return ControllerHandler()

    def ended(session: Session) -> None:
        records.ended(session)
        parts.ended(session)

    services = SessionServices(
        engine=engines.voice,
        bus=bus,
        sounds=parts.sounds,
        handler_for=handler_for,
        recorder_for=parts.recorders.recorder_for,
        on_answered=records.answered,
        on_ended=ended,
        on_measured=lambda turn: _measure(metrics, turn),
        pcm_out_rate=settings.pcm_out_rate,
        companions=parts.companions,
        actions=parts.bridges.actions(),
        rights_for=rights_of_caller,
        invite_timeout=settings.invite_timeout,
        early_seconds=settings.early_seconds,
        voices=parts.voices,
        ears=parts.ears,
    )
    gateway = Gateway(services, max_calls=settings.max_calls, unique_ids=settings.unique_call_ids)
    webrtc = WebRtc(settings, engines.ticker, metrics)
    house = House(
        settings=settings,
        metrics=metrics,
        kit=kit,
        rooms=guests,
        gateway=gateway,
        texts=RoomSockets(guests, texts),
        desk=CallDesk(gateway.get, bus, parts.voices, parts.files.list),
        describe_agent=lambda: agents.info,
        describe_engines=lambda: engines.describe() | {"webrtc": webrtc.describe()},
        stages=(
            *_stages(kit, agents, engines, records, gateway, webrtc, bus, parts),
            mailbox_services(settings, kit),
        ),
    )
    add_transports(settings, kit, house.intakes)
    return house


def _bridge(settings: Settings) -> AudioBridgeConfig | None:
    """Everybody hears everybody else, in one sum (V139)."""
    if not settings.bridge:
        return None
    return AudioBridgeConfig(mixing_strategy="mix", max_participants=settings.bridge_people)


def _turns(settings: Settings) -> TurnConfig:
    return TurnConfig(
        strategy=InterruptionStrategy(settings.interruption),
        min_speech_ms=settings.min_speech_ms,
        speculate_after_ms=settings.speculate_after_ms,
    )


def _stages(
    kit: RoomKit,
    agents: Agents,
    engines: Engines,
    records: CallRecords,
    gateway: Gateway,
    webrtc: WebRtc,
    bus: EventBus,
    parts: CallParts,
) -> tuple[tuple[Service, ...], ...]:
    """What is opened one after the other; closed the other way round."""
    forget = []

    async def publish_bus() -> None:
        forget.append(install_event_bus(bus))

    async def withdraw_bus() -> None:
        while forget:
            forget.pop()()

    async def resume() -> None:
        await kit.resume_deliveries()

    async def nothing() -> None:
        """It ends with what it belongs to."""

    async def check_voices() -> None:
        if "synthesis" not in engines.voice.missing:
            agents.check_voices(engines.tts)

    async def open_calls() -> None:
        gateway.endpoints = {**SOCKET_ENDPOINTS, **webrtc.endpoints()}

    return (
        (
            Service("store and rooms", kit.open, kit.close, close_timeout=10.0),
            *agents.services(),
            *parts.first(),
        ),
        (
            *engines.services(),
            *parts.services(),
            Service("WebRTC", webrtc.open, webrtc.close),
            Service("call log", records.recover, records.close),
        ),
        (
            Service("voices of agents", check_voices, nothing),
            Service("event bus", publish_bus, withdraw_bus),
            Service("calls", open_calls, gateway.close, close_timeout=10.0),
            Service("deliveries left over", resume, nothing),
        ),
    )


def _measure(metrics: Metrics, turn: TurnMeasured) -> None:
    for stage, value in (
        ("recognised", turn.recognised_ms),
        ("first_word", turn.first_word_ms),
        ("first_sound", turn.first_sound_ms),
        ("first_audio", turn.first_audio_ms),
    ):
        metrics.turn_latency(stage, value / 1000)
