"""How a session reaches its client, whatever carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from salon.gateway.commands import Command
from salon.gateway.options import CallOption
from salon.media import make_codec
from salon.transport.sockets import MediaSocket
from salon.voice.leg import AudioLeg, SilentLeg, SocketLeg
from salon.voice.session import MediaSession

if TYPE_CHECKING:
    from salon.gateway.session import Session


class BaseTransport(ABC):
    """The client's side of a session: its events, and the way its sound comes and goes.

    Events are synchronous, ordered and bounded; after `close` no effect. Sound goes through a leg
    that the transport gives to the call's `MediaSession`, first `first_leg`, then that of `answer`.
    """

    call_type: ClassVar[str]
    """What `/list` calls it: ``webSocket`` or ``webrtc`` (G200)."""
    ends_at_second_invite: ClassVar[bool] = False
    """A second `invite` that is not taken ends the call (G52: on `/call` it does)."""
    main_ssrc: int = 0
    """Names the packets of the main track in its `trackEnd` (G114); 0 if there are none."""
    on_sound: Callable[[bytes], None] | None = None
    """Told each packet of sound that leaves in a binary frame, while somebody watches the call."""

    @abstractmethod
    def send_event(self, event: str) -> None:
        """One event as JSON text."""

    @abstractmethod
    def ping(self, payload: bytes) -> None:
        """Keepalive (G18)."""

    @abstractmethod
    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye after everything already sent (G21)."""

    @property
    @abstractmethod
    def dropped_audio(self) -> int:
        """Packets dropped because the client reads too slowly."""

    # -- sound ------------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """An answered call can be heard; `handshakeTimeout` looks at it (G60)."""
        return True

    def send_sound(self, data: bytes) -> None:  # noqa: B027 - optional to override
        """A binary frame beside the call's own sound (G48)."""

    def first_leg(self) -> AudioLeg:
        """What carries sound before the call is answered; nothing, if that is not agreed on."""
        return SilentLeg()

    @abstractmethod
    async def answer(self, option: CallOption, media: MediaSession) -> str:
        """Prepare `media` for what `option` asks for and give the answer's SDP ("" on `/call`).

        Called at most once. A `SalonError` fails the `invite` (G33). A `hangup` cancels it (G34);
        in every case `ended` is awaited later, after it has returned.
        """

    def answered(self) -> None:  # noqa: B027 - optional to override
        """The client has been told the answer."""

    async def reoffer(self, option: CallOption, media: MediaSession) -> str | None:
        """A second `invite`: the SDP of another answer, or None where a call is answered once
        (G52). After a `SalonError` the call goes on as it was."""
        del option, media
        return None

    def binary(self, data: bytes) -> None:  # noqa: B027 - optional to override
        """A binary frame of the client. Where sound comes another way it is discarded (G44)."""

    def add_candidate(self, candidate: str) -> None:  # noqa: B027 - optional to override
        """A remote candidate, "" ends them; without effect where none are needed (G88).
        `SalonError` or `ValueError` if it can't be read."""

    def preparse(self, data: str) -> Command | None:
        """The client's first text frame, if it has a form of this carrier's own (G281); None
        otherwise. `CommandError` if it has and is wrong."""
        del data
        return None

    async def ended(self) -> None:  # noqa: B027 - optional to override
        """The call is over and its leg closed: let go of everything but the way of events, which is
        still needed for the farewell. Awaited once, also if the client is gone or never invited;
        must not take longer than a second."""


class EventTransport(BaseTransport):
    """Events as text frames of a WebSocket; how sound comes is left to who derives from it."""

    def __init__(self, socket: MediaSocket, session: Session) -> None:
        self._socket = socket
        self._session = session

    def send_event(self, event: str) -> None:
        self._socket.send_text(event)

    def ping(self, payload: bytes) -> None:
        self._socket.ping(payload)

    def close(self, code: int, reason: str = "") -> None:
        self._socket.close(code, reason)

    def send_sound(self, data: bytes) -> None:
        self._socket.send_binary(data)

    @property
    def dropped_audio(self) -> int:
        return self._socket.dropped_audio


class SocketTransport(EventTransport):
    """A WebSocket: text frames for events, binary frames for sound (G11).

    Sound that comes before the answer is kept in the session's `early` (G43).
    """

    call_type = "webSocket"
    ends_at_second_invite = True

    def __init__(self, socket: MediaSocket, session: Session) -> None:
        super().__init__(socket, session)
        self._agreed: SocketLeg | None = None
        self._leg: SocketLeg | None = None

    def first_leg(self) -> SocketLeg:
        """Speech before the `invite` goes out as PCM."""
        return self._make_leg("pcm")

    async def answer(self, option: CallOption, media: MediaSession) -> str:
        self._agreed = self._make_leg(option.codec)
        media.use(self._agreed)
        return ""

    def answered(self) -> None:
        leg, session = self._agreed, self._session
        if leg is not None:
            if session.option and session.option.asr and session.option.asr.start_when_answer:
                session.early.discard()  # nothing from before the answer is recognised (G64)
            for payload in session.early.take(leg.codec.name):
                leg.receive(payload)
            self._leg = leg

    def binary(self, data: bytes) -> None:
        """Sound (G40), kept until the call is answered (G43)."""
        if self._leg is not None:
            self._leg.receive(data)
        else:
            self._session.early.add(data)

    def _make_leg(self, codec: str | None) -> SocketLeg:
        made = make_codec(codec, pcm_out_rate=self._session.services.pcm_out_rate)
        return SocketLeg(made, self._send_packet)

    def _send_packet(self, packet: bytes) -> None:
        self._socket.send_binary(packet)
        if self.on_sound is not None:
            self.on_sound(packet)
