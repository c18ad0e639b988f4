"""``python -m salon.cli``."""

from salon.cli import main

main()
