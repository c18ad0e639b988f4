"""The provider against a real HTTP server that speaks streamed chat completions."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from tests.unit.providers.openai_server import (
    Behaviour,
    ChatServer,
    Exchange,
    answer,
    chunk,
    event,
    refuses,
    replies,
)

from salon.base import Clock, ConfigurationError, MissingExtraError
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIStreamPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
    ThinkingDelta,
)
from salon.providers.errors import AIProviderError
from salon.providers.openai import OpenAIProvider

KEY = "sk-very-secret-0123456789"
ASK = AIContext("room", (AIMessage("user", "Hello"),))


async def ask(
    behaviour: Behaviour, context: AIContext = ASK, **options: Any
) -> tuple[list[AIStreamPart], ChatServer]:
    async with ChatServer(behaviour) as server:
        provider = OpenAIProvider(server.url, KEY, "test-model", **options)
        try:
            return [part async for part in provider.generate_stream(context)], server
        finally:
            await provider.close()


async def failure(behaviour: Behaviour, **options: Any) -> AIProviderError:
    with pytest.raises(AIProviderError) as caught:
        await ask(behaviour, **options)
    assert KEY not in str(caught.value)
    assert caught.value.provider == "openai"
    return caught.value


def text_of(parts: list[AIStreamPart]) -> list[str]:
    return [part.text for part in parts if isinstance(part, TextDelta)]


@pytest.mark.parametrize("size", [None, 1, 7])
async def test_text_streams_through_whatever_the_bytes_are_cut_into(size: int | None) -> None:
    parts, _ = await ask(replies(answer("Grüß ", "dich, ", "世界 🎉"), size))
    assert text_of(parts) == ["Grüß ", "dich, ", "世界 🎉"]
    assert parts[-1] == ResponseMetadata(
        {
            "model": "test-model-1",
            "finish_reason": "stop",
            "usage": {"input_token_count": 7, "output_token_count": 3, "total_tokens": 10},
        }
    )


async def test_the_request_is_what_the_protocol_documents() -> None:
    tool = AITool("look", "Looks.", {"type": "object", "properties": {}})
    context = AIContext(
        "room",
        (
            AIMessage("user", "Is it open?", name="Ann Lee"),
            AIMessage("assistant", "", tool_calls=(AIToolCall("c1", "look", {"at": "door"}),)),
            AIMessage("tool", tool_results=(AIToolResult("c1", "stuck", is_error=True),)),
            AIMessage("assistant", ""),
            AIMessage("user", "And now?", name="Bob"),
        ),
        system_prompt="Be kind.",
        tools=(tool,),
        temperature=0.2,
        max_tokens=50,
        spoken=True,
    )
    _, server = await ask(replies(answer("ok")), context, extra={"seed": 1})
    request = server.requests[0]
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = request.body
    system, first, call, result, last = body.pop("messages")
    assert system["role"] == "system"
    assert system["content"].startswith("Be kind.\n\nYour answer is spoken aloud")
    assert first == {"role": "user", "content": "Ann Lee: Is it open?", "name": "Ann_Lee"}
    assert call == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"at": "door"}'},
            }
        ],
    }
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "Error: stuck"}
    assert last == {"role": "user", "content": "Bob: And now?", "name": "Bob"}
    assert body == {
        "model": "test-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "max_tokens": 50,
        "seed": 1,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
    }


async def test_R59_what_the_recipient_can_take_reaches_the_model() -> None:
    note = "The recipient can take: text, audio."
    context = AIContext("room", (AIMessage("user", "Hi", name="Ann"),), note, notes=(note,))
    _, server = await ask(replies(answer("ok")), context, include_usage=False)
    body = server.requests[0].body
    assert body["messages"][0]["content"] == note
    assert body["messages"][1]["content"] == "Hi"
    assert "stream_options" not in body


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_R62_thoughts_come_apart_from_the_answer(key: str) -> None:
    data = chunk({key: "Let me "}) + chunk({key: "see."}) + answer("ok")
    parts, _ = await ask(replies(data))
    thoughts = [part.thinking for part in parts if isinstance(part, ThinkingDelta)]
    assert (thoughts, text_of(parts)) == (["Let me ", "see."], ["ok"])


async def test_no_key_sends_no_authorization() -> None:
    async with ChatServer(replies(answer("ok"))) as server:
        provider = OpenAIProvider(server.url + "/", None, "m")
        await provider.start()
        parts = [part async for part in provider.generate_stream(ASK)]
        await provider.close()
        await provider.close()
    assert text_of(parts) == ["ok"]
    assert "authorization" not in server.requests[0].headers


async def test_first_text_comes_before_the_answer_is_finished() -> None:
    rest = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.write(chunk({"content": "first"}))
        await rest.wait()
        await exchange.write(chunk({"content": "second"}, finish_reason="stop"))
        await exchange.end()

    async with ChatServer(behave) as server:
        provider = OpenAIProvider(server.url, KEY, "m")
        stream = provider.generate_stream(ASK)
        assert await anext(stream) == TextDelta("first")
        rest.set()
        assert text_of([part async for part in stream]) == ["second"]
        await provider.close()


async def test_closing_the_generator_closes_the_http_stream() -> None:
    gone = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.write(chunk({"content": "first"}))
        await exchange.gone()
        gone.set()

    async with ChatServer(behave) as server:
        provider = OpenAIProvider(server.url, KEY, "m")
        async with aclosing(provider.generate_stream(ASK)) as stream:
            assert await anext(stream) == TextDelta("first")
        async with asyncio.timeout(5):
            await gone.wait()
        await provider.close()


def fragment(index: int | None, arguments: object, *, name: str = "", id: str = "") -> bytes:
    call: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        call["index"] = index
    if name:
        call["function"]["name"] = name
    if id:
        call |= {"id": id, "type": "function"}
    return chunk({"tool_calls": [call]})


END = chunk(finish_reason="tool_calls") + event("[DONE]")


async def test_R62_tool_calls_are_put_together_from_interleaved_fragments() -> None:
    data = b"".join(
        (
            chunk({"content": "Let me see. "}),
            fragment(0, "", name="weather", id="a"),
            fragment(1, '{"n":', name="book", id="b"),
            fragment(0, '{"city": "Pa'),
            fragment(1, " 2}"),
            fragment(0, 'ris"}'),
            END,
        )
    )
    parts, _ = await ask(replies(data, 11))
    assert parts[:3] == [
        TextDelta("Let me see. "),
        AIToolCall("a", "weather", {"city": "Paris"}),
        AIToolCall("b", "book", {"n": 2}),
    ]


async def test_tool_calls_of_servers_that_leave_out_index_id_or_encoding() -> None:
    data = fragment(None, {"x": 1}, name="one", id="a") + fragment(None, "", name="two", id="b")
    parts, _ = await ask(replies(data + END))
    assert parts[:2] == [AIToolCall("a", "one", {"x": 1}), AIToolCall("b", "two", {})]
    data = fragment(None, '{"x"', name="one") + fragment(None, ": 1}") + END
    parts, _ = await ask(replies(data), ids=lambda: "7")
    assert parts[0] == AIToolCall("call_7", "one", {"x": 1})


@pytest.mark.parametrize(
    ("arguments", "name", "says"),
    [
        ('{"city": ', "weather", "arguments of tool call weather are not JSON"),
        ("[1]", "weather", "arguments of tool call weather are no JSON object"),
        ("{}", "", "a tool without a name"),
        ("x" * 300_000, "weather", "arguments of weather exceed 262144 characters"),
    ],
)
async def test_bad_tool_calls_are_errors_that_name_the_call(
    arguments: str, name: str, says: str
) -> None:
    error = await failure(replies(fragment(0, arguments, name=name, id="a") + END))
    assert says in str(error)


async def test_too_many_tool_calls_are_refused() -> None:
    data = b"".join(fragment(n, "{}", name="t", id=str(n)) for n in range(33))
    assert "more than 32 tools" in str(await failure(replies(data + END)))


@pytest.mark.parametrize(
    ("status", "retryable", "says"),
    [
        (401, False, "the key was refused; check SALON_LLM_API_KEY (HTTP 401: no ***, no)"),
        (403, False, "may not use this model"),
        (404, False, "check SALON_LLM_BASE_URL and model 'test-model'"),
        (400, False, "the request failed (HTTP 400"),
        (429, True, "too many requests"),
        (500, True, "HTTP 500"),
        (503, True, "HTTP 503"),
    ],
)
async def test_statuses_become_errors_without_the_key(
    status: int, retryable: bool, says: str
) -> None:
    error = await failure(refuses(status, f'{{"error": {{"message": "no {KEY},\\n no"}}}}'))
    assert says in str(error)
    assert (error.status, error.retryable) == (status, retryable)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<html>oops</html>", "<html>oops</html>"),
        ('{"detail": "not now"}', "HTTP 500: not now"),
        ('{"error": "flat"}', "HTTP 500: flat"),
        ("", "(HTTP 500)"),
        ("y" * 100_000, "HTTP 500: yyyy"),
    ],
)
async def test_error_bodies_of_every_kind_are_told_briefly(body: str, says: str) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(500)
        if body:
            await exchange.write(body.encode())
        await exchange.end()

    error = await failure(behave)
    assert says in str(error)
    assert len(str(error)) < 400


async def test_an_error_body_that_is_cut_still_gives_the_status() -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(500)
        exchange.cut()

    assert (await failure(behave)).status == 500


async def test_a_cut_in_the_middle_is_an_error_after_the_text() -> None:
    cut = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.write(chunk({"content": "half"}))
        await cut.wait()
        exchange.cut()

    async with ChatServer(behave) as server:
        provider = OpenAIProvider(server.url, KEY, "m")
        stream = provider.generate_stream(ASK)
        assert await anext(stream) == TextDelta("half")
        cut.set()
        with pytest.raises(AIProviderError, match="the connection was cut") as caught:
            await anext(stream)
        assert caught.value.retryable
        await provider.close()


async def test_an_end_without_a_finish_is_a_cut_as_well() -> None:
    error = await failure(replies(chunk({"content": "half"})))
    assert "broke off in the middle" in str(error)
    assert error.retryable


async def test_an_end_with_a_finish_but_without_done_is_fine() -> None:
    parts, _ = await ask(replies(chunk({"content": "whole"}, finish_reason="stop")))
    assert text_of(parts) == ["whole"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (event({"error": {"message": f"overloaded {KEY}"}}), "broke off: overloaded ***"),
        (event("{nonsense"), "sent what is not JSON: {nonsense"),
        (event("[1]"), "sent list where a chunk belongs"),
        (b"data: \xff\n\n", "not UTF-8"),
        (b"data: " + b"x" * 1_100_000, "longer than 1048576 bytes"),
    ],
)
async def test_streams_that_can_not_be_read_are_errors(data: bytes, says: str) -> None:
    assert says in str(await failure(replies(data)))


async def test_odd_chunks_are_passed_over() -> None:
    data = b"".join(
        (
            event(""),
            event({"choices": None, "usage": None}),
            event({"choices": [7, {"index": 1, "delta": {"content": "other"}}]}),
            event({"choices": [{"delta": None}, {"delta": {"content": None, "tool_calls": [1]}}]}),
            event({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": None}]}}]}),
            fragment(0, None, name="t"),
            END,
        )
    )
    parts, _ = await ask(replies(data), ids=lambda: "1")
    assert parts[0] == AIToolCall("call_1", "t", {})


async def test_half_characters_are_joined_in_answers_and_replaced_in_questions() -> None:
    data = b"".join(chunk({"content": text}) for text in ("a \ud83d", "\ude00", "\ude00 b"))
    call = fragment(0, '{"x": "\ud83d', name="t", id="i") + fragment(0, '\ude00"}')
    context = AIContext("room", (AIMessage("user", "odd \ud83d"),))
    parts, server = await ask(replies(data + call + END), context)
    assert text_of(parts) == ["a ", "😀", "\ufffd b"]
    assert AIToolCall("i", "t", {"x": "😀"}) in parts
    assert server.requests[0].body["messages"][0]["content"] == "odd ?"


async def test_a_server_that_does_not_stream_is_named_so() -> None:
    error = await failure(refuses(200, "{}"))
    assert "did not stream, it sent 'application/json'" in str(error)


async def test_connection_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    provider = OpenAIProvider(url, KEY, "m")
    with pytest.raises(AIProviderError, match=r"can't connect to 127\.0\.0\.1") as caught:
        await anext(provider.generate_stream(ASK))
    assert caught.value.retryable
    await provider.close()


async def test_a_silent_server_times_out() -> None:
    error = await failure(Exchange.gone, timeout=0.05)
    assert "127.0.0.1 sent nothing for 0.05 s" in str(error)
    assert error.retryable


class Leaps(Clock):
    """Every look at the clock is a minute later."""

    now_ = 0.0

    def time(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        self.now_ += 60.0
        return self.now_

    async def sleep(self, seconds: float) -> None:
        self.now_ += seconds


async def test_an_answer_that_drips_for_ever_is_ended() -> None:
    data = b"".join(chunk({"content": "drip "}) for _ in range(9))
    error = await failure(replies(data, 100), clock=Leaps(), total_timeout=100.0)
    assert "took more than 100 s" in str(error)


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (httpx.PoolTimeout("x"), "all 64 connections to test are busy"),
        (httpx.ConnectTimeout("x"), "test was not reached within 5 s"),
        (httpx.UnsupportedProtocol("x"), "UnsupportedProtocol: x"),
    ],
)
async def test_other_transport_failures_are_mapped(raised: Exception, says: str) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise raised

    provider = OpenAIProvider("https://test/v1", KEY, "m", transport=httpx.MockTransport(handle))
    with pytest.raises(AIProviderError, match=says):
        await anext(provider.generate_stream(ASK))
    await provider.close()


async def test_the_key_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ChatServer(replies(answer("ok"))) as server:
        provider = OpenAIProvider(server.url, KEY, "m")
        async for _ in provider.generate_stream(ASK):
            pass
        assert repr(provider) == "<OpenAIProvider 'm' at '127.0.0.1'>"
        await provider.close()
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("url", "key", "model", "says"),
    [
        ("ftp://host/v1", None, "m", "SALON_LLM_BASE_URL='ftp://host/v1'"),
        ("host/v1", None, "m", "SALON_LLM_BASE_URL"),
        ("http://host/v1?key=abc", None, "m", "without \\? and #"),
        ("http://me:pw@host/v1", None, "m", "must not hold a key"),
        ("http://[bad/v1", None, "m", "is no URL"),
        ("http://host/v1", None, "", "set SALON_LLM_MODEL"),
        ("http://host/v1", "a\nb", "m", "no header can carry"),
    ],
)
def test_wrong_settings_are_named(url: str, key: str | None, model: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        OpenAIProvider(url, key, model)
    assert "abc" not in str(caught.value)
    assert "pw" not in str(caught.value)


async def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[openai\]"):
        await OpenAIProvider("http://host/v1", None, "m").start()
