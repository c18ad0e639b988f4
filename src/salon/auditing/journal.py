"""A file of JSON Lines that is only ever appended to."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pydantic import BaseModel

_log = logging.getLogger("salon.auditing")


class Journal:
    """Appends one line per entry and makes the folders above the file. What cannot be written is
    logged and counted in `lost`, never raised (R263). Safe to call from any thread."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.lost = 0
        self._writing = threading.Lock()

    def append(self, entry: BaseModel) -> None:
        """Write one entry; it is in the file when this returns."""
        try:
            line = entry.model_dump_json(fallback=str) + "\n"
            with self._writing:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
        except (OSError, ValueError) as error:
            self.lost += 1
            _log.error("an entry of %s was not written: %s", self.path, error)
