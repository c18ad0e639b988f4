"""Calls to the HTTP interface against a real server (O11-O25)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.unit.clients.odyssey.service import KEY, Answer, Asked, Service, broker, jwt, serving
from tests.unit.clients.server import SteppedClock

from salon.clients.odyssey.broker import Broker, path_part
from salon.clients.odyssey.config import ClientConfig
from salon.clients.odyssey.credentials import ClientCredentials
from salon.clients.odyssey.errors import (
    ApiKeyError,
    DeniedError,
    InvalidReplyError,
    MissingApiKeyError,
    MonthlyLimitReachedError,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyUsageError,
    RateLimitError,
    RequestError,
    UnreachableError,
)

GRANT = {"session_id": "s-1", "signalling_url": "ws://host/x", "capabilities": {}}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        made.on("GET", "/regions", Answer(404))
        made.on("POST", "/sessions/request", Answer(200, GRANT))
        made.on("POST", "/sessions/token", Answer(200, {"session_token": "st", "expires_in": 300}))
        yield made


async def never(_: float) -> None:
    """A sleep that does not end by itself."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("ending", ["", "/", "//"])
async def test_O11_a_slash_at_the_end_of_the_address_is_not_doubled(
    service: Service, ending: str
) -> None:
    made = Broker(ClientConfig(KEY, api_url=service.url + ending))
    await made.access_token()
    assert service.paths() == ["POST /auth/token"]


async def test_O12_the_reply_spells_signalling_with_two_l(service: Service) -> None:
    async with broker(service) as made:
        grant = await made.request_session()
        assert (grant.session_id, grant.signaling_url) == ("s-1", "ws://host/x")
        service.on(
            "POST", "/sessions/request", Answer(200, {"session_id": "s", "signaling_url": "ws://h"})
        )
        with pytest.raises(ValueError, match="missing session_id or signalling_url"):
            await made.request_session()


async def test_O13_the_key_goes_in_the_body_and_the_token_in_a_header(service: Service) -> None:
    async with broker(service) as made:
        assert await made.access_token() == "at-1"
        asked = service.last()
        assert asked.body == {"api_key": KEY}
        assert "Authorization" not in asked.headers
        await made.session_token("s-1")
        assert service.last().headers["Authorization"] == "Bearer at-1"


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (401, {"detail": "whatever"}, ValueError, "Invalid API key"),
        (403, {"detail": "API key has been suspended"}, ValueError, "API key has been suspended"),
        (403, {"detail": {"a": 1}}, ValueError, "API key access denied"),
        (403, None, ValueError, "API key access denied"),
        (422, {"detail": [{"loc": ["body"]}]}, ValueError, "Invalid API key format"),
        (422, {"detail": "too short"}, ValueError, "Invalid API key format: too short"),
        (
            500,
            {"detail": "x"},
            ConnectionError,
            "Authentication failed: 500 Internal Server Error",
        ),
        (404, None, ConnectionError, "Authentication failed: 404 Not Found"),
        (200, {"expires_in": 5}, ValueError, "Invalid auth response: missing access_token"),
        (200, [1], ValueError, "Invalid auth response: missing access_token"),
        (200, {"access_token": 5}, ValueError, "Invalid auth response: missing access_token"),
        (200, b"<html>", ValueError, "Invalid auth response: missing access_token"),
    ],
)
async def test_O13_each_failure_of_authentication_has_its_class_and_text(
    service: Service, status: int, body: Any, kind: type[Exception], text: str
) -> None:
    service.on("POST", "/auth/token", Answer(status, body))
    async with broker(service) as made:
        with pytest.raises(kind) as caught:
            await made.access_token()
    assert caught.value.args[0] == text
    other = ConnectionError if kind is ValueError else ValueError
    assert not isinstance(caught.value, other)


@pytest.mark.parametrize("status", [401, 403, 422])
async def test_D10_the_class_of_a_refused_key_follows_from_the_status(
    service: Service, status: int
) -> None:
    service.on("POST", "/auth/token", Answer(status, {"detail": "suspended"}))
    async with broker(service) as made:
        with pytest.raises(OdysseyAuthError) as caught:
            await made.request_session()
    assert caught.value.status == status


async def test_D10_words_in_the_text_do_not_choose_the_class(service: Service) -> None:
    service.on("POST", "/auth/token", Answer(200, {}))
    async with broker(service) as made:
        with pytest.raises(OdysseyConnectionError, match="Invalid auth response") as caught:
            await made.request_session()
    assert not isinstance(caught.value, OdysseyAuthError)


@pytest.mark.parametrize("key", ["", "   "])
async def test_O7_without_a_key_nothing_is_sent(service: Service, key: str) -> None:
    async with broker(service, key=key) as made:
        with pytest.raises(ValueError, match=r"^api_key is required for this operation") as caught:
            await made.request_session()
        assert isinstance(caught.value, MissingApiKeyError)
        assert isinstance(caught.value, OdysseyConnectionError)  # O72
        assert not service.asked


@pytest.mark.parametrize(
    ("reply", "lasts"),
    [
        ({"expires_in": 200}, 140),
        ({}, 3540),
        ({"expires_in": "soon"}, 3540),
        ({"expires_in": True}, 3540),
        ({"expires_in": float("inf")}, 3540),
        ({"expires_in": float("nan")}, 3540),
        ({"expires_in": 10**400}, 3540),
        ({"expires_in": 90.5}, 30.5),
    ],
)
async def test_O14_a_token_is_used_until_a_minute_before_its_end(
    service: Service, reply: dict[str, Any], lasts: float
) -> None:
    clock = SteppedClock()
    service.on("POST", "/auth/token", Answer(200, {"access_token": "at-1", **reply}))
    async with broker(service, clock=clock) as made:
        await made.access_token()
        clock.now_s += lasts - 0.1
        await made.access_token()
        assert len(service.asked) == 1
        clock.now_s += 0.1
        await made.access_token()
        assert len(service.asked) == 2


async def test_O14_a_token_of_less_than_a_minute_is_asked_for_each_time(service: Service) -> None:
    service.on("POST", "/auth/token", Answer(200, {"access_token": "at", "expires_in": 60}))
    async with broker(service, clock=SteppedClock()) as made:
        await made.access_token()
        await made.access_token()
    assert service.paths() == ["POST /auth/token"] * 2


async def test_O14_calls_at_the_same_time_share_one_request(service: Service) -> None:
    async with broker(service) as made:
        tokens = await asyncio.gather(*(made.access_token() for _ in range(5)))
    assert tokens == ["at-1"] * 5
    assert len(service.asked) == 1


async def test_O14_a_token_that_is_refused_is_not_used_again(service: Service) -> None:
    service.on("POST", "/sessions/token", Answer(401))
    async with broker(service) as made:
        with pytest.raises(DeniedError):
            await made.session_token("s-1")
        with pytest.raises(DeniedError):
            await made.session_token("s-1")
    assert service.paths() == ["POST /auth/token", "POST /sessions/token"] * 2


async def test_O15_order_of_the_calls_and_two_tokens_for_one_session(service: Service) -> None:
    service.on("GET", "/regions", Answer(200, {"regions": []}))
    async with broker(service) as made:
        grant = await made.request_session()
        await made.session_token(grant.session_id)
        await made.session_token(grant.session_id)
    assert service.paths() == [
        "POST /auth/token",
        "GET /regions",
        "POST /sessions/request",
        "POST /sessions/token",
        "POST /sessions/token",
    ]
    assert service.asked[3].body == {"session_id": "s-1"}


def offering(service: Service, *names: str) -> Answer:
    regions = [{"id": name, "ping_url": f"{service.url}/ping/{name}"} for name in names]
    return Answer(200, {"regions": regions})


async def test_O16_every_region_is_timed_in_whole_milliseconds(service: Service) -> None:
    clock = SteppedClock()

    def slowly(_: Asked) -> Answer:
        clock.now_s += 0.0427
        return Answer(204)

    service.on("GET", "/regions", offering(service, "eu"))
    service.on("GET", "/ping/eu", slowly)
    async with broker(service, clock=clock, sleep=never) as made:
        await made.request_session()
    assert service.last().body == {"region_latencies": {"eu": 42}}
    ping = next(asked for asked in service.asked if asked.path == "/ping/eu")
    assert "Authorization" not in ping.headers


async def test_O16_a_region_that_does_not_answer_in_a_second_counts_9999(service: Service) -> None:
    async def hold_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await over.wait()
        writer.close()

    async def noted(_: Any, __: Any, ended: aiohttp.TraceRequestEndParams) -> None:
        if ended.url.path == "/ping/eu":
            answered.set()

    async def until_the_others_are_done(seconds: float) -> None:
        naps.append(seconds)
        await connected.wait()
        await answered.wait()

    connected, answered, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    naps: list[float] = []
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(noted)
    silent = await asyncio.start_server(hold_on, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        regions = [
            {"id": "eu", "ping_url": f"{service.url}/ping/eu"},
            {"id": "us", "ping_url": f"http://127.0.0.1:{port}/ping"},
            {"id": "gone", "ping_url": f"{service.url}/ping/gone"},
            {"id": "none"},
            {"id": "odd", "ping_url": "file:///etc/hostname"},
            {"ping_url": "http://127.0.0.1/"},
            "noise",
        ]
        service.on("GET", "/regions", Answer(200, {"regions": regions}))
        service.on("GET", "/ping/eu", Answer(200))
        async with aiohttp.ClientSession(trace_configs=[trace]) as http:
            config = ClientConfig(KEY, api_url=service.url)
            made = Broker(config, sleep=until_the_others_are_done, http=http)
            found = await made.region_latencies()
        over.set()
    assert naps == [1.0]
    assert found.pop("eu") < 9999
    assert found == {"us": 9999, "gone": 9999, "none": 9999, "odd": 9999}


async def test_O16_pings_run_at_the_same_time(service: Service) -> None:
    """The first ping is answered only when the second one has come."""
    arrived: list[asyncio.StreamWriter] = []

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.append(writer)
        if len(arrived) == 2:
            for each in arrived:
                each.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(both, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        listed = [{"id": name, "ping_url": f"http://127.0.0.1:{port}/"} for name in ("a", "b")]
        service.on("GET", "/regions", Answer(200, {"regions": listed}))
        async with broker(service, sleep=never) as made:
            found = await asyncio.wait_for(made.region_latencies(), 20)
        for writer in arrived:
            writer.close()
    assert all(value < 9999 for value in found.values())
    assert set(found) == {"a", "b"}


async def test_O16_the_map_is_asked_for_once(service: Service) -> None:
    service.on("GET", "/regions", offering(service, "eu"))
    service.on("GET", "/ping/eu", Answer(200))
    async with broker(service, sleep=never) as made:
        await made.request_session()
        await made.request_session()
    assert service.paths().count("GET /regions") == 1
    bodies = [asked.body for asked in service.asked if asked.path == "/sessions/request"]
    assert bodies[0] == bodies[1] != {}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(500),
        Answer(200, {"regions": []}),
        Answer(200, {"regions": "eu"}),
        Answer(200, [1]),
        Answer(200, b"not json"),
    ],
)
async def test_O16_without_regions_the_request_is_an_empty_object(
    service: Service, answer: Answer
) -> None:
    service.on("GET", "/regions", answer)
    async with broker(service, sleep=never) as made:
        assert (await made.request_session()).session_id == "s-1"
    assert service.last().body == {}


async def test_O17_503_is_asked_again_every_second(service: Service) -> None:
    clock = SteppedClock()
    service.on("POST", "/sessions/request", Answer(503), Answer(503), Answer(200, GRANT))
    async with broker(service, clock=clock) as made:
        assert (await made.request_session()).session_id == "s-1"
    assert clock.naps == [1.0, 1.0]


async def test_O17_waiting_for_a_streamer_has_an_end(service: Service) -> None:
    clock = SteppedClock()
    service.on("POST", "/sessions/request", Answer(503))
    async with broker(service, clock=clock, queue_timeout_s=4) as made:
        with pytest.raises(ConnectionError) as caught:
            await made.request_session()
    assert caught.value.args[0] == "Timed out waiting for a streamer (4s)"
    assert isinstance(caught.value, OdysseyConnectionError)
    assert clock.naps == [1.0] * 4
    assert service.paths().count("POST /sessions/request") == 5


@pytest.mark.parametrize("patience", [0, -1])
async def test_O17_without_patience_the_first_503_is_the_end(
    service: Service, patience: int
) -> None:
    clock = SteppedClock()
    service.on("POST", "/sessions/request", Answer(503))
    async with broker(service, clock=clock, queue_timeout_s=patience) as made:
        with pytest.raises(ConnectionError) as caught:
            await made.request_session()
    assert caught.value.args[0] == "No streamers available. Please try again later."
    assert clock.naps == []


async def test_O17_a_token_that_ends_while_waiting_is_renewed(service: Service) -> None:
    clock = SteppedClock()
    service.on("POST", "/auth/token", Answer(200, {"access_token": "at", "expires_in": 62}))
    service.on("POST", "/sessions/request", *[Answer(503)] * 3, Answer(200, GRANT))
    async with broker(service, clock=clock) as made:
        await made.request_session()
    assert service.paths().count("POST /auth/token") == 2


async def test_O17_closing_ends_the_wait(service: Service) -> None:
    service.on("POST", "/sessions/request", Answer(503))
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await go_on.wait()

    async with broker(service, sleep=sleep) as made:
        task = asyncio.create_task(made.request_session())
        await waiting.wait()
        await made.close()
        go_on.set()
        with pytest.raises(OdysseyConnectionError, match="closed"):
            await task
        assert await made.access_token() == "at-1"


LIMIT = {"error": "MONTHLY_LIMIT_REACHED", "message": "Used up", "action": "upgrade"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"detail": LIMIT}, MonthlyLimitReachedError),
        (LIMIT, MonthlyLimitReachedError),
        ({"detail": {**LIMIT, "error": None, "code": "RATE_LIMITED"}}, RateLimitError),
        ({"detail": {"message": "m", "action": "a"}}, OdysseyUsageError),
    ],
)
async def test_O18_429_with_message_and_action_is_a_usage_error(
    service: Service, body: Any, kind: type[OdysseyUsageError]
) -> None:
    service.on("POST", "/sessions/request", Answer(429, body))
    async with broker(service) as made:
        with pytest.raises(OdysseyUsageError) as caught:
            await made.request_session()
    assert type(caught.value) is kind
    assert caught.value.status == 429


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": "Slow down"}, "Slow down"),
        ({"detail": {"message": "no action"}}, "Request limit exceeded"),
        ({"detail": None}, "Request limit exceeded"),
        (None, "Request limit exceeded"),
        (b"<html>", "Request limit exceeded"),
    ],
)
async def test_O18_any_other_429_is_a_value_error(service: Service, body: Any, text: str) -> None:
    service.on("POST", "/sessions/request", Answer(429, body))
    async with broker(service) as made:
        with pytest.raises(ValueError, match=f"^{text}$") as caught:
            await made.request_session()
    assert isinstance(caught.value, OdysseyConnectionError)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "API request failed: 500 Internal Server Error", UnreachableError),
        (404, "API request failed: 404 Not Found", UnreachableError),
        (401, "API request failed: 401 Unauthorized", OdysseyAuthError),
        (403, "API request failed: 403 Forbidden", OdysseyAuthError),
    ],
)
async def test_O19_other_failures_are_connection_errors(
    service: Service, status: int, text: str, kind: type[Exception]
) -> None:
    service.on("POST", "/sessions/request", Answer(status))
    async with broker(service) as made:
        with pytest.raises(ConnectionError) as caught:
            await made.request_session()
    assert caught.value.args[0] == text
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    "body",
    [{"session_id": "s"}, {"signalling_url": "ws://h"}, {**GRANT, "session_id": ""}, None, b"x"],
)
async def test_O19_a_grant_needs_id_and_address(service: Service, body: Any) -> None:
    service.on("POST", "/sessions/request", Answer(200, body))
    async with broker(service) as made:
        with pytest.raises(ValueError, match="Invalid API response: missing session_id or"):
            await made.request_session()


@pytest.mark.parametrize(
    ("given", "capable", "stated"),
    [
        ({"image_to_video": True}, True, True),
        ({"image_to_video": False}, False, True),
        ({"image_to_video": 1}, False, False),
        ({"image_to_video": "true"}, False, False),
        ({}, False, False),
        (None, False, False),
        ("image_to_video", False, False),
    ],
)
async def test_O20_capabilities_that_say_nothing_clear_count_as_none(
    service: Service, given: Any, capable: bool, stated: bool
) -> None:
    reply = {**GRANT, "capabilities": given, "streamer_id": "x", "model": "y", "region": "z"}
    service.on("POST", "/sessions/request", Answer(201, reply))
    async with broker(service) as made:
        found = (await made.request_session()).capabilities
    assert found.image_to_video is capable
    assert found.stated is stated


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Answer(404), ValueError, "Session not found or not authorized"),
        (
            Answer(500),
            ConnectionError,
            "Failed to get session token: 500 Internal Server Error",
        ),
        (Answer(403), ConnectionError, "Failed to get session token: 403 Forbidden"),
        (Answer(200, {}), ValueError, "Invalid session token response"),
        (Answer(200, {"session_token": 4}), ValueError, "Invalid session token response"),
    ],
)
async def test_O21_failures_of_the_session_token(
    service: Service, answer: Answer, kind: type[Exception], text: str
) -> None:
    service.on("POST", "/sessions/token", answer)
    async with broker(service) as made:
        with pytest.raises(kind) as caught:
            await made.session_token("s-1")
    assert caught.value.args[0] == text


async def test_O21_a_session_token_lasts_ten_minutes_unless_it_says_so(service: Service) -> None:
    async with broker(service) as made:
        token = await made.session_token("s-1")
        assert (token.value, token.expires_in) == ("st", 300)
        assert "st" not in repr(token).replace("SessionToken", "").replace("expires_in", "")
        service.on("POST", "/sessions/token", Answer(200, {"session_token": "st"}))
        assert (await made.session_token("s-1")).expires_in == 600


@pytest.mark.parametrize("padded", [False, True])
async def test_O22_the_token_names_its_session(service: Service, padded: bool) -> None:
    token = jwt({"session_id": "s-Ü?1", "exp": 1}, padded=padded)
    service.on("POST", "/sessions/token", Answer(200, {"session_token": token}))
    async with broker(service) as made:
        found = await made.session_token("s-Ü?1")
    assert ClientCredentials("ws://h", found.value, found.expires_in).session_id == "s-Ü?1"


async def test_O25_nobody_there_is_a_connection_error() -> None:
    async with serving() as service:
        url = service.url
    made = Broker(ClientConfig(KEY, api_url=url))
    with pytest.raises(ConnectionError) as caught:
        await made.access_token()
    assert isinstance(caught.value, UnreachableError)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["nowhere", "file:///etc", "http://", "http://[::1", "http://h:x"])
async def test_O25_an_address_that_is_none_is_a_connection_error(url: str) -> None:
    with pytest.raises(UnreachableError):
        await Broker(ClientConfig(KEY, api_url=url)).access_token()


async def test_O25_silence_is_a_connection_error(service: Service) -> None:
    async def hold_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    over = asyncio.Event()
    silent = await asyncio.start_server(hold_on, "127.0.0.1", 0)
    async with silent:
        service.on(
            "GET",
            "/elsewhere",
            Answer(
                307, headers={"Location": f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"}
            ),
        )
        async with broker(service) as made:
            with pytest.raises(UnreachableError, match=r"no answer in 0\.05 s"):
                await made.request("GET", "/elsewhere", timeout_s=0.05)
        over.set()


async def test_O25_an_endless_reply_is_refused(service: Service) -> None:
    service.on("GET", "/huge", Answer(200, b" " * (16 * 1024 * 1024 + 1)))
    async with broker(service) as made:
        with pytest.raises(InvalidReplyError, match="longer than"):
            await made.request("GET", "/huge")


async def test_D14_query_values_and_ids_are_encoded(service: Service) -> None:
    async with broker(service) as made:
        await made.request("GET", "/x", params={"a": "b&c=d/ü #"})
        assert service.last().path == "/x?a=b%26c%3Dd%2F%C3%BC+%23"
        await made.request("GET", f"/x/{path_part('../a?b#c', 'id')}")
        assert service.last().path == "/x/..%2Fa%3Fb%23c"
    for wrong in ("", " ", ".", ".."):
        with pytest.raises(RequestError):
            path_part(wrong, "id")


async def test_D13_no_connection_outlives_a_call(service: Service) -> None:
    async with broker(service) as made:
        async with made.hold() as http:
            await made.request_session()
            assert not http.closed
        assert http.closed
        await made.session_token("s-1")
        async with made.hold() as other:
            assert other is not http
            await made.close()
        assert other.closed


async def test_D13_a_session_of_the_caller_is_left_open(service: Service) -> None:
    async with broker(service) as other, other.hold() as http:
        made = Broker(ClientConfig(KEY, api_url=service.url), http=http)
        await made.access_token()
        await made.close()
        assert not http.closed


def test_D13_a_client_works_in_one_event_loop_after_another() -> None:
    config = ClientConfig(KEY)
    made = Broker(config)

    async def once() -> None:
        async with serving() as service:
            config.api_url = service.url
            await asyncio.gather(made.session_token("a"), made.session_token("b"))

    for _ in range(2):
        with pytest.raises(InvalidReplyError, match="Session not found"):
            asyncio.run(once())


async def test_O13_a_key_refused_later_is_still_a_value_error(service: Service) -> None:
    service.on("POST", "/auth/token", Answer(401))
    async with broker(service) as made:
        with pytest.raises(ApiKeyError):
            await made.request("GET", "/stream-recordings")
