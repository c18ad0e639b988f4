"""Names of recordings that lead where none may lie: G214."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.gateway.options import RecorderOption
from salon.gateway.recording import RecordingError, recording_path


@pytest.mark.parametrize("name", [".", "calls/."])
def test_G214_no_name_becomes_a_hidden_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError):
        recording_path((tmp_path,), "one", RecorderOption(recorder_file=name))


def test_G214_a_relative_name_refused_by_the_first_folder_goes_to_no_other(tmp_path: Path) -> None:
    first, second, elsewhere = (tmp_path / name for name in ("first", "second", "elsewhere"))
    for folder in (first, second, elsewhere):
        folder.mkdir()
    (first / "calls").symlink_to(elsewhere)
    option = RecorderOption(recorder_file="calls/one")
    with pytest.raises(RecordingError):
        recording_path((first, second), "one", option)
    absolute = RecorderOption(recorder_file=f"{second}/calls/one")
    assert recording_path((first, second), "one", absolute) == second / "calls/one.wav"
