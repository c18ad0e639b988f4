"""How the commands that talk to a server run."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

INTERRUPTED = 130
T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; Ctrl-C lets it clean up and ends the program with 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def tls_context(insecure: bool) -> ssl.SSLContext | None:
    """The context that accepts any certificate, or None for the usual checks."""
    if not insecure:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
