"""Gain control, between echo cancelling and noise suppression (V53, V67)."""

from salon.voice.pipeline.agc.base import AGCConfig, AGCProvider
from salon.voice.pipeline.agc.mock import MockAGCProvider
from salon.voice.pipeline.agc.simple import SimpleAGCProvider

__all__ = ["AGCConfig", "AGCProvider", "MockAGCProvider", "SimpleAGCProvider"]
