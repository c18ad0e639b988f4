"""A connect that fails does not tell the session token, wherever it travels (A15, A23)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.clients.avatarkit import AvatarSDKError, SessionConfig
from salon.clients.avatarkit.endpoint import opening
from salon.clients.avatarkit.session_socket import open_socket


@pytest.mark.parametrize("in_query", [True, False])
async def test_A23_a_library_that_repeats_what_it_was_given(in_query: bool) -> None:
    async def connector(url: str, additional_headers: dict[str, str]) -> Any:
        raise ValueError(f"can't use {url} with {list(additional_headers.values())}")

    config = SessionConfig(
        ingress_endpoint_url="wss://h", avatar_id="x", app_id="p", use_query_auth=in_query
    )
    with pytest.raises(AvatarSDKError) as caught:
        await open_socket(connector, opening(config, "very-secret"))
    assert caught.value.message == "Failed to connect to websocket: ValueError"
    assert caught.value.__cause__ is None


async def test_A23_a_library_that_repeats_the_headers_alone() -> None:
    async def connector(url: str, additional_headers: dict[str, str]) -> Any:
        raise ValueError(f"can't use {list(additional_headers.values())}")

    config = SessionConfig(ingress_endpoint_url="wss://h", avatar_id="x", app_id="p")
    with pytest.raises(AvatarSDKError) as caught:
        await open_socket(connector, opening(config, "very-secret"))
    assert caught.value.message == "Failed to connect to websocket: ValueError"
