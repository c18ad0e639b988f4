"""The clock, identifiers, the roots of the exceptions, principals."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

import salon.base
from salon.base import (
    LOCAL,
    SYSTEM_CLOCK,
    Clock,
    ConfigurationError,
    LocalProtocolError,
    MissingExtraError,
    PolicyError,
    Principal,
    ProtocolError,
    RemoteProtocolError,
    SalonError,
    UnavailableError,
    new_id,
    new_session_id,
)
from salon.base.principal import keys_equal


class StoppedClock(Clock):
    """Stands at 2026-01-02 03:04:05.678."""

    def time(self) -> float:
        return datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC).timestamp()

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return


def test_G4_stamps_are_whole_milliseconds_and_utc() -> None:
    clock = StoppedClock()
    assert clock.now() == datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
    assert clock.now().tzinfo is UTC
    assert clock.now_ms() == 1_767_323_045_678
    assert isinstance(clock.now_ms(), int)


def test_the_system_clock_is_the_machines() -> None:
    before = datetime.now(UTC)
    assert before <= SYSTEM_CLOCK.now() <= datetime.now(UTC)
    first = SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.monotonic() >= first


async def test_a_sleep_of_the_system_clock_ends_with_cancellation() -> None:
    sleeper = asyncio.ensure_future(SYSTEM_CLOCK.sleep(3600))
    await asyncio.sleep(0)
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    assert await SYSTEM_CLOCK.sleep(0) is None  # type: ignore[func-returns-value]


def test_ids_are_random_uuids() -> None:
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 32 and UUID(one).version == 4 for one in made)


def test_G12_a_session_without_a_name_gets_s_dot_uuid() -> None:
    first, second = new_session_id(), new_session_id()
    assert first != second
    assert first.startswith("s.")
    assert UUID(first[2:]).version == 4


ERRORS = [
    (SalonError, Exception, "error"),
    (ConfigurationError, SalonError, "configuration"),
    (MissingExtraError, ConfigurationError, "missing_extra"),
    (PolicyError, SalonError, "policy"),
    (ProtocolError, SalonError, "protocol"),
    (LocalProtocolError, ProtocolError, "local_protocol"),
    (RemoteProtocolError, ProtocolError, "remote_protocol"),
    (UnavailableError, SalonError, "unavailable"),
]


@pytest.mark.parametrize(("error", "parent", "code"), ERRORS)
def test_error_codes_are_stable(
    error: type[SalonError], parent: type[Exception], code: str
) -> None:
    assert issubclass(error, parent)
    assert error.code == code


def test_a_missing_extra_says_how_to_get_it() -> None:
    error = MissingExtraError("codecs", "G.722")
    assert (error.extra, error.what) == ("codecs", "G.722")
    assert str(error) == 'G.722 needs the "codecs" extra: pip install "salon[codecs]"'


def test_principals_are_values() -> None:
    assert Principal("local", "local") == LOCAL
    assert Principal("key", "key") != LOCAL
    with pytest.raises(AttributeError):
        LOCAL.id = "root"  # type: ignore[misc]


def test_keys_are_compared_whole_and_may_hold_any_character() -> None:
    assert keys_equal("schlüssel", "schlüssel")
    assert not keys_equal("schlüssel", "schlussel")
    assert not keys_equal("key", "key2")
    assert not keys_equal("", "key")


def test_a_key_that_is_no_text_is_just_a_wrong_key() -> None:
    assert not keys_equal("\ud800", "key")


def test_everything_public_is_there() -> None:
    assert all(hasattr(salon.base, name) for name in salon.base.__all__)
