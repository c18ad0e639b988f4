"""Tools that are more than a function: so far those that ask a person (R167)."""

from __future__ import annotations

from salon.tools.human_input import HumanInputHandler, HumanInputToolHandler

__all__ = ["HumanInputHandler", "HumanInputToolHandler"]
