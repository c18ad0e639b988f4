"""The cores of the interactive-video stand-in."""
