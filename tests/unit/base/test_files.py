"""Folders of what is private."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from salon.base.files import private_folder


def rights(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o000], ids=["usual umask", "no umask"])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_every_missing_folder_is_made_for_the_owner_only(tmp_path: Path) -> None:
    private_folder(tmp_path / "data" / "calls" / "today")
    for made in ("data", "data/calls", "data/calls/today"):
        assert rights(tmp_path / made) == 0o700, made


def test_what_exists_keeps_its_rights(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    private_folder(shared / "recordings")
    private_folder(shared)
    assert rights(shared) == 0o755
    assert rights(shared / "recordings") == 0o700


def test_making_it_again_changes_nothing(tmp_path: Path) -> None:
    private_folder(tmp_path / "data")
    (tmp_path / "data" / "kept").write_text("x")
    private_folder(tmp_path / "data")
    assert (tmp_path / "data" / "kept").read_text() == "x"


def test_a_file_in_the_way_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(OSError, match="data"):
        private_folder(tmp_path / "data" / "calls")
