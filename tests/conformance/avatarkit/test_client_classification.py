"""Which code a failure gets: A80 to A87."""

from __future__ import annotations

import pytest

from salon.clients.avatarkit.classification import classify

CONNECT, HANDSHAKE, RUNTIME, TOKEN = (
    "websocket_connect",
    "websocket_handshake",
    "websocket_runtime",
    "session_token",
)


@pytest.mark.parametrize("code", ["3", "INVALID_ARGUMENT"])
@pytest.mark.parametrize("word", ["LiveKit url", "agora token", "no Egress"])
def test_A80_invalid_argument_about_egress(code: str, word: str) -> None:
    assert classify(RUNTIME, server_code=code, detail=word) == "invalidEgressConfig"
    assert classify(TOKEN, server_code=code, title=word) == "invalidEgressConfig"


@pytest.mark.parametrize("code", ["3", "INVALID_ARGUMENT"])
def test_A81_invalid_argument_otherwise(code: str) -> None:
    assert classify(RUNTIME, server_code=code, detail="bad") == "invalidRequest"
    assert classify(TOKEN, server_code=code, http_status=401) == "invalidRequest"


@pytest.mark.parametrize(
    ("server_code", "expected"),
    [
        ("16", "invalidEgressConfig"),
        ("UNAUTHENTICATED", "invalidEgressConfig"),
        ("14", "egressUnavailable"),
        ("UNAVAILABLE", "egressUnavailable"),
        ("4001", "creditsExhausted"),
        ("4002", "sessionDurationExceeded"),
        ("4003", "serverError"),
        ("4010", "serverError"),
        ("4503", "serverError"),
        ("13", "serverError"),
    ],
)
def test_A82_A63_the_servers_number(server_code: str, expected: str) -> None:
    assert classify(RUNTIME, server_code=server_code) == expected


TEXTS = [
    ("credits exhausted", "creditsExhausted"),
    ("session time limit reached", "sessionDurationExceeded"),
    ("maximum session duration", "sessionDurationExceeded"),
    ("session denied", "billingRequired"),
    ("invalid session token", "sessionTokenInvalid"),
    ("empty token", "sessionTokenInvalid"),
    ("token is expired", "sessionTokenExpired"),
    ("session token expired", "sessionTokenExpired"),
    ("app id mismatch", "appIDMismatch"),
    ("appIDUnrecognized", "appIDUnrecognized"),
    ("app id unrecognized", "appIDUnrecognized"),
    ("avatar not found", "avatarNotFound"),
    ("unsupported sample rate", "unsupportedSampleRate"),
    ("livekit silence timeout", "idleTimeout"),
    ("no audio input for", "idleTimeout"),
    ("livekit_egress", "invalidEgressConfig"),
    ("agora_egress", "invalidEgressConfig"),
    ("missing livekit credentials", "invalidEgressConfig"),
    ("provide api_token or both api_key and api_secret", "invalidEgressConfig"),
    ("unauthorized", "invalidEgressConfig"),
    ("egress client is not configured on server", "egressUnavailable"),
    ("failed to create egress connection", "egressUnavailable"),
    ("driven server returned non-200 status code", "upstreamError"),
    ("driven server request failed", "upstreamError"),
    ("expected ClientConfigureSession message", "protocolError"),
    ("ClientConfigureSession message is nil", "protocolError"),
    ("unexpected message type", "protocolError"),
    ("failed to unmarshal initial message", "protocolError"),
    ("Failed during websocket handshake: expected binary protobuf message", "protocolError"),
    ("Failed during websocket handshake: invalid protobuf payload", "protocolError"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_A82_A83_T12_each_text_in_any_capitals_and_place(text: str, expected: str) -> None:
    for phase in (TOKEN, CONNECT, HANDSHAKE, RUNTIME):
        assert classify(phase, detail=f"so: {text.upper()}: 5") == expected
        assert classify(phase, title=text, detail="more", http_status=500) == expected
        assert classify(phase, server_code=text) == expected


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_A82_A83_T12_the_row_above_wins(text: str, expected: str) -> None:
    """Every text with every text below it."""
    at = TEXTS.index((text, expected))
    for other, code in TEXTS[at + 1 :]:
        if code != expected:
            assert classify(RUNTIME, title=other, detail=text) == expected, other


def test_A82_T12_http_402_stands_before_the_tokens_and_after_the_credits() -> None:
    assert classify(CONNECT, http_status=402) == "billingRequired"
    assert classify(CONNECT, http_status=402, detail="invalid session token") == "billingRequired"
    assert classify(CONNECT, http_status=402, detail="credits exhausted") == "creditsExhausted"
    assert classify(CONNECT, http_status=402, server_code="14") == "egressUnavailable"


def test_A83_T12_order_conflicts() -> None:
    rate = "unsupported sample rate"
    assert classify(HANDSHAKE, server_code="3", detail=rate) == "invalidRequest"
    assert classify(HANDSHAKE, server_code="14", detail=rate) == "egressUnavailable"
    assert classify(HANDSHAKE, server_code="16", detail=rate) == "invalidEgressConfig"
    assert classify(HANDSHAKE, server_code="13", detail=rate) == "unsupportedSampleRate"
    assert classify(CONNECT, http_status=401, detail="Unauthorized") == "invalidEgressConfig"
    assert classify(CONNECT, http_status=401, detail="no") == "sessionTokenExpired"


@pytest.mark.parametrize("phase", [TOKEN, CONNECT, HANDSHAKE, RUNTIME])
def test_A84_statuses(phase: str) -> None:
    for status, expected in (
        (401, "sessionTokenExpired"),
        (404, "appIDUnrecognized"),
        (402, "billingRequired"),
        (400, "sessionTokenInvalid" if phase == CONNECT else "invalidRequest"),
        (403, "invalidRequest"),
        (499, "invalidRequest"),
        (500, "serverError"),
        (599, "serverError"),
    ):
        assert classify(phase, http_status=status) == expected, status


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (HANDSHAKE, "serverError"),
        (RUNTIME, "serverError"),
        (TOKEN, "unknown"),
        (CONNECT, "unknown"),
        ("websocket_send", "unknown"),
    ],
)
def test_A85_A86_the_phase_alone(phase: str, expected: str) -> None:
    assert classify(phase) == expected
    assert classify(phase, http_status=200, title="odd") == expected
    assert classify(phase, http_status=302) == expected


def test_A87_a_wrong_key_by_the_words_of_the_server() -> None:
    assert classify(TOKEN, http_status=401, title="Unauthorized") == "invalidEgressConfig"
    assert (
        classify(TOKEN, http_status=401, server_code="INVALID_API_KEY", title="Invalid API key")
        == "sessionTokenExpired"
    )
