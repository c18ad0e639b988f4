"""The public names and signatures: O1, O3, section 7."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import salon.clients.odyssey as odyssey

NAMES = [
    "Odyssey",
    "OdysseyEventHandlers",
    "connect_to_stream",
    "SpectatorConnection",
    "ClientConfig",
    "AdvancedConfig",
    "ClientCredentials",
    "VideoFrame",
    "ConnectionStatus",
    "Recording",
    "StreamRecordingInfo",
    "StreamRecordingsList",
    "BroadcastInfo",
    "StreamerCapabilities",
    "SimulationJobStatus",
    "SimulationStream",
    "SimulationJobInfo",
    "SimulationJobDetail",
    "SimulationJobsList",
    "OdysseyError",
    "OdysseyAuthError",
    "OdysseyConnectionError",
    "OdysseyStreamError",
    "OdysseyUsageError",
    "MonthlyLimitReachedError",
    "ConcurrentLimitReachedError",
    "StreamDurationExceededError",
    "AccountSuspendedError",
    "RateLimitError",
    "VideoFrameCallback",
    "ConnectedCallback",
    "DisconnectedCallback",
    "StreamStartedCallback",
    "StreamEndedCallback",
    "StreamErrorCallback",
    "InteractAcknowledgedCallback",
    "BroadcastReadyCallback",
    "ErrorCallback",
    "StatusChangeCallback",
    "__version__",
    "DevConfig",
]

CALLBACKS = [
    "on_connected",
    "on_disconnected",
    "on_video_frame",
    "on_stream_started",
    "on_stream_ended",
    "on_interact_acknowledged",
    "on_broadcast_ready",
    "on_stream_error",
    "on_error",
    "on_status_change",
]


@pytest.mark.parametrize("name", NAMES)
def test_O3_the_public_names(name: str) -> None:
    assert name in odyssey.__all__
    assert getattr(odyssey, name) is not None


@pytest.mark.parametrize(
    ("method", "positional"),
    [
        ("connect", CALLBACKS),
        ("connect_with_credentials", ["credentials", *CALLBACKS]),
        (
            "start_stream",
            ["prompt", "portrait", "image", "image_path", "bypass_prompt_expansion", "broadcast"],
        ),
        ("interact", ["prompt"]),
        ("end_stream", []),
        ("disconnect", []),
        ("create_client_credentials", []),
        ("get_recording", ["stream_id"]),
        ("list_stream_recordings", ["limit", "offset"]),
        ("get_simulate_status", ["job_id"]),
        ("cancel_simulation", ["job_id"]),
        ("simulate", []),
        ("list_simulations", []),
    ],
)
def test_O1_methods_take_their_arguments_by_place(method: str, positional: list[str]) -> None:
    found = inspect.signature(getattr(odyssey.Odyssey, method)).parameters.values()
    by_place = [one.name for one in found if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert by_place == ["self", *positional]
    assert inspect.iscoroutinefunction(getattr(odyssey.Odyssey, method))


def test_the_handlers_take_the_same_callbacks() -> None:
    found = list(inspect.signature(odyssey.OdysseyEventHandlers).parameters)
    assert found[: len(CALLBACKS)] == CALLBACKS


@pytest.mark.parametrize("module", ["aiohttp", "websockets", "aiortc"])
def test_a_missing_part_names_the_extra(module: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from salon.base import MissingExtraError\n"
        "try:\n    import salon.clients.odyssey\n"
        "except MissingExtraError as error:\n    print(error.extra, '|', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("odyssey | "), done.stderr
    assert 'pip install "salon[odyssey]"' in done.stdout
