"""Floor 9: the ``salon`` command.

Exit codes: 0 done; 1 it was tried and failed; 2 wrong usage or settings; 130 interrupted.
"""

from __future__ import annotations

import sys

USAGE = 2


def main() -> None:
    """Run the command named on the command line; does not return."""
    try:
        from salon.cli.commands import salon
    except ModuleNotFoundError as error:
        if error.name not in {"click", "dotenv"}:
            raise
        sys.stderr.write(
            'Error: the salon command needs the "serve" extra: pip install "salon[serve]"\n'
        )
        sys.exit(USAGE)
    salon.main(prog_name="salon")
