"""Folders of what is private."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> None:
    """Make `folder`, and those above it that are missing, for their owner only.

    What exists already keeps its rights. Raises `OSError`.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
