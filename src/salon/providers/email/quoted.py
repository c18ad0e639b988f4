"""What somebody wrote, apart from what they quote."""

from __future__ import annotations

import re

_WROTE = re.compile(
    # "On Monday, Ann <ann@example.org> wrote:" and its kin, on one line or broken into two
    r"(?:On|Am|Le|El|Il|Op|Em|Den|W dniu)\b[^\n]{0,300}(?:\n[^\n]{1,200})?"
    r"(?:wrote|schrieb|écrit|escribió|ha scritto|schreef|escreveu|skrev|napisał)[^\n]{0,100}:\s*"
)
_ORIGINAL = re.compile(
    r"\s*(?:-{2,}\s*(?:Original Message|Ursprüngliche Nachricht|Message d'origine|"
    r"Forwarded message|Mensaje original)\s*-{2,}|_{20,})\s*",
    re.IGNORECASE,
)
_HEADERS = re.compile(r"\*?(?:From|Von|De|Da|Van)\*?:\s*\S")
_MORE_HEADERS = re.compile(r"\*?(?:Sent|Date|Gesendet|Datum|Envoyé|Enviado|To|An|Subject)\*?:\s*\S")


def split_reply(text: str) -> tuple[str, str]:
    """The new words, and the quoted text behind them (empty if there is none).

    A quote is a line that says who wrote what follows, a separator of the usual mail programs, or
    lines that begin with ``>`` up to the end. Quotes with answers in between stay with the words.
    If nothing but a quote was sent, it is the words.
    """
    lines = text.splitlines()
    at = _begin(lines)
    words, quoted = "\n".join(lines[:at]).strip(), "\n".join(lines[at:]).strip()
    return (words, quoted) if words else (text.strip(), "")


def _begin(lines: list[str]) -> int:
    last_word = max((at for at, line in enumerate(lines) if _is_word(line)), default=-1)
    last_quote = max((at for at, line in enumerate(lines) if _is_quote(line)), default=-1)
    for at, line in enumerate(lines):
        two = f"{line}\n{lines[at + 1]}" if at + 1 < len(lines) else line
        if _WROTE.fullmatch(line.strip()[:700]) or _WROTE.fullmatch(two.strip()[:700]):
            # words below the quote are an answer in between
            if last_word <= at + 1 or last_quote <= at:
                return at
        elif _ORIGINAL.fullmatch(line[:200]) or _is_header(lines[at : at + 4]):
            return at
    return last_word + 1 if last_quote > last_word else len(lines)


def _is_word(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith(">")


def _is_quote(line: str) -> bool:
    return line.lstrip().startswith(">")


def _is_header(lines: list[str]) -> bool:
    """Whether the lines begin the header that some programs put above a quote."""
    return bool(_HEADERS.match(lines[0])) and any(_MORE_HEADERS.match(x) for x in lines[1:])
