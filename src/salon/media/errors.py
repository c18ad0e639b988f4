"""What goes wrong with sound from outside.

SalonError
└── MediaError                root of this package
    └── WavError              not a WAV file, damaged, or a kind that is not supported
"""

from __future__ import annotations

from salon.base import SalonError


class MediaError(SalonError, ValueError):
    """Root of the errors of `salon.media`; also a `ValueError`."""

    code = "media"


class WavError(MediaError):
    """A WAV file can't be read or written; the message says what is wrong with it."""

    code = "wav"
