"""The names that programs written for RoomKit import."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import salon.voice.pipeline as package
from salon.voice.pipeline import config as config_module
from salon.voice.pipeline.config import AudioPipelineConfig


@pytest.mark.parametrize("name", package._WHERE)
def test_every_name_leads_somewhere(name: str) -> None:
    assert getattr(package, name) is not None
    assert name in dir(package)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        package.Magic  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        config_module.Magic  # noqa: B018


@pytest.mark.parametrize("name", config_module._ELSEWHERE)
def test_settings_are_reachable_from_the_configuration(name: str) -> None:
    where = import_module(f"salon.voice.pipeline.{config_module._ELSEWHERE[name]}")
    assert getattr(config_module, name) is getattr(where, name)


def test_the_interruption_settings_are_reachable_too() -> None:
    from salon.voice.interruption import InterruptionConfig

    assert vars(config_module)["__getattr__"]("InterruptionConfig") is InterruptionConfig


def test_the_defaults() -> None:
    made = AudioPipelineConfig()
    assert made.turn_incomplete_wait_ms == 1500.0
    assert made.postprocessors == []
    assert not made.suppress_dtmf
    others = {
        name
        for name, value in vars(made).items()
        if name not in {"turn_incomplete_wait_ms", "postprocessors", "suppress_dtmf"}
        and value is not None
    }
    assert others == set()


def test_the_package_loads_nothing_by_itself() -> None:
    code = (
        "import sys, salon.voice.pipeline as p; assert 'numpy' not in sys.modules;"
        " assert p.AudioPipelineConfig"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
