"""The house agent: answers from a readable file, without a language model."""

from salon.providers.house.agent import HouseAgent
from salon.providers.house.definition import DEFAULT_PATH, House, Intent

__all__ = ["DEFAULT_PATH", "House", "HouseAgent", "Intent"]
