"""Signed webhooks: genuine, fresh, once."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.base import Clock, ConfigurationError
from salon.providers.webhooks import (
    ReplayWindow,
    WebhookSignatureError,
    WebhookSigner,
    WebhookVerifier,
)

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = b'{"body": "hi"}'


class HandClock(Clock):
    now_ = 1_700_000_000.0

    def time(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        return self.now_

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def reason(verifier: WebhookVerifier, headers: dict[str, str], body: bytes = BODY) -> str:
    with pytest.raises(WebhookSignatureError) as caught:
        verifier.verify(headers, body)
    return caught.value.reason


def test_the_published_example_of_the_specification() -> None:
    """Standard Webhooks 1.0 and its reference libraries."""
    clock = HandClock()
    clock.now_ = 1614265330
    signer = WebhookSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", clock=clock)
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_what_the_specification_says(clock: HandClock) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    signed = b"msg_1.1700000000." + BODY
    digest = hmac.new(b"0123456789abcdef01234567", signed, hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def test_a_signed_body_is_genuine(clock: HandClock) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    found = WebhookVerifier(SECRET, clock=clock).verify(
        {name.title(): value for name, value in headers.items()}, BODY
    )
    assert (found.id, found.timestamp) == ("msg_1", 1_700_000_000)


def test_R216_anything_changed_is_refused(clock: HandClock) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    verifier = WebhookVerifier(SECRET, clock=clock)
    assert reason(verifier, headers, BODY + b" ") == "mismatch"
    assert reason(verifier, headers | {"webhook-id": "msg_2"}) == "mismatch"
    assert reason(verifier, headers | {"webhook-timestamp": "1700000001"}) == "mismatch"
    assert reason(WebhookVerifier("other", clock=clock), headers) == "mismatch"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"webhook-id": ""}, "malformed"),
        ({"webhook-id": "a.b"}, "malformed"),
        ({"webhook-id": "ä"}, "malformed"),
        ({"webhook-id": "x" * 257}, "malformed"),
        ({"webhook-timestamp": "17e8"}, "malformed"),
        ({"webhook-timestamp": "-1"}, "malformed"),
        ({"webhook-timestamp": "١٧"}, "malformed"),
        ({"webhook-signature": ""}, "mismatch"),
        ({"webhook-signature": "v1,%%%"}, "mismatch"),
        ({"webhook-signature": "v1,ä"}, "mismatch"),
        ({"webhook-signature": "v0,AAAA"}, "mismatch"),
        ({"webhook-signature": "v1, " * 100}, "mismatch"),
    ],
)
def test_malformed_headers_are_refused(
    clock: HandClock, change: dict[str, str], expected: str
) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    assert reason(WebhookVerifier(SECRET, clock=clock), headers | change) == expected


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(clock: HandClock, name: str) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    del headers[name]
    assert reason(WebhookVerifier(SECRET, clock=clock), headers) == "missing"


def test_R216_timestamps_are_fresh_within_the_tolerance(clock: HandClock) -> None:
    headers = WebhookSigner(SECRET, clock=clock).headers("msg_1", BODY)
    verifier = WebhookVerifier(SECRET, tolerance=60, clock=clock)
    signed = clock.now_
    for shift in (60, -60):
        clock.now_ = signed + shift
        verifier.verify(headers, BODY)
    clock.now_ = signed + 61
    assert reason(verifier, headers) == "expired"
    clock.now_ = signed - 61
    assert reason(verifier, headers) == "future"


def test_secrets_are_replaced_without_a_gap(clock: HandClock) -> None:
    both = WebhookSigner("new", "old", clock=clock).headers("msg_1", BODY)
    for secret in ("new", "old"):
        WebhookVerifier(secret, clock=clock).verify(both, BODY)
    old = WebhookSigner("old", clock=clock).headers("msg_1", BODY)
    WebhookVerifier("new", "old", clock=clock).verify(old, BODY)


def test_the_same_request_passes_once(clock: HandClock) -> None:
    window = ReplayWindow()
    verifier = WebhookVerifier(SECRET, window=window, clock=clock)
    signer = WebhookSigner(SECRET, clock=clock)
    headers = signer.headers("msg_1", BODY)
    found = verifier.verify(headers, BODY)
    assert reason(verifier, headers) == "replayed"
    assert window.replays == 1
    verifier.forget(found)
    verifier.verify(headers, BODY)
    clock.now_ += 5
    assert verifier.verify(signer.headers("msg_1", BODY), BODY).id == "msg_1"


def test_an_expired_key_makes_room_and_a_valid_one_does_not(clock: HandClock) -> None:
    window = ReplayWindow(capacity=2)
    verifier = WebhookVerifier(SECRET, window=window, clock=clock)
    signer = WebhookSigner(SECRET, clock=clock)
    for name in ("a", "b"):
        verifier.verify(signer.headers(name, BODY), BODY)
    full = signer.headers("c", BODY)
    with pytest.raises(WebhookSignatureError) as caught:
        verifier.verify(full, BODY)
    assert (caught.value.reason, caught.value.status) == ("overloaded", 503)
    assert (len(window), window.overflows) == (2, 1)
    clock.now_ += 301
    verifier.verify(signer.headers("d", BODY), BODY)
    assert len(window) == 1


def test_a_forged_request_takes_no_room(clock: HandClock) -> None:
    window = ReplayWindow(capacity=1)
    verifier = WebhookVerifier(SECRET, window=window, clock=clock)
    for number in range(5):
        reason(verifier, WebhookSigner("forged", clock=clock).headers(f"m{number}", BODY))
    assert len(window) == 0
    WebhookVerifier(SECRET, clock=clock).forget(
        verifier.verify(WebhookSigner(SECRET, clock=clock).headers("a", BODY), BODY)
    )


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%"])
def test_a_useless_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError):
        WebhookSigner(secret)


def test_no_secret_and_no_room_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        WebhookSigner()
    with pytest.raises(ConfigurationError):
        WebhookVerifier()
    with pytest.raises(ValueError, match="capacity"):
        ReplayWindow(0)
    with pytest.raises(ValueError, match="id"):
        WebhookSigner(SECRET).headers("a.b", BODY)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_only_the_signed_body_verifies(body: bytes, other: bytes) -> None:
    clock = HandClock()
    headers = WebhookSigner(SECRET, clock=clock).headers("m", body)
    verifier = WebhookVerifier(SECRET, clock=clock)
    assert verifier.verify(headers, body).id == "m"
    if other != body:
        assert reason(verifier, headers, other) == "mismatch"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=60))
def test_the_window_is_bounded_and_admits_no_valid_key_twice(steps: list[tuple[int, int]]) -> None:
    window = ReplayWindow(capacity=4)
    valid: dict[str, float] = {}
    now = 0.0
    for number, wait in steps:
        now += wait
        key, expires = str(number), now + 300
        refusal = window.admit(key, now, expires)
        if refusal is None:
            assert valid.get(key, -1) < now
            valid[key] = expires
        assert len(window) <= 4
