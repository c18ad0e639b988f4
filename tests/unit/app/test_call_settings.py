"""How settings of calls are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.app import call_settings
from salon.app.settings import Settings
from salon.app.webrtc import formats


def test_headers_are_an_object_or_pairs() -> None:
    assert call_settings.headers('{"A": "b"}') == (("A", "b"),)
    assert call_settings.headers('[["A", "b"], ["A", "c"]]') == (("A", "b"), ("A", "c"))
    for wrong in ("7", '["A"]', '{"A": 7}', '[["A"]]'):
        with pytest.raises(ValueError, match="JSON"):
            call_settings.headers(wrong)


def test_codecs_keep_their_names_and_only_what_calls_here_have() -> None:
    assert call_settings.codecs("PCMU, telephone-event,g729,pcmu") == ("pcmu", "telephone_event")
    chosen = formats(call_settings.codecs("pcmu,telephone_event"))
    assert chosen == ("PCMU", "telephone-event")
    assert set(chosen) < set(formats(()))


def test_folders_are_in_the_data_folder_unless_given(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.media_cache == tmp_path / "mediacache"
    assert settings.call_recordings == tmp_path / "call-recordings"
    assert settings.events == tmp_path / "events"
    assert settings.media == tmp_path / "media"
    given = Settings(data_dir=tmp_path, call_events_dir=tmp_path / "e")
    assert given.events == tmp_path / "e"


def test_nothing_is_secret_about_a_folder(tmp_path: Path) -> None:
    settings = Settings(call_records=str(tmp_path), call_webhook_headers=(("A", "hidden"),))
    assert settings.secrets() == ("hidden",)
    assert settings.record_target is not None
    assert Settings().record_target is None
    assert Settings().background is None
