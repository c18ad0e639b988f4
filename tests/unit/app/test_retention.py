"""How long files are kept."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from salon.app.retention import DAY_S, KeepRule, Retention
from salon.testing import VirtualClock, virtual_time


class Folder:
    """A folder whose files have ages, in days."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = VirtualClock(epoch=1_767_600_000.0)

    def put(self, name: str, days: float, size: int = 10) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        self.age(path, days)
        return path

    def age(self, path: Path, days: float) -> None:
        at = self.clock.time() - days * DAY_S
        os.utime(path, (at, at))

    def names(self) -> set[str]:
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def wav(folder: Folder, days: float = 0, max_bytes: int = 0) -> KeepRule:
    return KeepRule("recordings", (folder.root,), "*.wav", days, max_bytes)


def test_files_past_their_days_go(folder: Folder) -> None:
    for days in (1, 29, 31, 400):
        folder.put(f"{days}.wav", days)
    folder.put("31.events.jsonl", 31)
    retention = Retention([wav(folder, days=30)], clock=folder.clock)
    swept = retention.sweep()
    assert folder.names() == {"1.wav", "29.wav", "31.events.jsonl"}
    assert (swept.files, swept.bytes) == ({"recordings": 2}, {"recordings": 20})
    retention.sweep()
    assert retention.total.files == {"recordings": 2}


def test_the_oldest_go_until_the_rest_fits(folder: Folder) -> None:
    for days in (1, 2, 3, 4):
        folder.put(f"{days}/a.wav", days, 100)
    Retention([wav(folder, max_bytes=250)], clock=folder.clock).sweep()
    assert folder.names() == {"1/a.wav", "2/a.wav"}


def test_each_kind_has_its_own_rule(folder: Folder) -> None:
    other = folder.root / "other"
    rules = [
        wav(folder, days=10),
        KeepRule("events", (folder.root, other, folder.root), "*.events.jsonl", 1, 0),
        KeepRule("call records", (other,), "*.json", 0, 15),
    ]
    for name in ("a.wav", "a.events.jsonl", "a.json", "other/b.json", "other/c.json"):
        folder.put(name, 5)
    swept = Retention(rules, clock=folder.clock).sweep()
    assert folder.names() == {"a.wav", "a.json", "other/c.json"}
    assert swept.files == {"events": 1, "call records": 1}


def test_files_of_live_calls_and_young_ones_stay(folder: Folder) -> None:
    live = folder.put("live.wav", 50)
    folder.put("young.wav", 0.0001, 1000)
    folder.put("old.wav", 40)
    rule = wav(folder, days=30, max_bytes=1)
    Retention([rule], in_use=lambda: {live}, clock=folder.clock).sweep()
    assert folder.names() == {"live.wav", "young.wav"}


def test_no_limit_deletes_nothing(folder: Folder) -> None:
    folder.put("a.wav", 5000, 5000)
    Retention([wav(folder)], clock=folder.clock).sweep()
    assert folder.names() == {"a.wav"}
    assert not wav(folder).active


def test_links_are_neither_followed_nor_removed(folder: Folder, tmp_path: Path) -> None:
    root = Folder(tmp_path / "root")
    outside = folder.put("outside/a.wav", 50)
    root.put("b.wav", 50)
    (root.root / "link").symlink_to(outside.parent)
    (root.root / "c.wav").symlink_to(outside)
    Retention([wav(root, days=1)], clock=folder.clock).sweep()
    assert outside.exists()
    assert (root.root / "c.wav").is_symlink()
    assert not (root.root / "b.wav").exists()


def test_folders_that_have_been_empty_for_long_go(folder: Folder) -> None:
    folder.put("20260101/a.wav", 50)
    (folder.root / "fresh").mkdir()
    folder.age(folder.root / "fresh", 0)
    retention = Retention([wav(folder, days=1)], clock=folder.clock)
    retention.sweep()
    assert (folder.root / "20260101").is_dir()  # has only just become empty
    folder.age(folder.root / "20260101", 1)
    retention.sweep()
    assert [path.name for path in folder.root.iterdir()] == ["fresh"]
    folder.age(folder.root / "fresh", 1)
    folder.age(folder.root, 1)
    retention.sweep()
    assert folder.root.is_dir()


def test_what_cannot_be_deleted_is_counted(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.put("a.wav", 50)
    folder.put("b.wav", 49)
    unlink = Path.unlink

    def refuse(path: Path) -> None:
        if path.name == "a.wav":
            raise PermissionError(1, "Operation not permitted")
        unlink(path)
        raise FileNotFoundError(2, "somebody else was faster")

    monkeypatch.setattr(Path, "unlink", refuse)
    swept = Retention([wav(folder, days=1)], clock=folder.clock).sweep()
    assert swept.failed == 1
    assert swept.files == {}
    assert "was not deleted: Operation not permitted" in caplog.text


def test_a_folder_that_is_not_there(folder: Folder) -> None:
    rule = KeepRule("x", (folder.root / "none",), "*", 1)
    assert Retention([rule], clock=folder.clock).sweep().files == {}


@virtual_time
async def test_it_tidies_at_the_start_and_every_hour(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.clock = VirtualClock()
    folder.put("a.wav", 2)
    retention = Retention([wav(folder, days=1)], clock=folder.clock)
    await retention.start()
    await asyncio.sleep(1)
    assert folder.names() == set()
    folder.put("b.wav", 2)
    await asyncio.sleep(3000)
    assert folder.names() == {"b.wav"}
    await asyncio.sleep(700)
    assert folder.names() == set()
    await retention.close()


@virtual_time
async def test_a_sweep_that_fails_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(tmp_path)
    folder.clock = VirtualClock()
    folder.put("a.wav", 2)
    retention = Retention([wav(folder, days=1)], clock=folder.clock, period=10)
    sweep = retention.sweep
    monkeypatch.setattr(retention, "sweep", lambda: (_ for _ in ()).throw(RuntimeError()))
    await retention.start()
    await asyncio.sleep(1)
    assert "files were not tidied away" in caplog.text
    monkeypatch.setattr(retention, "sweep", sweep)
    await asyncio.sleep(10)
    assert folder.names() == set()
    await retention.close()


async def test_without_rules_nothing_runs(tmp_path: Path) -> None:
    retention = Retention([KeepRule("x", (tmp_path,), "*")])
    await retention.start()
    assert len(retention._scope) == 0
    await retention.close()
