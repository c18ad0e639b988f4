"""The rules of a session, bytes in and facts out: the handshake's answer, the ids of requests,
what each message means (chapters 4 to 8). No sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from salon.clients.avatarkit.classification import EXPECTED_BINARY, INVALID_PAYLOAD
from salon.clients.avatarkit.errors import PHASE_HANDSHAKE, PHASE_RUNTIME, AvatarSDKError
from salon.clients.avatarkit.failures import protocol_error, server_failure
from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.clients.avatarkit.wire import Undecodable, decode


@dataclass(frozen=True, slots=True)
class Frames:
    """Animation: the message as it came, unchanged (A29, A51)."""

    payload: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Something to tell the owner; the session goes on (A64, A66)."""

    error: AvatarSDKError


def confirmed_id(answer: str | bytes) -> str:
    """The connection's id in the first message of the server; else the `AvatarSDKError` of A39."""
    if isinstance(answer, str):
        raise _handshake_error(EXPECTED_BINARY)
    try:
        message = decode(answer)
    except Undecodable as error:
        raise _handshake_error(f"{INVALID_PAYLOAD} ({error})") from None
    if message.type == pb.MESSAGE_SERVER_ERROR:
        raise _server_failure(message.server_error, PHASE_HANDSHAKE)
    if message.type != pb.MESSAGE_SERVER_CONFIRM_SESSION:
        raise _handshake_error(f"Unexpected message during handshake: type={message.type}")
    if not message.server_confirm_session.connection_id:
        raise _handshake_error(
            "Handshake succeeded but server_confirm_session.connection_id is empty"
        )
    return message.server_confirm_session.connection_id


def received(payload: bytes) -> Frames | Failure | None:
    """What a binary message in a running session means; None for nothing (A51, A64, A66)."""
    try:
        message = decode(payload)
    except Undecodable as error:
        return Failure(protocol_error(f"Failed to decode message: {error}", PHASE_RUNTIME))
    if message.type == pb.MESSAGE_SERVER_RESPONSE_ANIMATION:
        return Frames(payload, message.server_response_animation.end)
    if message.type == pb.MESSAGE_SERVER_ERROR:
        return Failure(_server_failure(message.server_error, PHASE_RUNTIME))
    return None


class Requests:
    """Which request sound belongs to (A42, A43, A57)."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.current: str | None = None
        """The request that still takes sound."""
        self.newest: str | None = None
        """The one last begun; stays after its end (A43)."""

    def take(self) -> str:
        """The id for the next piece of sound: the current one, or a new one."""
        if self.current is None:
            self.current = self.newest = self._new_id()
        return self.current

    def ended(self, req_id: str) -> None:
        """No more sound for this request."""
        if self.current == req_id:
            self.current = None

    def interrupt(self) -> str:
        """The id to interrupt; the next sound begins a new request. `ValueError` without any."""
        if self.newest is None:
            raise ValueError("interrupt: no request to interrupt")
        self.current = None
        return self.newest

    def forget(self) -> None:
        """A new connection knows none of the former's requests (A92)."""
        self.current = self.newest = None


def _handshake_error(message: str) -> AvatarSDKError:
    return protocol_error(message, PHASE_HANDSHAKE)


def _server_failure(error: pb.ServerError, phase: str) -> AvatarSDKError:
    return server_failure(phase, error.code, error.message, error.connection_id, error.req_id)
