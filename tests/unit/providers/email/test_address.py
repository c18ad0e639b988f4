"""What goes into a header, and who somebody is."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.email import InvalidEmailError, Mailbox, normalize_email, parse_mailbox
from salon.providers.email.address import phrase, unstructured


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ann@example.org", Mailbox("ann@example.org")),
        (" Ann Lee <Ann@Example.ORG> ", Mailbox("Ann@example.org", "Ann Lee")),
        (r'"Lee, \"Ann\"" <a.b+c@e.org>', Mailbox("a.b+c@e.org", 'Lee, "Ann"')),
        ("a@müller.example", Mailbox("a@xn--mller-kva.example")),
        ("<a@e.org>", Mailbox("a@e.org")),
    ],
)
def test_parsed(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text, "recipient") == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@e.org",
        "a@",
        "a@e..org",
        "a@-e.org",
        "a b@e.org",
        "a@e.org, b@e.org",
        "a@e.org b",
        ".a@e.org",
        "a..b@e.org",
        "a@e.org\n",
        "a\r@e.org",
        "A <a@e.org>, B <b@e.org>",
        "<a@e.org",
        "a@[1.2.3.4]",
        f"{'a' * 65}@e.org",
        f"a@{'e' * 64}.org",
        f"a@{'e.' * 130}org",
        "a\ud800@e.org",
        "N\x85 <a@e.org>",
        f"{'N' * 300} <a@e.org>",
        "a@ex\u2028.org",
        "a@.ä",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidEmailError) as refusal:
        parse_mailbox(text, "recipient")
    assert refusal.value.error == "invalid_recipient"


def test_addresses_are_compared_in_lower_case() -> None:
    assert normalize_email("Ann <ANN@Example.org>") == "ann@example.org"
    assert parse_mailbox("ä@e.org", "sender").needs_utf8


@given(st.text(max_size=300))
def test_no_text_breaks_out(text: str) -> None:
    try:
        mailbox = parse_mailbox(text, "sender")
    except InvalidEmailError:
        return
    assert not set("\r\n\0") & set(mailbox.header().replace("\r\n ", ""))


_LINE = st.text(
    st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=300
)


@given(_LINE)
def test_free_text_arrives_as_it_was_written(text: str) -> None:
    value = unstructured("Subject", text)
    assert value.isascii()
    assert "\n" not in value.replace("\r\n ", "").replace("\r\n\t", "")
    unfolded = value.replace("\r\n", "")
    assert str(make_header(decode_header(unfolded))) == text


def test_names() -> None:
    assert phrase('A "B" \\') == r'"A \"B\" \\"'
    assert phrase("Ä").startswith("=?utf-8?")
    assert "=?utf-8?" in phrase("=?utf-8?q?x?=")
