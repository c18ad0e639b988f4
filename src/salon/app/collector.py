"""The cyclic garbage collector while calls run: what stands still for it stands still for every
call."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New containers, less those that went, before the young ones are looked through. Frames make and
drop some all the time without leaving any; at the interpreter's 700 they alone set it off."""
MIDDLE, OLD = 20, 50
"""So many times young before middle, so many times middle before old."""


class SteadyCollector:
    """Between `begin` and `end` the collector leaves alone what was made before (modules, routes,
    models: hundreds of thousands of objects that stay), and looks at the rest less often. Process-
    wide; what it was set to before comes back."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None

    def begin(self) -> None:
        """Everything is loaded. Takes about a tenth of a second. Idempotent."""
        if self._before is None and gc.isenabled():
            self._before = gc.get_threshold()
            gc.collect()
            gc.freeze()
            gc.set_threshold(YOUNG, MIDDLE, OLD)

    def end(self) -> None:
        """Idempotent."""
        before, self._before = self._before, None
        if before is not None:
            gc.set_threshold(*before)
            gc.unfreeze()
