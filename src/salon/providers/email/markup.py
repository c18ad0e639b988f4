"""Between the two bodies of an e-mail: HTML for the eye, plain text for everything else."""

from __future__ import annotations

import re
from html import escape, unescape

MAX_HTML = 262_144
"""Characters of HTML that are read; what is behind them is left out."""

_SILENT = frozenset({"script", "style", "head", "title", "template", "noscript"})
_BLOCK_NAMES = (
    "address article blockquote div dl dt dd fieldset figure footer form h1 h2 h3 h4 h5 h6 header"
    " hr li main ol p pre section table tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_VOID_NAMES = "area base br col embed hr img input link meta source track wbr"
_VOID = frozenset(_VOID_NAMES.split())
_QUOTES = re.compile(r"\b(gmail_quote|moz-cite-prefix|yahoo_quoted|protonmail_quote)\b")
_MAX_DEPTH = 200
_TAG = re.compile(r"<(?:(?P<name>/?[A-Za-z][A-Za-z0-9:-]{0,30})|(?P<other>[!?]))")
_ATTRIBUTE = re.compile(
    r"\b(href|class|alt)\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE
)
_MAX_TAG = 4096


class _Reader:
    """Lines of text; each knows how deep in quotes it is."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._line: list[str] = []
        self._quotes: list[str] = []  # tags open since the first quote, to find its end
        self._depth = 0
        self._href = ""
        self._link_at = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        quote = tag == "blockquote" or bool(_QUOTES.search(attributes.get("class", "")))
        if tag in _BLOCKS or tag == "br" or quote:
            self.break_line(always=tag == "br")
        if tag not in _VOID and (self._quotes or quote) and len(self._quotes) < _MAX_DEPTH:
            self._quotes.append(f"{tag}>" if quote else tag)
            self._depth += quote
        if tag == "li":
            self._line.append("- ")
        elif tag == "a":
            self._href = attributes.get("href", "")
            self._link_at = len(self._line)
        elif tag == "img" and attributes.get("alt"):
            self._line.append(f"[{attributes['alt']}]")
        elif tag in ("td", "th") and self._line:
            self._line.append(" ")

    def end(self, tag: str) -> None:
        if tag == "a" and self._href:
            words = "".join(self._line[self._link_at :])
            if self._href.startswith(("http://", "https://")) and self._href not in words:
                self._line.append(f" ({self._href})")
            self._href = ""
        if tag in _BLOCKS:
            self.break_line()
        self._close_quotes(tag)
        if tag == "p":
            self.break_line(always=True)

    def text(self, data: str) -> None:
        if data:
            self._line.append(unescape(data))

    def break_line(self, *, always: bool = False) -> None:
        words = " ".join("".join(self._line).split())
        self._line.clear()
        self._link_at = 0
        if words or (always and self.lines and self.lines[-1].strip("> ")):
            prefix = "> " * min(self._depth, 3)
            self.lines.append(f"{prefix}{words}".rstrip())

    def _close_quotes(self, tag: str) -> None:
        for place in range(len(self._quotes) - 1, -1, -1):
            if self._quotes[place].rstrip(">") == tag:
                self.break_line()
                self._depth -= sum(item.endswith(">") for item in self._quotes[place:])
                del self._quotes[place:]
                return


def html_to_text(html: str) -> str:
    """The words of a page. Quotes begin with ``> ``, links keep their target; no script, no style,
    no comment. Never raises and takes linear time (the standard library's parser is quadratic in
    unclosed tags); at most `MAX_HTML` characters are read."""
    html = html[:MAX_HTML]
    lower = html.lower() if len(html.lower()) == len(html) else html
    reader = _Reader()
    at = 0
    while (found := _TAG.search(html, at)) is not None:
        reader.text(html[at : found.start()])
        comment = html.startswith("<!--", found.start())
        closing = "-->" if comment else ">"
        end = html.find(closing, found.end())
        if end < 0:
            at = len(html)
            break
        at = end + len(closing)
        tag = (found["name"] or "").lower()
        if tag in _SILENT:
            silent = lower.find(f"</{tag}", at)
            at = len(html) if silent < 0 else silent
        elif tag.startswith("/"):
            reader.end(tag[1:])
        elif tag:
            reader.start(tag, _attributes(html[found.end() : min(end, found.end() + _MAX_TAG)]))
    reader.text(html[at:])
    reader.break_line()
    return "\n".join(reader.lines).strip("\n")


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in _ATTRIBUTE.finditer(text):
        found.setdefault(item[1].lower(), unescape(item[2] or item[3] or item[4] or ""))
    return found


_HEADING = re.compile(r"(#{1,6}) +(.+)")
_BULLET = re.compile(r" {0,3}[-*+] +(.+)")
_NUMBER = re.compile(r" {0,3}\d{1,9}[.)] +(.+)")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[([^\[\]\n]{1,500})\]\(((?:https?://|mailto:)[^\s()<>\"]{1,2000})\)")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_ITALIC = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")


def markdown_to_html(text: str) -> str:
    """The Markdown that chats use: headings, lists, code, bold, italic and links to the web.

    Everything else, HTML above all, is shown as it is written.
    """
    blocks: list[str] = []
    fenced: list[str] | None = None
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            if fenced is not None:
                blocks.append(f"<pre><code>{escape(chr(10).join(fenced))}</code></pre>")
            fenced = [] if fenced is None else None
        elif fenced is not None:
            fenced.append(line)
        else:
            blocks.append(_block(line))
    if fenced:
        blocks.append(f"<pre><code>{escape(chr(10).join(fenced))}</code></pre>")
    return _joined(blocks)


def _block(line: str) -> str:
    if found := _HEADING.fullmatch(line):
        level = len(found[1])
        return f"<h{level}>{_inline(found[2])}</h{level}>"
    if found := _BULLET.fullmatch(line):
        return f"<ul><li>{_inline(found[1])}</li></ul>"
    if found := _NUMBER.fullmatch(line):
        return f"<ol><li>{_inline(found[1])}</li></ol>"
    return _inline(line.strip())


def _joined(blocks: list[str]) -> str:
    """Lines of words become paragraphs, neighbours of one list one list."""
    html: list[str] = []
    words: list[str] = []
    for block in [*blocks, ""]:
        if block and not block.startswith(("<h", "<ul>", "<ol>", "<pre>")):
            words.append(block)
            continue
        if words:
            html.append(f"<p>{'<br>'.join(words)}</p>")
            words = []
        if block:
            html.append(block)
    joined = "\n".join(html)
    return joined.replace("</ul>\n<ul>", "\n").replace("</ol>\n<ol>", "\n")


def _inline(text: str) -> str:
    kept: list[str] = []

    def keep(html: str) -> str:
        kept.append(html)
        return f"\x00{len(kept) - 1}\x00"

    shown = text.replace("\x00", "")
    shown = _CODE.sub(lambda m: keep(f"<code>{escape(m[1])}</code>"), shown)
    shown = _LINK.sub(lambda m: keep(f'<a href="{escape(m[2])}">') + m[1] + keep("</a>"), shown)
    shown = escape(shown)
    shown = _BOLD.sub(r"<strong>\1</strong>", shown)
    shown = _ITALIC.sub(r"<em>\1</em>", shown)
    return re.sub(r"\x00(\d+)\x00", lambda m: kept[int(m[1])], shown)
