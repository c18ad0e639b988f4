"""Where libopus is looked for, and what happens without it."""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from salon.base import MissingExtraError
from salon.media import opus_library as module
from salon.media.opus import OpusDecoder, OpusEncoder, opus_library

from .signals import speechlike


@pytest.fixture
def unloaded() -> Iterator[None]:
    """The library is looked for anew, in the test and after it."""
    module.load_opus.cache_clear()
    yield
    module.load_opus.cache_clear()


def test_the_library_says_its_version_and_place() -> None:
    assert "libopus" in opus_library()
    assert opus_library().endswith(")")


def test_the_library_is_loaded_once() -> None:
    assert module.load_opus()[0] is module.load_opus()[0]


def test_importing_the_module_loads_no_library() -> None:
    code = (
        "import sys, salon.media.opus, salon.media.opus_library as m;"
        "assert m.load_opus.cache_info().currsize == 0; assert 'av' not in sys.modules;"
        "m.opus_library(); assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.usefixtures("unloaded")
def test_without_any_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_candidates", lambda: iter(()))
    for use in (opus_library, OpusEncoder, OpusDecoder):
        with pytest.raises(MissingExtraError, match=r"salon\[webrtc\]") as caught:
            use()
        assert caught.value.extra == "webrtc"


@pytest.mark.usefixtures("unloaded")
def test_a_failed_search_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_candidates", lambda: iter(()))
        with pytest.raises(MissingExtraError):
            opus_library()
    assert "libopus" in opus_library()


@pytest.mark.usefixtures("unloaded")
def test_what_is_no_libopus_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "libopus.so.0"
    broken.write_bytes(b"no library")
    other = ctypes.util.find_library("c")
    assert other is not None
    good = module.load_opus()[1]
    module.load_opus.cache_clear()
    tried = [str(tmp_path / "absent.so"), str(broken), other, good]
    monkeypatch.setattr(module, "_candidates", lambda: iter(tried))
    assert module.load_opus()[1] == good


@pytest.mark.usefixtures("unloaded")
def test_the_copy_inside_PyAV_serves_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("av")
    copies = module._bundled()
    if not copies:
        pytest.skip("this PyAV brings no libopus along")
    monkeypatch.setattr(module, "_UNIX_NAMES", ("absent.so",))
    assert copies[0] in opus_library()
    packet = OpusEncoder().encode(speechlike(320))
    assert len(OpusDecoder().decode(packet)) == 320


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_other_names_and_a_search(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"{name}.found")
    monkeypatch.setattr(module, "_bundled", lambda: ["last"])
    *names, found, last = module._candidates()
    assert {Path(name).suffix for name in names} == {
        {"darwin": ".dylib", "win32": ".dll"}[platform]
    }
    assert (found, last) == ("opus.found", "last")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert list(module._candidates()) == [*names, "last"]


def test_on_linux_no_program_is_run_to_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: pytest.fail("searched"))
    monkeypatch.setattr(module, "_bundled", lambda: ["last"])
    assert list(module._candidates()) == ["libopus.so.0", "libopus.so", "last"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("av.libs", "libopus-114e2b1a.so.0.11.1"),
        ("av.libs", "opus-0a1b.dll"),
        ("av/.dylibs", "libopus.0.dylib"),
    ],
)
def test_bundled_copies_are_found_by_their_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, name: str
) -> None:
    (tmp_path / "av").mkdir()
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    for file in (name, "libvpx.so.9", "libopusfile.so.0"):
        (place / file).touch()
    spec = ModuleSpec("av", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "av")]
    monkeypatch.setattr(module, "find_spec", lambda package: spec)
    assert module._bundled() == [str(place / name)]


def test_no_PyAV_means_no_bundled_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    assert module._bundled() == []
