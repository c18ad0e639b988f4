"""The gate: hosts, origins, credentials, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from salon.app.credentials import COOKIE, COOKIE_SECONDS, AttemptLimiter, Credentials
from salon.app.security import Asked, Gate, check_upgrade, guarded
from salon.base import BrowserPolicy, Clock
from salon.transport.sockets import Refusal, UpgradeRequest

JSON = "application/json"

Client = Callable[..., TestClient]
KEY = "a-key-of-enough-length"
FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@dataclass
class HandClock(Clock):
    now_s: float = 1000.0

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


def test_foreign_host_is_refused_on_every_path(client: Client) -> None:
    browser = client()
    for path in ("/", "/health", "/api/info", "/list", "/nothing"):
        answer = browser.get(path, headers={"Host": "rebound.example:8000"})
        assert answer.status_code == 403, path
        assert "SALON_ALLOWED_HOSTS" in answer.json()["detail"]


def test_allowed_host_is_served(client: Client) -> None:
    named = client(allowed_hosts=frozenset({"salon.example"}))
    assert named.get("/health", headers={"Host": "salon.example:9"}).status_code == 200


def test_two_host_headers_hide_nothing(client: Client) -> None:
    answer = client().get("/health", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 403


def test_foreign_origin_changes_nothing(client: Client) -> None:
    browser = client()
    with browser:
        assert browser.post("/rooms", headers=FOREIGN).status_code == 403
        assert browser.app.state.house.rooms.created == 0  # type: ignore[attr-defined]
        assert browser.post("/rooms", headers={"Origin": "http://localhost"}).status_code == 201
        assert (
            browser.post("/rooms", headers={"Origin": "http://localhost:3000"}).status_code == 403
        )
        assert browser.post("/rooms").status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        FOREIGN,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/page"},
    ],
)
def test_G201_kill_by_get_is_refused_to_foreign_pages(
    client: Client, headers: dict[str, str]
) -> None:
    browser = client()
    assert browser.get("/kill/s.1", headers=headers).status_code == 403
    assert browser.app.state.house.gateway.killed == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Referer": "http://localhost/"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_G201_kill_by_get_works_for_programs_and_our_page(
    client: Client, headers: dict[str, str]
) -> None:
    answer = client().get("/kill/s.1", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "killed", "id": "s.1"})


def test_a_foreign_page_may_link_but_not_read(client: Client) -> None:
    browser = client()
    link = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert browser.get("/", headers=link).status_code == 200
    assert browser.get("/list", headers=link).status_code == 403
    embedded = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "audio"}
    assert browser.get("/rooms/r1/recordings/x.wav", headers=embedded).status_code == 403
    assert browser.get("/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_an_allowed_origin_may_do_everything(client: Client) -> None:
    browser = client(allowed_origins=frozenset({"https://app.example"}))
    headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    answer = browser.get("/api/info", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert browser.post("/rooms", headers=headers).status_code == 201
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    assert browser.options("/rooms", headers=preflight).status_code == 200


def refused(browser: TestClient, path: str, headers: dict[str, str] | None = None) -> int:
    """The status that answers an upgrade."""
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        browser.websocket_connect(f"ws://localhost{path}", headers=headers or {}),
    ):
        raise AssertionError(path)
    return denied.value.status_code


def test_foreign_origin_opens_no_socket(client: Client) -> None:
    browser = client()
    with browser:
        for path in ("/ws/r1", "/ws", "/call"):
            assert refused(browser, path, FOREIGN) == 403
        own = {"Origin": "http://localhost"}
        with browser.websocket_connect("ws://localhost/ws/r1", headers=own) as ok:
            assert ok.receive_json()["type"] == "hello"


def test_without_a_key_other_machines_get_nothing(client: Client) -> None:
    assert client(address="192.168.1.9").get("/health").status_code == 403
    proxied = client().get("/health", headers={"X-Forwarded-For": "203.0.113.5"})
    assert proxied.status_code == 403


def test_with_a_key_everything_but_the_page_needs_it(client: Client) -> None:
    browser = client(address="192.168.1.9", api_key=KEY)
    for path in ("/list", "/metrics", "/openapi.json", "/kill/s.1", "/rooms/r1", "/nothing"):
        answer = browser.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/health", "/api/info"):
        assert browser.get(path).status_code == 200, path
    assert browser.get("/list", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert browser.get("/list", headers={"X-API-Key": KEY}).status_code == 200
    assert browser.get("/list", headers={"X-API-Key": KEY + "x"}).status_code == 401


def test_with_a_key_sockets_need_it(client: Client) -> None:
    browser = client(api_key=KEY)
    with browser:
        assert refused(browser, "/ws/r1") == 401
        with browser.websocket_connect(
            "ws://localhost/ws/r1", headers={"X-API-Key": KEY}
        ) as socket:
            assert socket.receive_json()["room_id"] == "r1"


def test_info_tells_no_details_before_login(client: Client) -> None:
    browser = client(api_key=KEY)
    assert set(browser.get("/api/info").json()) == {"name", "version", "auth"}
    assert browser.get("/api/info").json()["auth"] == "required"
    assert browser.get("/api/info", headers={"X-API-Key": KEY}).json()["auth"] == "ok"


def test_login_gives_a_cookie_that_opens_http_and_sockets(client: Client) -> None:
    browser = client(api_key=KEY, url="https://localhost")
    answer = browser.post("/api/login", json={"key": KEY})
    cookie = answer.headers["set-cookie"]
    assert answer.json() == {"auth": "ok"}
    assert all(flag in cookie for flag in ("HttpOnly", "SameSite=strict", "Secure"))
    assert KEY not in cookie
    assert browser.get("/list").status_code == 200
    with browser, browser.websocket_connect("wss://localhost/ws/r1") as socket:
        assert socket.receive_json()["type"] == "hello"
    browser.post("/api/logout")
    assert browser.get("/list").status_code == 401


def test_wrong_keys_are_slowed_down(client: Client) -> None:
    browser = client(api_key=KEY)
    for _ in range(5):
        assert browser.post("/api/login", json={"key": "guess"}).status_code == 401
    answer = browser.post("/api/login", json={"key": KEY})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60


def test_cookie_ends_with_time_key_and_tampering() -> None:
    clock = HandClock()
    checker = Credentials(KEY, clock=clock, ids=lambda: "n")
    cookie = checker.make_cookie()

    def let_in(value: str, by: Credentials = checker) -> bool:
        return by.principal({"cookie": f"other=1; {COOKIE}={value}"}) is not None

    assert let_in(cookie)
    assert not let_in(cookie[:-1])
    assert not let_in(f"9{cookie}")
    assert not let_in("")
    assert not let_in("a.b.c")
    for header in (f"other={COOKIE}", f"{COOKIE}={cookie}; " + "x" * 5000):
        assert checker.principal({"cookie": header}) is None
    assert not let_in(cookie, Credentials(KEY + "2", clock=clock))
    clock.now_s += COOKIE_SECONDS + 1
    assert not let_in(cookie)


def test_attempts_are_counted_per_address_and_in_all() -> None:
    clock = HandClock()
    limiter = AttemptLimiter(limit=2, window=60, total=5, addresses=3, clock=clock)
    limiter.failed("a")
    assert limiter.wait("a") == 0
    limiter.failed("a")
    assert limiter.wait("a") == 60
    assert limiter.wait("b") == 0
    clock.now_s += 20.5
    assert limiter.wait("a") == 40
    clock.now_s += 40
    assert limiter.wait("a") == 0
    for address in "bcd":
        limiter.failed(address)
    assert limiter.wait("e") == 0  # two of the five are over a minute old
    for address in "ef":
        limiter.failed(address)
    assert limiter.wait("g") == 60
    limiter.succeeded("f")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_gets_413(client: Client, chunked: bool) -> None:
    browser = client(max_body_bytes=1024)
    body = b'{"key": "' + b"x" * 2000 + b'"}'
    content = iter([body[:500], body[500:]]) if chunked else body
    headers = {"Content-Type": "application/json"}
    assert browser.post("/api/login", content=content, headers=headers).status_code == 413


def test_a_strange_content_length_gets_400(client: Client) -> None:
    assert client().post("/rooms", headers={"Content-Length": "-1"}).status_code == 400


def test_sockets_of_the_framework_are_counted(client: Client) -> None:
    browser = client(max_connections=1)
    with browser, browser.websocket_connect("ws://localhost/ws/r1"):
        assert refused(browser, "/ws/r1") == 503
    with browser, browser.websocket_connect("ws://localhost/ws/r1") as again:
        assert again.receive_json()["type"] == "hello"


def test_every_answer_carries_the_page_headers(client: Client) -> None:
    browser = client()
    for path, status in (("/", 200), ("/health", 200), ("/nothing", 404)):
        answer = browser.get(path)
        assert answer.status_code == status
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    refused = browser.get("/health", headers={"Host": "evil.example"})
    assert refused.headers["referrer-policy"] == "no-referrer"


def gate(key: str | None = None) -> Gate:
    return Gate(BrowserPolicy(), Credentials(key), pages=frozenset({"/"}))


def upgrade(path: str = "/ws", client: str = "127.0.0.1", **headers: str) -> UpgradeRequest:
    shown = {"host": "localhost:8000"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return UpgradeRequest(path, {}, shown, (client, 1))


def test_check_upgrade_judges_media_sockets_by_the_same_rules() -> None:
    assert check_upgrade(gate(), upgrade()) is None
    for request, status in (
        (upgrade(host="evil.example"), 403),
        (upgrade(origin="http://evil.example"), 403),
        (upgrade(sec_fetch_site="same-site"), 403),
        (upgrade(client="10.0.0.1"), 403),
    ):
        refusal = check_upgrade(gate(), request)
        assert refusal is not None
        assert refusal.status == status
    assert (
        check_upgrade(gate(KEY), upgrade(client="10.0.0.1", authorization=f"Bearer {KEY}")) is None
    )
    missing = check_upgrade(gate(KEY), upgrade())
    assert missing is not None
    assert missing.status == 401


def test_guarded_asks_the_gateway_only_behind_the_gate() -> None:
    asked: list[str] = []
    refused: list[int] = []

    def acceptor(request: UpgradeRequest) -> Refusal | None:
        asked.append(request.path)
        return Refusal(503, "full") if request.path == "/ws" else None

    accept = guarded(gate(), acceptor, lambda refusal: refused.append(refusal.status))
    assert isinstance(accept(upgrade(origin="https://evil.example")), Refusal)
    assert asked == []
    assert isinstance(accept(upgrade()), Refusal)
    assert accept(upgrade("/ws/room")) is None
    assert refused == [403, 503]


def test_an_unreadable_referer_counts_as_foreign() -> None:
    asked = Asked("GET", "/kill/x", {"host": "localhost", "referer": "http://[bad"}, None)
    assert gate().refuse(asked) is not None


def test_a_request_of_the_wrong_form_is_told_without_what_was_sent(client: Client) -> None:
    for body in (b'{"key": "\\ud800"}', b'{"key": 5}', b'{"kee": "my-secret"}', b"["):
        answer = client().post("/api/login", content=body, headers={"Content-Type": JSON})
        assert answer.status_code in (401, 422)
        assert isinstance(answer.json()["detail"], str)
        assert "my-secret" not in answer.text
