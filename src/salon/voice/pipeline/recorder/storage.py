"""Where recordings go: names, resolved when a recording starts (V83, V198)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from salon.base import PolicyError, resolve_below
from salon.voice.pipeline.recorder.base import RecordingConfigurationError


class RecordingStorage(ABC):
    """A place for finished files. Recordings are written to `directory` on this machine first."""

    @property
    @abstractmethod
    def directory(self) -> Path:
        """Where files are written while the call lasts; made if missing."""

    def publish(self, path: Path) -> str:
        """Bring one finished (and encrypted) file to where it stays; return its address.

        Runs on a thread of its own kind, one file after the other: bound its waits. `OSError` (or
        a `SalonError`) says it failed: the local file must then still be there.
        """
        return str(path)


class DirectoryStorage(RecordingStorage):
    """Files stay in a directory."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    @property
    def directory(self) -> Path:
        return self._directory


class RecordingStorages:
    """The storages a recorder knows by name.

    ``""`` and ``file`` are `directory`; ``file:calls/2026`` is a folder below it. Without a
    `directory` they are ``recordings`` in the working directory, and a name with a separator in it
    (``./kept``, ``/var/calls``) is that path: the program itself said where. With one, such a path
    is refused unless it lies below.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self._given = directory is not None
        self._root = Path("recordings") if directory is None else Path(directory)
        self._named: dict[str, RecordingStorage] = {}

    @property
    def names(self) -> list[str]:
        """What `resolve` takes, beside folders below ``file:``."""
        return ["", "file", *sorted(self._named)]

    def register(self, name: str, storage: RecordingStorage) -> None:
        """Add a storage. `RecordingConfigurationError` if the name is not free or not plain."""
        if name in self.names or not name.replace("-", "").replace("_", "").isalnum():
            raise RecordingConfigurationError(
                f"{name!r} can't name a recording storage: it is taken, or has other signs than"
                " letters, digits, - and _"
            )
        self._named[name] = storage

    def resolve(self, name: str) -> RecordingStorage:
        """The storage of a name; `RecordingConfigurationError` if there is none."""
        if name in ("", "file"):
            return DirectoryStorage(self._root)
        if name in self._named:
            return self._named[name]
        scheme, colon, below = name.partition(":")
        if colon and scheme == "file":
            return DirectoryStorage(self._below(below))
        if ("/" in name or "\\" in name) and "://" not in name:
            return DirectoryStorage(self._below(name) if self._given else Path(name))
        raise RecordingConfigurationError(
            f"recording storage {name!r} is unknown; there are {self.names} and folders as"
            " 'file:folder'"
        )

    def _below(self, name: str) -> Path:
        try:
            return resolve_below(self._root, name)
        except PolicyError as error:
            raise RecordingConfigurationError(f"recording storage: {error}") from error
