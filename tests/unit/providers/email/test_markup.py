"""HTML to words and Markdown to HTML."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.email.markup import MAX_HTML, html_to_text, markdown_to_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two<br>three</p>", "One\n\nTwo\nthree"),
        ("a &amp; b &lt;c&gt; 1 < 2", "a & b <c> 1 < 2"),
        ("<head><title>no</title></head><style>p{}</style><script>no()</script>yes", "yes"),
        ("<script>never closed", ""),
        ("<!-- no > no --><!doctype html><?php no ?>yes<!-- open", "yes"),
        (
            '<a href="https://example.org/x?a=1&amp;b=2">here</a>',
            "here (https://example.org/x?a=1&b=2)",
        ),
        ('<a href="https://example.org">https://example.org</a>', "https://example.org"),
        ('<a href="javascript:no()">here</a> <a>there</a>', "here there"),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ('<img src="x" alt="owl"><img src="y">', "[owl]"),
        (
            "new<blockquote>old<blockquote>older</blockquote></blockquote>after",
            "new\n> old\n> > older\nafter",
        ),
        (
            'yes<div class="gmail_quote"><div>On Monday</div><p>old</p></div>yes too',
            "yes\n> On Monday\n> old\n>\nyes too",
        ),
        ("<b unclosed", ""),
        ("</p></blockquote>stray ends", "stray ends"),
        ("<a class='x' HREF=http://e.org/1>go</a>", "go (http://e.org/1)"),
        ("\u0130<script>no</script>yes", "\u0130yes"),
    ],
)
def test_words_of_a_page(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<",
        "</",
        "<!",
        "<!--",
        "<a href='",
        "<blockquote>",
        "<div>",
        "&#",
        "<script></",
        "<p>",
        "<a href=http://e.org>x</a>",
        '<div class="gmail_quote">x</p>',
        "<script>",
        "</script",
    ],
)
def test_broken_pages_take_linear_time(piece: str) -> None:
    page = piece * (MAX_HTML // len(piece) + 10)
    began = time.process_time()
    html_to_text(page)
    assert time.process_time() - began < 5.0


@given(st.text(alphabet="<>/a!-?=\"'& bp\n", max_size=200))
def test_no_page_fails(page: str) -> None:
    assert isinstance(html_to_text(page), str)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("One\ntwo\n\nthree", "<p>One<br>two</p>\n<p>three</p>"),
        ("# Big\nwords", "<h1>Big</h1>\n<p>words</p>"),
        (
            "- a\n- b\n\n1. c\n2. d",
            "<ul><li>a</li>\n<li>b</li></ul>\n<ol><li>c</li>\n<li>d</li></ol>",
        ),
        (
            "**bold** *it* `a*b*<c>`",
            "<p><strong>bold</strong> <em>it</em> <code>a*b*&lt;c&gt;</code></p>",
        ),
        (
            "[x & y](https://e.org/?a=1&b=2)",
            '<p><a href="https://e.org/?a=1&amp;b=2">x &amp; y</a></p>',
        ),
        ("[x](javascript:no)", "<p>[x](javascript:no)</p>"),
        ("<script>no</script>", "<p>&lt;script&gt;no&lt;/script&gt;</p>"),
        ("```py\n**a** <b>\n```", "<pre><code>**a** &lt;b&gt;</code></pre>"),
        ("```\nopen", "<pre><code>open</code></pre>"),
        ("a\x00b 2*3*4", "<p>ab 2*3*4</p>"),
    ],
)
def test_markdown(markdown: str, html: str) -> None:
    assert markdown_to_html(markdown) == html


@given(st.text(max_size=300))
def test_markdown_never_lets_html_through(text: str) -> None:
    html = markdown_to_html(text)
    assert "<script" not in html
    assert "<img" not in html


@pytest.mark.parametrize("piece", ["[", "*", "**a", "[a](http://", "`", "*a ", "- ", "# "])
def test_broken_markdown_takes_little_time(piece: str) -> None:
    began = time.process_time()
    markdown_to_html(piece * (65_536 // len(piece)))
    assert time.process_time() - began < 5.0
