"""Pieces of the configuration file that the rules do not name."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.app.config_file import read_config, split_address
from salon.app.settings import VARIABLES
from salon.base import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("2", 2.0), ('"2m"', 120.0), ('"7"', 7.0), ("1.5", 1.5)]
)
def test_times_are_numbers_or_texts(tmp_path: Path, text: str, seconds: float) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"accept_timeout = {text}")
    assert read_config(file, VARIABLES).values["accept_timeout"] == seconds


@pytest.mark.parametrize("text", ["true", '""', "[1]"])
def test_what_is_no_time(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"graceful_shutdown_timeout = {text}")
    with pytest.raises(ConfigurationError, match="graceful_shutdown_timeout"):
        read_config(file, VARIABLES)


@pytest.mark.parametrize("text", ['"opus"', "[1]", "7"])
def test_what_is_no_list_of_codecs(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"codecs = {text}")
    with pytest.raises(ConfigurationError, match=r"codecs.*has to be a list of names"):
        read_config(file, VARIABLES)


def test_blank_texts_count_as_not_set(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'log_level = " "\nhttp_addr = ""\n[handler]\ntype = "webhook"\nurl = "http://a/"'
    )
    values = read_config(file, VARIABLES).values
    assert values == {"accept_timeout": 60.0, "call_webhook_urls": ("http://a/",)}


def test_a_secret_in_a_wrong_value_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[callrecord]\ntype = "s3"\nsecret_key = "very-hidden"')
    with pytest.raises(ConfigurationError) as told:
        read_config(file, VARIABLES)
    assert "very-hidden" not in str(told.value)


def test_an_address_of_any_form() -> None:
    assert split_address("") == ("", "")
    assert split_address(" [::1] ") == ("::1", "")
