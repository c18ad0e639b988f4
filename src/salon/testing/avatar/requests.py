"""The requests of one session: which is open, which wait, which are over (A46, A49, A54, A59)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from salon.testing.avatar.record import SessionRecord
from salon.testing.avatar.request import Request
from salon.testing.avatar.wire import Audio

MAX_FINISHED: Final = 1024
"""Ids remembered so that late sound for them is ignored."""

MAX_TRACEPARENT: Final = 256
"""Characters of it that are kept; those of today have 55."""


class RequestQueue:
    """Requests in the order in which they began; the first is the one being answered."""

    def __init__(self, record: SessionRecord, sample_rate: int, audio_format: int) -> None:
        self._record = record
        self._sample_rate = sample_rate
        self._audio_format = audio_format
        self._waiting: deque[Request] = deque()
        self._open: Request | None = None
        self._finished: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def head(self) -> Request | None:
        """The request being answered."""
        return self._waiting[0] if self._waiting else None

    @property
    def newest_id(self) -> str:
        """Id of the request that began last; empty before the first."""
        return next(reversed(self._record.requests), "")

    @property
    def waiting_bytes(self) -> int:
        """Sound that has not been worked on."""
        return sum(one.waiting_bytes for one in self._waiting)

    def add(self, said: Audio, now: float) -> None:
        """A piece of sound. What comes for a request that has ended is ignored; another id than
        the open request's ends that one."""
        request = self._open
        if request is None or request.req_id != said.req_id:
            if said.req_id in self._finished or self.find(said.req_id) is not None:
                return
            if request is not None:
                request.closed = True
            record = self._record.request(said.req_id, now)
            record.traceparent = said.traceparent[:MAX_TRACEPARENT]
            request = Request(record, self._sample_rate, self._audio_format, now)
            self._open = request
            self._waiting.append(request)
        request.record.audio_messages += 1
        request.record.audio_bytes += len(said.audio)
        request.add(said.audio, end=said.end)
        if said.end:
            self._open = None

    def find(self, req_id: str) -> Request | None:
        """A request that is not over."""
        return next((one for one in self._waiting if one.req_id == req_id), None)

    def finish(self, request: Request) -> None:
        """It is over: nothing more is said of it."""
        self._waiting.remove(request)
        if self._open is request:
            self._open = None
        self._finished[request.req_id] = None
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)
