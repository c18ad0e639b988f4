"""Recordings of streams (O88-O90). Whatever the state of the client: a key is all they need."""

from __future__ import annotations

from salon.clients.odyssey.broker import Broker, path_part
from salon.clients.odyssey.errors import ApiKeyError, OdysseyError, RequestError, UnreachableError
from salon.clients.odyssey.replies import Reply
from salon.clients.odyssey.types import Recording, StreamRecordingsList


async def get_recording(broker: Broker, stream_id: str) -> Recording:
    """The files of a stream. `ValueError` if there is none of that id or it is somebody else's,
    `ConnectionError` for any other failure."""
    reply = await broker.request("GET", f"/recordings/{path_part(stream_id, 'stream_id')}")
    if reply.status == 404:
        raise RequestError("Recording not found", status=404)
    if not reply.ok:
        raise _refusal(reply, "Failed to get recording")
    return Recording.from_dict(reply.body)


async def list_stream_recordings(
    broker: Broker, *, limit: int | None = None, offset: int | None = None
) -> StreamRecordingsList:
    """A page of the caller's streams, newest first; what is None is left to the service (O90).
    `ValueError` if the key does not allow it, `KeyError` for a reply without what it must have
    (O89), `ConnectionError` for any other failure."""
    given = {"limit": limit, "offset": offset}
    params = {name: str(value) for name, value in given.items() if value is not None}
    reply = await broker.request("GET", "/stream-recordings", params=params)
    if not reply.ok:
        raise _refusal(reply, "Failed to list stream recordings")
    return StreamRecordingsList.from_dict(reply.body)


def _refusal(reply: Reply, what: str) -> OdysseyError:
    if reply.status == 401:
        return ApiKeyError("Not authorized", status=401)
    return UnreachableError(f"{what}: {reply.line}", status=reply.status)
