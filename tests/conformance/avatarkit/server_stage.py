"""One session of the stand-in's core in memory: messages in, actions out, time by hand."""

from __future__ import annotations

import numpy as np

from salon.clients.avatarkit.proto.generated import animation_pb2
from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import (
    APP_ID,
    AVATAR_ID,
    AvatarServerSession,
    AvatarSettings,
    Close,
    Drop,
    Faults,
    Send,
    SendText,
    SessionRecord,
)
from salon.testing.avatar.animation import decode

CONNECTION = "conn-1"
REQ = "20250101000000_abcdefghijkl"
OTHER = "20250101000001_abcdefghijkl"
RATE = 16_000
MAX_POLLS = 20_000


def pcm(seconds: float, rate: int = RATE, *, loud: float = 9000.0) -> bytes:
    """PCM that grows louder and softer."""
    at = np.arange(int(rate * seconds)) / rate
    wave = loud * np.sin(2 * np.pi * 180 * at) * (1 + np.sin(2 * np.pi * 2 * at)) / 2
    return wave.astype("<i2").tobytes()


def configure(sample_rate: int = RATE, **fields: object) -> bytes:
    """`ClientConfigureSession`."""
    said = pb.ClientConfigureSession(sample_rate=sample_rate, **fields)  # type: ignore[arg-type]
    message = pb.Message(type=pb.MESSAGE_CLIENT_CONFIGURE_SESSION, client_configure_session=said)
    return message.SerializeToString()


def audio(sound: bytes = b"", req_id: str = REQ, *, end: bool = False) -> bytes:
    """`ClientAudioInput`."""
    said = pb.ClientAudioInput(req_id=req_id, audio=sound, end=end)
    message = pb.Message(type=pb.MESSAGE_CLIENT_AUDIO_INPUT, client_audio_input=said)
    return message.SerializeToString()


def interrupt(req_id: str = REQ) -> bytes:
    """`ClientInterrupt`."""
    said = pb.ClientInterrupt(req_id=req_id)
    return pb.Message(type=pb.MESSAGE_CLIENT_INTERRUPT, client_interrupt=said).SerializeToString()


def pause(req_id: str = REQ) -> bytes:
    """`ClientPause`."""
    said = pb.ClientPause(req_id=req_id)
    return pb.Message(type=pb.MESSAGE_CLIENT_PAUSE, client_pause=said).SerializeToString()


def resume(req_id: str = REQ) -> bytes:
    """`ClientResume`."""
    said = pb.ClientResume(req_id=req_id)
    return pb.Message(type=pb.MESSAGE_CLIENT_RESUME, client_resume=said).SerializeToString()


class Peer:
    """A client in memory. `now` is the time; what the server sends is in `sent`, as bytes."""

    def __init__(
        self,
        settings: AvatarSettings | None = None,
        faults: Faults | None = None,
        *,
        full: bool = False,
    ) -> None:
        self.now = 0.0
        self.record = SessionRecord(CONNECTION, APP_ID, AVATAR_ID, 0.0)
        self.faults = faults or Faults()
        self.server = AvatarServerSession(
            self.record, settings or AvatarSettings(), self.faults, 0.0, full=full
        )
        self.sent: list[bytes] = []
        self.texts: list[str] = []
        self.closed: Close | None = None
        self.dropped = False

    def take(self, actions: list[Send | SendText | Close | Drop]) -> None:
        """Carry out actions."""
        for action in actions:
            if isinstance(action, Send):
                self.sent.append(action.data)
            elif isinstance(action, SendText):
                self.texts.append(action.text)
            elif isinstance(action, Close):
                self.closed = action
            else:
                self.dropped = True

    def say(self, data: bytes) -> None:
        """A binary message to the server."""
        self.take(self.server.receive(data, self.now))

    def work(self, until: float | None = None) -> None:
        """Let the server do what is due until it has nothing to do, or until a time."""
        for _ in range(MAX_POLLS):
            at = self.server.wake_at()
            if at is None or (until is not None and at > until):
                break
            self.now = max(self.now, at)
            self.take(self.server.poll(self.now))
        else:
            raise AssertionError("the server does not come to rest")
        if until is not None:
            self.now = max(self.now, until)

    def messages(self) -> list[pb.Message]:
        """What the server sent."""
        return [pb.Message.FromString(data) for data in self.sent]

    def errors(self) -> list[pb.ServerError]:
        """Its errors."""
        return [one.server_error for one in self.messages() if one.type == pb.MESSAGE_SERVER_ERROR]

    def answers(self) -> list[animation_pb2.AnimationResponse]:
        """Its animation messages."""
        kind = pb.MESSAGE_SERVER_RESPONSE_ANIMATION
        return [decode(data) for data in self.sent if pb.Message.FromString(data).type == kind]

    def keyframes(self, req_id: str = REQ) -> list[bytes]:
        """The keyframes of a request, each as bytes."""
        return [
            flame.SerializeToString()
            for one in self.answers()
            if one.req_id == req_id
            for flame in one.animation.keyframes
        ]

    def ends(self, req_id: str = REQ) -> int:
        """How often its end was said."""
        return sum(one.end for one in self.answers() if one.req_id == req_id)


def started(
    settings: AvatarSettings | None = None, faults: Faults | None = None, **fields: object
) -> Peer:
    """A session that was confirmed; the confirmation is taken out of `sent`."""
    peer = Peer(settings, faults)
    peer.say(configure(**fields))  # type: ignore[arg-type]
    assert peer.messages()[0].server_confirm_session.connection_id == CONNECTION
    peer.sent.clear()
    return peer
