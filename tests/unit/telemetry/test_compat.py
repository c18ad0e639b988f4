"""Code written for RoomKit's telemetry runs after changing the package's name."""

from __future__ import annotations

import importlib
import inspect

import pytest

from salon import telemetry
from salon.core.ports.telemetry import Attr, SpanKind
from salon.telemetry import TelemetryConfig, TelemetryProvider


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (
            "start_span",
            ["kind", "name", "parent_id", "attributes", "room_id", "session_id", "channel_id"],
        ),
        ("end_span", ["span_id", "status", "error_message", "attributes"]),
        ("set_attribute", ["span_id", "key", "value"]),
        ("record_metric", ["name", "value", "unit", "attributes"]),
        ("get_span_context", ["span_id"]),
        ("inject_context", ["span_id"]),
        ("extract_context", ["carrier"]),
    ],
)
def test_methods_take_what_they_take_there(method: str, parameters: list[str]) -> None:
    signature = inspect.signature(getattr(TelemetryProvider, method))
    assert list(signature.parameters)[1:] == parameters


def test_what_a_provider_must_have_is_what_it_must_have_there() -> None:
    assert TelemetryProvider.__abstractmethods__ == {
        "name",
        "start_span",
        "end_span",
        "set_attribute",
        "record_metric",
    }


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("base", "TelemetryProvider"),
        ("config", "TelemetryConfig"),
        ("console", "ConsoleTelemetryProvider"),
        ("context", "get_current_span"),
        ("mock", "MockTelemetryProvider"),
        ("noop", "NoopTelemetryProvider"),
        ("opentelemetry", "OpenTelemetryProvider"),
    ],
)
def test_modules_are_where_they_are_there(module: str, name: str) -> None:
    found = importlib.import_module(f"salon.telemetry.{module}")
    assert getattr(found, name) is getattr(telemetry, name)


def test_names_values_and_fields_are_the_same() -> None:
    assert SpanKind.INBOUND_PIPELINE.value == "framework.inbound"
    assert SpanKind.LLM_TOOL_CALL.value == "llm.tool_call"
    assert Attr.HOOK_TRIGGER == "hook.trigger"
    assert Attr.LLM_OUTPUT_TOKENS == "llm.output_tokens"
    config = TelemetryConfig()
    assert (config.provider, config.sample_rate, config.enabled_spans) == (None, 1.0, None)
    assert (config.metadata, config.suppressed_hook_triggers) == ({}, set())
    assert {"ConsoleTelemetryProvider", "MockTelemetryProvider", "get_current_span"} <= set(
        telemetry.__all__
    )
