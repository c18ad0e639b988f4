"""numpy's products stay in the calling thread while the network runs, and only then."""

from __future__ import annotations

import pytest

from salon.voice.vad import blas
from salon.voice.vad.blas import SingleThread


def test_one_thread_inside_the_former_number_outside() -> None:
    found = blas._find()
    if found is None:
        pytest.skip("this numpy has no OpenBLAS")
    get, _ = found
    before = get()
    with SingleThread() as single:
        assert single.effective
        assert get() == 1
    assert get() == before


def test_without_openblas_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_NAMES", ("no_such_{}_function",))
    with SingleThread() as single:
        assert not single.effective


def test_without_numpys_extension_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_EXTENSIONS", ("no_such.module",))
    assert not SingleThread().effective
