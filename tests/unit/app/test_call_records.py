"""Call records on their way out: folder, web service, object store (G218)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from stat import S_IMODE
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salon.app import call_record_sinks as sinks
from salon.app import call_records as queues
from salon.app import multipart
from salon.app.call_record_sinks import (
    HttpSink,
    LocalSink,
    RecordTarget,
    S3Sink,
    SinkError,
    record_name,
)
from salon.app.call_records import CallRecordQueue
from salon.app.multipart import read_pieces
from salon.app.s3_signing import Signer, hash_of_file, object_url
from salon.base import ConfigurationError, MissingExtraError
from salon.gateway import Session
from salon.gateway.call_record import EndedCall
from salon.testing import VirtualClock

AT = 1_767_600_000.0


def ended(call_id: str = "a", **files: Any) -> EndedCall:
    return EndedCall(call_id, AT, {"callId": call_id, "caller": "ünd"}, **files)


# -- a folder -------------------------------------------------------------------------------------


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
async def test_G218_local_files_by_day_in_local_time(tmp_path: Path) -> None:
    await LocalSink(tmp_path / "cdr").put(ended())
    path = tmp_path / "cdr" / "20260105" / "20260105-090000_a.json"
    assert json.loads(path.read_text("utf-8")) == ended().record
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert S_IMODE(path.stat().st_mode) == 0o600
    assert S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_records_of_one_id_and_second_are_both_kept(tmp_path: Path) -> None:
    sink = LocalSink(tmp_path)
    await asyncio.gather(*(sink.put(ended()) for _ in range(5)))
    await sink.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 5
    assert all(json.loads(file.read_text("utf-8")) for file in files)


@pytest.mark.parametrize("call_id", ["../../x", "/etc/x", "a/b", "..", "x" * 300])
async def test_ids_do_not_become_paths(tmp_path: Path, call_id: str) -> None:
    root = tmp_path / "deep" / "cdr"
    await LocalSink(root).put(ended(call_id))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.parent.parent == root


async def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cdr").write_text("")
    with pytest.raises(SinkError, match="not written"):
        await LocalSink(tmp_path / "cdr").put(ended())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SinkError, match="No space left"):
        await LocalSink(tmp_path / "other").put(ended())
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


# -- over HTTP ------------------------------------------------------------------------------------


@dataclass
class Request:
    method: str
    path: str
    headers: Message
    body: bytes


@dataclass
class Service:
    """A web server that takes what it is sent; `answers` are its next ones, 200 after them."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, _, rest = head.partition(b"\r\n")
                method, path, _ = first.decode().split(" ")
                headers = message_from_bytes(rest)
                assert "transfer-encoding" not in headers
                body = await reader.readexactly(int(headers["content-length"]))
                self.seen.append(Request(method, path, headers, body))
                status = self.answers.pop(0) if self.answers else 200
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def a_service(*answers: int) -> AsyncIterator[Service]:
    service = Service(answers=list(answers))
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield service


def form(request: Request) -> dict[str, tuple[str | None, bytes]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    found = {}
    for part in cast("list[Message]", message_from_bytes(head + request.body).get_payload()):
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename(), cast(bytes, part.get_payload(decode=True)))
    return found


@pytest.fixture
def with_files(tmp_path: Path) -> EndedCall:
    media, events = tmp_path / "a b.wav", tmp_path / "a.events.jsonl"
    media.write_bytes(bytes(range(256)) * 3000)
    events.write_text("{}\n")
    return ended('a"x', media=(('a"x', media),), events=events)


async def test_G218_a_form_with_the_record_only(with_files: EndedCall) -> None:
    async with a_service() as service:
        sink = HttpSink(f"{service.url}/cdr", {"X-Key": "k"})
        await sink.put(with_files)
        await sink.close()
        await sink.close()
    (request,) = service.seen
    assert (request.method, request.path, request.headers["x-key"]) == ("POST", "/cdr", "k")
    parts = form(request)
    assert list(parts) == ["calllog.json"]
    assert json.loads(parts["calllog.json"][1]) == with_files.record


@pytest.mark.parametrize("keep", [True, False])
async def test_G218_a_form_with_the_files(with_files: EndedCall, keep: bool) -> None:
    assert with_files.events is not None
    ((_, media),) = with_files.media
    sound = media.read_bytes()
    async with a_service() as service:
        sink = HttpSink(service.url, with_media=True, keep_media_copy=keep)
        await sink.put(with_files)
        await sink.close()
    parts = form(service.seen[0])
    assert list(parts) == ["calllog.json", "media_a%22x", "dump_events_a.events.jsonl"]
    name, data = parts["media_a%22x"]
    assert name is not None
    assert re.fullmatch(r"a_b\.wav-\w+", name)
    assert data == sound
    assert parts["dump_events_a.events.jsonl"][1].strip() == b"{}"
    assert media.exists() is keep
    assert with_files.events.exists()  # a later call of this id may be writing to it


async def test_files_that_are_gone_do_not_keep_the_record(tmp_path: Path) -> None:
    async with a_service() as service:
        sink = HttpSink(service.url, with_media=True)
        await sink.put(ended(media=(("a", tmp_path / "gone.wav"),)))
        await sink.close()
    assert list(form(service.seen[0])) == ["calllog.json"]


@pytest.mark.parametrize(
    ("status", "retryable"), [(500, True), (503, True), (429, True), (400, False), (302, False)]
)
async def test_refusals(status: int, retryable: bool) -> None:
    async with a_service(status) as service:
        sink = HttpSink(f"{service.url}/?token=hidden")
        with pytest.raises(SinkError, match=str(status)) as caught:
            await sink.put(ended())
        await sink.close()
    assert caught.value.retryable is retryable
    assert "hidden" not in str(caught.value)


async def test_nobody_there() -> None:
    async with a_service() as service:
        url = service.url
    sink = HttpSink(url)
    with pytest.raises(SinkError, match="was not reached: ConnectError"):
        await sink.put(ended())
    await sink.close()


async def test_a_file_that_gets_shorter_meanwhile(
    with_files: EndedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def longer(_self: Any, _call: Any) -> list[Any]:
        return [("media_a", with_files.media[0][1], 10_000_000)]

    monkeypatch.setattr(sinks._Uploads, "_files", longer)
    async with a_service() as service:
        sink = HttpSink(service.url, with_media=True)
        with pytest.raises(SinkError, match="a file is not readable"):
            await sink.put(with_files)
        await sink.close()


async def test_a_file_that_grows_meanwhile_is_sent_as_far_as_promised(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (multipart.PIECE + 10))
    pieces = [len(piece) async for piece in read_pieces(path, multipart.PIECE + 5)]
    assert pieces == [multipart.PIECE, 5]


# -- object stores --------------------------------------------------------------------------------


def test_signatures_are_those_of_the_published_example() -> None:
    clock = VirtualClock(epoch=1_369_353_600.0)
    signer = Signer(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
        clock=clock,
    )
    url = object_url(
        "https://s3.amazonaws.com", "examplebucket", "test$file.text", path_style=False
    )
    assert url == "https://examplebucket.s3.amazonaws.com/test%24file.text"
    headers = signer.headers(
        "PUT",
        url,
        Signer.hash_of(b"Welcome to Amazon S3."),
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_usual_port_is_not_signed(scheme: str) -> None:
    port = {"http": 80, "https": 443}[scheme]
    signer = Signer("a", "s", "r", clock=VirtualClock())
    made = [
        signer.headers("PUT", f"{scheme}://h{part}/x", "d")["authorization"]
        for part in (f":{port}", "", ":9000")
    ]
    assert made[0] == made[1] != made[2]


def test_where_objects_are() -> None:
    assert object_url("http://h:9000", "b", "x/y z", path_style=True) == "http://h:9000/b/x/y%20z"
    assert object_url("https://b.oss.example/", "b", "x", path_style=False) == (
        "https://b.oss.example/x"
    )


async def test_G218_objects_of_a_call(with_files: EndedCall) -> None:
    async with a_service() as service:
        sink = S3Sink(
            Signer("key", "secret", "eu-1"),
            bucket="calls",
            endpoint=service.url,
            root="/kept/",
            with_media=True,
            keep_media_copy=False,
        )
        ((_, media),) = with_files.media
        sound = media.read_bytes()
        await sink.put(with_files)
        await sink.close()
    base = f"/calls/kept/{record_name(with_files)}"
    assert [request.method for request in service.seen] == ["PUT"] * 3
    first, second, third = service.seen
    assert first.path.startswith(f"{base}_media_a_x")
    assert first.path.endswith(".wav")
    assert first.body == sound
    assert second.path == f"{base}_dump_events_a.events.jsonl.jsonl"
    assert third.path == f"{base}.json"
    assert json.loads(third.body) == with_files.record
    for request in service.seen:
        assert request.headers["x-amz-content-sha256"] == Signer.hash_of(request.body)
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
        assert "secret" not in str(request.headers)
    assert not media.exists()


async def test_a_file_that_cannot_be_hashed(
    with_files: EndedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path, _size: int) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sinks, "hash_of_file", broken)
    sink = S3Sink(Signer("k", "s", "r"), bucket="b", endpoint="http://127.0.0.1:9", with_media=True)
    with pytest.raises(SinkError, match="Input/output error"):
        await sink.put(with_files)


def test_hash_of_the_beginning_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abcdef")
    assert hash_of_file(path, 3) == Signer.hash_of(b"abc")
    assert hash_of_file(path, 10) == Signer.hash_of(b"abcdef")


# -- the setting ----------------------------------------------------------------------------------


S3 = {"type": "s3", "bucket": "b", "access_key": "a", "secret_key": "hidden", "region": "eu-1"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("data/cdr", LocalSink),
        ("https://example.org/cdr", HttpSink),
        ('{"type": "local", "root": "x"}', LocalSink),
        ({"type": "http", "url": "http://x", "headers": {"a": "b"}, "with_media": True}, HttpSink),
        (S3, S3Sink),
        ({**S3, "vendor": "minio", "endpoint": "http://minio:9000"}, S3Sink),
    ],
)
def test_what_may_be_set(value: Any, kind: type[Any]) -> None:
    target = RecordTarget.parse(value)
    assert isinstance(target.sink(), kind)
    assert "hidden" not in repr(target)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("{", "no JSON"),
        ("", "root missing"),
        ({"type": "ftp"}, "type is"),
        ({"type": "local"}, "root missing"),
        ({"type": "http", "url": "ftp://hidden"}, "url is no"),
        ({"type": "http", "url": "http://[hidden"}, "url is no"),
        ({"type": "http", "url": "http://x", "headers": "hidden"}, "headers has the wrong type"),
        ({"type": "http", "url": "http://x", "with_media": "yes"}, "with_media"),
        ({"type": "http", "url": 1}, "url has to be text"),
        ({"type": "local", "root": "x", "rot": 1}, "unknown keys rot"),
        ({**S3, "vendor": "azure"}, "vendor is one of"),
        ({**S3, "vendor": "minio"}, "endpoint missing"),
        ({**S3, "endpoint": "hidden"}, "endpoint is no"),
        ({"type": "s3"}, "bucket, access_key, secret_key missing"),
    ],
)
def test_what_may_not_be_set(value: Any, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error) as caught:
        RecordTarget.parse(value)
    assert "hidden" not in str(caught.value)


def test_without_the_extra_for_http_only_folders_are_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda _name: None)
    assert RecordTarget.parse("cdr").sink()
    with pytest.raises(MissingExtraError, match=r"salon\[http\]"):
        RecordTarget.parse("https://example.org").sink()


def test_the_store_of_amazon_is_found_by_its_region() -> None:
    sink = RecordTarget.parse(S3).sink()
    assert isinstance(sink, S3Sink)
    assert sink._endpoint == "https://s3.eu-1.amazonaws.com"


# -- the queue ------------------------------------------------------------------------------------


class Fussy:
    """A sink that takes records as `errors` allow, one entry per attempt."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.taken: list[str] = []
        self.hold: Callable[[], Awaitable[object]] | None = None
        self.closed = False

    async def put(self, call: EndedCall) -> None:
        if self.hold is not None:
            await self.hold()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.taken.append(call.id)

    async def close(self) -> None:
        self.closed = True


class Hasty(VirtualClock):
    """Waits for nothing and notes how long."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def records_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ended_call", lambda session: session.call)


def session(call: EndedCall | None) -> Session:
    return cast(Session, SimpleNamespace(call=call))


async def test_records_go_out_in_order() -> None:
    sink = Fussy()
    queue = CallRecordQueue(sink)
    queue.put(session(ended("0")))
    await queue.start()
    for number in range(1, 5):
        queue.put(session(ended(str(number))))
        await asyncio.sleep(0)
    queue.put(session(None))
    await queue.close()
    assert sink.taken == list("01234")
    assert (queue.written, queue.spooled, queue.dropped, len(queue)) == (5, 0, 0, 0)
    assert sink.closed


async def test_what_fails_is_tried_again_and_then_put_aside(tmp_path: Path) -> None:
    later = SinkError("later")
    clock, spool = Hasty(), LocalSink(tmp_path)
    sink = Fussy(later, later, None, *[later] * 4)
    queue = CallRecordQueue(sink, spool=spool, clock=clock)
    await queue.start()
    for call_id in ("a", "b", "c"):
        queue.put(session(ended(call_id)))
    while queue.written + queue.spooled < 3:
        await asyncio.sleep(0.001)
    await queue.close()
    assert sink.taken == ["a", "c"]
    assert clock.waits == [1.0, 5.0, 1.0, 5.0, 25.0]
    (file,) = (path for path in tmp_path.rglob("*.json"))
    assert json.loads(file.read_text("utf-8"))["callId"] == "b"


async def test_G218_a_goal_that_is_away_for_long_does_not_fill_the_queue(tmp_path: Path) -> None:
    later = SinkError("later")
    clock, sink = Hasty(), Fussy(*[later] * 6)
    queue = CallRecordQueue(sink, spool=LocalSink(tmp_path), clock=clock)
    for call_id in "abcd":
        queue.put(session(ended(call_id)))
    await queue.start()
    while queue.written + queue.spooled < 4:
        await asyncio.sleep(0.001)
    assert clock.waits == [1.0, 5.0, 25.0]  # only the first is waited for
    assert sink.taken == ["d"]
    assert (queue.spooled, queue.dropped) == (3, 0)
    await queue.close()


async def test_G218_with_many_waiting_a_goal_that_is_away_is_not_asked_about_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "ENOUGH_WAIT", 2)
    later = SinkError("later")
    clock, sink = Hasty(), Fussy(*[later] * 4)
    queue = CallRecordQueue(sink, spool=LocalSink(tmp_path), clock=clock)
    for number in range(6):
        queue.put(session(ended(str(number))))
    await queue.start()
    while queue.written + queue.spooled < 6:
        await asyncio.sleep(0.001)
    assert sink.taken == ["4", "5"]
    assert (queue.spooled, queue.dropped) == (4, 0)
    await queue.close()


async def test_G218_without_a_spool_each_record_is_tried_again() -> None:
    later = SinkError("later")
    clock, sink = Hasty(), Fussy(*[later] * 5)
    queue = CallRecordQueue(sink, clock=clock)
    for call_id in "ab":
        queue.put(session(ended(call_id)))
    await queue.start()
    while queue.written + queue.dropped < 2:
        await asyncio.sleep(0.001)
    assert sink.taken == ["b"]
    assert clock.waits == [1.0, 5.0, 25.0, 1.0]
    await queue.close()


@pytest.mark.parametrize("error", [SinkError("never", retryable=False), ValueError("broken")])
async def test_what_will_never_be_taken_is_put_aside_at_once(
    tmp_path: Path, error: Exception
) -> None:
    clock = Hasty()
    queue = CallRecordQueue(Fussy(error), spool=LocalSink(tmp_path), clock=clock)
    await queue.start()
    queue.put(session(ended()))
    await queue.close()
    assert (queue.spooled, queue.dropped, clock.waits) == (1, 0, [])


async def test_what_cannot_be_put_aside_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool").write_text("")
    for spool in (None, LocalSink(tmp_path / "spool")):
        queue = CallRecordQueue(Fussy(SinkError("no", retryable=False)), spool=spool)
        await queue.start()
        queue.put(session(ended()))
        await queue.close()
        assert queue.dropped == 1
    assert caplog.text.count("the record of call a is lost") == 2


async def test_the_queue_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    queue = CallRecordQueue(Fussy(), bound=2)
    for number in range(3):
        queue.put(session(ended(str(number))))
    assert (len(queue), queue.dropped) == (2, 1)
    assert "record of call 2 is lost: too many wait" in caplog.text
    await queue.close()
    assert queue.dropped == 3
    queue.put(session(ended("late")))
    assert (len(queue), queue.dropped) == (0, 4)


async def test_a_sink_that_hangs_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "CLOSE_TIMEOUT_S", 0.01)
    sink = Fussy()
    sink.hold = asyncio.Event().wait
    queue = CallRecordQueue(sink, spool=LocalSink(tmp_path))
    await queue.start()
    for call_id in ("a", "b"):
        queue.put(session(ended(call_id)))
    await queue.close()
    assert queue.spooled == 2
    assert sink.closed


async def test_files_are_whole_before_they_go_out(tmp_path: Path) -> None:
    waited: list[int] = []

    async def settled() -> None:
        waited.append(len(sink.taken))

    sink = Fussy()
    queue = CallRecordQueue(sink, settled=settled)
    await queue.start()
    queue.put(session(ended("a")))
    queue.put(session(ended("b", events=tmp_path / "x")))
    await queue.close()
    assert waited == [1]
