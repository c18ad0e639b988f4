"""A language model behind an OpenAI-compatible chat-completions service."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from salon.base import (
    MASK,
    SYSTEM_CLOCK,
    Clock,
    ConfigurationError,
    IdFactory,
    MissingExtraError,
    is_loopback,
    new_id,
    redact_text,
)
from salon.core.ports.ai import AIContext, AIProvider, AIStreamPart
from salon.providers.chat import ChunkReader, error_text, request_of
from salon.providers.errors import AIProviderError
from salon.providers.sse import SSEError, SSEParser

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("salon.providers.openai")

_JSON = {"Content-Type": "application/json"}
_MAX_ERROR_BODY = 8192
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class OpenAIProvider(AIProvider):
    """Streams chat completions from `base_url` (as ``https://host/v1``), with tool calls.

    Times are in seconds: `connect_timeout` for a connection, `timeout` for the beginning of the
    answer and for each wait for more of it, `total_timeout` for all of it. The client is made by
    `start`, or by the first request. `extra` joins the body of every request. `transport`
    replaces the network, for tests. The key leaves only in the ``Authorization`` header.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        model: str,
        *,
        name: str = "openai",
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        total_timeout: float = 120.0,
        max_connections: int = 64,
        include_usage: bool = True,
        extra: dict[str, Any] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        self._host = _checked_host(base_url)
        if not model:
            raise ConfigurationError("no model is named: set SALON_LLM_MODEL")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ConfigurationError("the key holds characters that no header can carry")
        self.name = name
        self.model_name = model
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._key = api_key
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._total_timeout = total_timeout
        self._max_connections = max_connections
        self._include_usage = include_usage
        self._extra = dict(extra or {})
        self._transport = transport
        self._clock = clock
        self._ids = ids
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"<OpenAIProvider {self.model_name!r} at {self._host!r}>"

    async def start(self) -> None:
        """Make the HTTP client; no request is sent. `MissingExtraError` without httpx."""
        self._opened()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        """Text and thoughts as they come, then tool calls, then counts. `AIProviderError` says what
        failed; text that came before stays said. Closing it ends the HTTP stream."""
        client = self._opened()
        reader = ChunkReader(self.name, self._ids)
        async with aclosing(self._events(client, context)) as events:
            async for data in events:
                for delta in self._clean(reader.read, data):
                    yield delta
        if not reader.complete:
            raise self._error("the answer broke off in the middle", retryable=True)
        for part in reader.finish():
            yield part

    def _clean(self, read: Any, data: str) -> Iterator[AIStreamPart]:
        try:
            yield from read(data)
        except AIProviderError as error:
            # what the other side says may quote the key
            raise self._error(
                str(error).removeprefix(f"{self.name}: "), retryable=error.retryable
            ) from None

    async def _events(
        self, client: httpx.AsyncClient, context: AIContext
    ) -> AsyncGenerator[str, None]:
        deadline = self._clock.monotonic() + self._total_timeout
        parser = SSEParser()
        with self._translated():
            async with client.stream(
                "POST", self._url, content=self._body(context), headers=_JSON
            ) as response:
                await self._check(response)
                async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        for data in parser.feed(chunk):
                            yield data
                            if data.strip() == "[DONE]":
                                return
                        if self._clock.monotonic() > deadline:
                            text = f"the answer took more than {self._total_timeout:g} s"
                            raise self._error(text, retryable=True)

    def _body(self, context: AIContext) -> bytes:
        body = request_of(context, self.model_name)
        body["stream"] = True
        if self._include_usage:
            body["stream_options"] = {"include_usage": True}
        # half a surrogate pair, which JSON from outside may hold, has no UTF-8
        return json.dumps(body | self._extra, ensure_ascii=False).encode("utf-8", "replace")

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            kind = response.headers.get("content-type", "")
            if not kind.lower().startswith("text/event-stream"):
                raise self._error(f"did not stream, it sent {kind or 'an unnamed type'!r}")
            return
        status = response.status_code
        said = await _error_body(response)
        hint = {
            401: "the key was refused; check SALON_LLM_API_KEY",
            403: "the key may not use this model",
            404: f"no such model or path; check SALON_LLM_BASE_URL and model {self.model_name!r}",
            429: "too many requests, or the quota is used up",
        }.get(status, "the request failed")
        text = f"{hint} (HTTP {status}{': ' + said if said else ''})"
        raise self._error(text, retryable=status in _RETRYABLE, status=status)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.PoolTimeout as error:
            text = f"all {self._max_connections} connections to {self._host} are busy"
            raise self._error(text, retryable=True) from error
        except httpx.ConnectTimeout as error:
            text = f"{self._host} was not reached within {self._connect_timeout:g} s"
            raise self._error(text, retryable=True) from error
        except httpx.TimeoutException as error:
            text = f"{self._host} sent nothing for {self._timeout:g} s"
            raise self._error(text, retryable=True) from error
        except httpx.ConnectError as error:
            raise self._error(f"can't connect to {self._host}: {error}", retryable=True) from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise self._error(f"the connection was cut: {error}", retryable=True) from error
        except httpx.HTTPError as error:
            raise self._error(f"{type(error).__name__}: {error}") from error
        except SSEError as error:
            raise self._error(f"the stream can't be read: {error}") from error

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            try:
                import httpx
            except ImportError as error:
                raise MissingExtraError("openai", "A language model over HTTP") from error
            # asked for plainly: a compressed stream could be held back, or swell
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self._timeout, connect=self._connect_timeout),
                limits=httpx.Limits(max_connections=self._max_connections),
                transport=self._transport,
                follow_redirects=False,
                # a proxy of the environment has no way to a service on this machine
                trust_env=not is_loopback(self._host),
            )
        return self._client

    def _error(
        self, text: str, *, retryable: bool = False, status: int | None = None
    ) -> AIProviderError:
        if self._key:
            text = text.replace(self._key, MASK)
        return AIProviderError(
            redact_text(text), provider=self.name, retryable=retryable, status=status
        )


async def _error_body(response: httpx.Response) -> str:
    """What the service said about its error, as far as it can be read."""
    import httpx

    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_ERROR_BODY:
                break
    except httpx.HTTPError as error:
        _log.debug("error body could not be read: %s", type(error).__name__)
    text = bytes(body[:_MAX_ERROR_BODY]).decode("utf-8", "replace")
    try:
        return error_text(json.loads(text))
    except (ValueError, RecursionError):
        return error_text(text)


def _checked_host(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
        inside = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise ConfigurationError(f"SALON_LLM_BASE_URL is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{host or ''}{parts.path}"
        raise ConfigurationError(
            f"SALON_LLM_BASE_URL={shown!r}: it has to be like https://host/v1, without ? and #"
        )
    if inside:
        raise ConfigurationError("SALON_LLM_BASE_URL must not hold a key; set SALON_LLM_API_KEY")
    return host
