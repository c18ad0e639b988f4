"""Phone numbers as E.164 writes them: ``+``, country code, number, at most 15 digits."""

from __future__ import annotations

import re

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NATIONAL = re.compile(r"[0-9]{4,14}")
_FILLING = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]+")
_NANP = re.compile(r"\+1[2-9][0-9]{2}[2-9][0-9]{6}")
_MAX_TEXT = 64

_REGIONS: dict[str, tuple[str, str]] = {
    "US": ("1", "1"),
    "CA": ("1", "1"),
    "AT": ("43", "0"),
    "AU": ("61", "0"),
    "BE": ("32", "0"),
    "BR": ("55", "0"),
    "CH": ("41", "0"),
    "CZ": ("420", ""),
    "DE": ("49", "0"),
    "DK": ("45", ""),
    "ES": ("34", ""),
    "FI": ("358", "0"),
    "FR": ("33", "0"),
    "GB": ("44", "0"),
    "IE": ("353", "0"),
    "IN": ("91", "0"),
    "IT": ("39", ""),
    "JP": ("81", "0"),
    "MX": ("52", ""),
    "NL": ("31", "0"),
    "NO": ("47", ""),
    "NZ": ("64", "0"),
    "PL": ("48", ""),
    "PT": ("351", ""),
    "SE": ("46", "0"),
    "SG": ("65", ""),
    "ZA": ("27", "0"),
}
"""Country code and the trunk prefix that falls away abroad."""


def is_valid_phone(number: str, default_region: str = "US") -> bool:
    """Whether `normalize_phone` can make an E.164 number of it."""
    try:
        normalize_phone(number, default_region)
    except ValueError:
        return False
    return True


def normalize_phone(number: str, default_region: str = "US") -> str:
    """`number` in E.164; without ``+`` (or ``00``, or ``011`` in North America) it is national.

    Raises `ValueError` for what no number can be. Whether it is assigned to anybody, nobody but
    the network knows.
    """
    region = default_region.upper()
    if region not in _REGIONS:
        raise ValueError(f"region {default_region!r} is unknown: write the number with +")
    text = _FILLING.sub("", number.strip()) if len(number) <= _MAX_TEXT else ""
    found = text if text.startswith("+") else _international(text, region)
    if not _E164.fullmatch(found) or (found[1] == "1" and not _NANP.fullmatch(found)):
        raise ValueError(f"not a phone number: {number[:_MAX_TEXT]!r}")
    return found


def _international(text: str, region: str) -> str:
    code, trunk = _REGIONS[region]
    if not _NATIONAL.fullmatch(text) and not text.startswith("0"):
        return ""
    if code == "1" and text.startswith("011"):
        return f"+{text[3:]}"
    if text.startswith("00"):
        return f"+{text[2:]}"
    if code == "1":
        return f"+1{text.removeprefix('1') if len(text) == 11 else text}"
    return f"+{code}{text.removeprefix(trunk)}"
