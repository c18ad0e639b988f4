"""E-mail against real servers: aiosmtpd takes it, Dovecot has it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import imaplib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from tests.unit.app.rest import serving

from salon.app.compose import compose
from salon.app.settings import load_settings
from salon.models import (
    ChannelType,
    CompositeContent,
    EventContent,
    EventSource,
    InboundMessage,
    InboundResult,
    MediaContent,
    RichContent,
    RoomEvent,
    SourceStatus,
    TextContent,
)
from salon.providers.email import (
    EmailLimits,
    IMAPConfig,
    MailboxError,
    MailboxSource,
    SMTPConfig,
    SMTPEmailProvider,
    message_id_for,
    parse_email,
)

FROM = "Salon <bot@salon.example>"
TO = "ann@example.org"
PASSWORD = "s3cret phrase \u00e4"


def event(content: EventContent | str = "Hello", **fields: Any) -> RoomEvent:
    found = TextContent(body=content) if isinstance(content, str) else content
    source = EventSource(channel_id="ai", channel_type=ChannelType.AI)
    return RoomEvent(room_id="r", source=source, content=found, **fields)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of localhost in one file."""
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = [*make, "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(made, check=True, capture_output=True)
    path.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    path.chmod(0o644)
    return path


# -- out ------------------------------------------------------------------------------------------


def cut(server: SMTP) -> None:
    """End a connection at once."""
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


@dataclass
class Post:
    """What an SMTP server took, and how it answers."""

    taken: list[Envelope] = field(default_factory=list)
    rcpt: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    drop: str = ""
    hold: asyncio.Event | None = None
    busy: int = 0
    most_busy: int = 0
    servers: list[SMTP] = field(default_factory=list)

    def message(self, at: int = -1) -> EmailMessage:
        raw = self.taken[at].original_content
        assert raw is not None
        found = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.drop == "rcpt":
            self.drop = ""
            cut(server)
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0)
        self.busy -= 1
        self.taken.append(envelope)
        if self.drop == "end":
            self.drop = ""
            cut(server)
        return self.data.pop(0) if self.data else "250 2.0.0 taken"


def login(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=right)


@asynccontextmanager
async def smtp_server(*, tls: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Post]:
    post = Post()

    def factory() -> SMTP:
        post.connections += 1
        made = SMTP(post, enable_SMTPUTF8=settings.get("utf8", True), **settings.get("smtp", {}))
        post.servers.append(made)
        return made

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        for item in post.servers:
            cut(item)
        await asyncio.sleep(0)


@asynccontextmanager
async def provider(post: Post, **settings: Any) -> AsyncIterator[SMTPEmailProvider]:
    known = {"host": "127.0.0.1", "port": post.port, "tls": "none", "from_address": FROM}
    made = SMTPEmailProvider(SMTPConfig(**(known | {"timeout": 30.0} | settings)))
    try:
        yield made
    finally:
        await made.close()


async def test_a_message_arrives_as_it_was_written() -> None:
    async with smtp_server() as post, provider(post) as mail:
        words = "Grüße,\n.\nÄnne \U0001f600\n.dot\n" + "x" * 3000
        sent = event(words)
        result = await mail.send(sent, "Änne <Ann@example.org>", subject="Schöne Größe " * 20)
    assert result.success
    assert result.provider_message_id == message_id_for(sent.id, TO, "salon.example")
    message = post.message()
    assert post.taken[0].rcpt_tos == ["Ann@example.org"]
    assert post.taken[0].mail_from == "bot@salon.example"
    assert message["Message-ID"] == result.provider_message_id
    assert message["From"] == "Salon <bot@salon.example>"
    assert message["To"].addresses[0].display_name == "Änne"
    assert message["Subject"] == "Schöne Größe " * 20
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().replace("\r\n", "\n") == f"{words}\n"
    raw = post.taken[0].original_content or b""
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


async def test_rich_content_and_attachments() -> None:
    content = CompositeContent(
        parts=[
            RichContent(body="**Hi** <b>you</b>", plain_text="Hi you"),
            MediaContent(url="data:text/csv;base64,YSxi", mime_type="text/csv", filename="a.csv"),
            MediaContent(url="https://example.org/owl.png", mime_type="image/png"),
        ]
    )
    async with smtp_server() as post, provider(post) as mail:
        assert (await mail.send(event(content), TO)).success
    message = post.message()
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert "Hi you" in plain.get_content()
    assert "https://example.org/owl.png" in plain.get_content()
    assert html is not None
    assert "<strong>Hi</strong> &lt;b&gt;you&lt;/b&gt;" in html.get_content()
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("a.csv", "text/csv")
    assert attached.get_payload(decode=True) == b"a,b"


async def test_connections_are_used_again_and_bounded() -> None:
    async with smtp_server() as post, provider(post, max_connections=2) as mail:
        results = await asyncio.gather(*(mail.send(event(), TO) for _ in range(20)))
        assert mail.statistics().waiting == 0
        assert mail.statistics().idle <= 2
    assert all(result.success for result in results)
    assert post.connections <= 2
    assert post.most_busy <= 2


async def test_a_connection_is_closed_after_its_messages() -> None:
    async with (
        smtp_server() as post,
        provider(post, max_connections=1, max_messages_per_connection=2) as mail,
    ):
        for _ in range(5):
            assert (await mail.send(event(), TO)).success
    assert post.connections == 3


@pytest.mark.parametrize(
    ("answer", "retryable", "enhanced"),
    [("450 4.2.1 later", True, "4.2.1"), ("550 5.1.1 nobody", False, "5.1.1")],
)
async def test_refused_recipients(answer: str, retryable: bool, enhanced: str) -> None:
    async with smtp_server() as post, provider(post) as mail:
        post.rcpt = [answer]
        result = await mail.send(event(), TO)
        assert (await mail.send(event(), TO)).success
        assert post.connections == 1
    assert not result.success
    assert result.error == f"smtp_{answer[:3]}"
    assert result.provider_code == int(answer[:3])
    assert result.retryable is retryable
    assert result.metadata["enhanced_code"] == enhanced
    assert not result.outcome_unknown


async def test_a_message_refused_at_its_end_was_not_sent() -> None:
    async with smtp_server() as post, provider(post) as mail:
        post.data = ["554 5.7.1 spam", "452 4.3.1 full"]
        first, second = await mail.send(event(), TO), await mail.send(event(), TO)
    assert (first.error, first.retryable, first.outcome_unknown) == ("smtp_554", False, False)
    assert (second.error, second.retryable) == ("smtp_452", True)


async def test_lost_after_the_end_of_the_data_the_outcome_is_unknown() -> None:
    async with smtp_server() as post, provider(post) as mail:
        post.drop = "end"
        sent = event()
        result = await mail.send(sent, TO)
        again = await mail.send(sent, TO)
    assert (result.error, result.retryable) == ("connection_lost", True)
    assert result.outcome_unknown
    assert again.success
    assert post.message(0)["Message-ID"] == post.message(1)["Message-ID"]


async def test_lost_before_the_data_nothing_was_sent() -> None:
    async with smtp_server() as post, provider(post) as mail:
        post.drop = "rcpt"
        result = await mail.send(event(), TO)
        assert (result.error, result.outcome_unknown) == ("connection_lost", False)
        assert (await mail.send(event(), TO)).success
        post.drop = "rcpt"
        # the connection was used before: it is replaced, once, without a word
        assert (await mail.send(event(), TO)).success


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with provider(Post(port=taken.getsockname()[1])) as mail:
            result = await mail.send(event(), TO)
    assert (result.error, result.retryable) == ("connection_failed", True)
    assert not result.outcome_unknown


async def test_a_silent_server_is_given_up() -> None:
    async with smtp_server() as post, provider(post, send_timeout=2.0) as mail:
        post.hold = asyncio.Event()
        result = await mail.send(event(), TO)
        assert (result.error, result.retryable) == ("timeout", True)
        assert result.outcome_unknown
        post.hold.set()
        post.hold = None
        assert (await mail.send(event(), TO)).success


async def test_cancelling_and_the_bound_of_the_queue() -> None:
    async with (
        smtp_server() as post,
        provider(post, max_connections=1, max_waiting=1) as mail,
    ):
        post.hold = asyncio.Event()
        first = asyncio.create_task(mail.send(event(), TO))
        while not post.busy:
            await asyncio.sleep(0.005)
        second = asyncio.create_task(mail.send(event(), TO))
        await asyncio.sleep(0)
        third = await mail.send(event(), TO)
        assert (third.error, third.retryable) == ("overloaded", True)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        post.hold.set()
        post.hold = None
        assert (await second).success
    assert (await mail.send(event(), TO)).error == "closed"


@pytest.mark.parametrize(
    ("to", "from_", "subject", "error"),
    [
        ("ann@example.org\r\nBcc: x@example.org", None, None, "invalid_recipient"),
        ("ann@example.org, bob@example.org", None, None, "invalid_recipient"),
        (TO, "x@example.org\nBcc: y@example.org", None, "invalid_sender"),
        (TO, None, "Hi\r\nBcc: x@example.org", "invalid_subject"),
        (TO, None, "Hi\u2028Bcc: x@example.org", "invalid_subject"),
    ],
)
async def test_nothing_breaks_out_of_a_header(
    to: str, from_: str | None, subject: str | None, error: str
) -> None:
    async with smtp_server() as post, provider(post) as mail:
        result = await mail.send(event(), to, from_, subject)
    assert (result.success, result.error, result.retryable) == (False, error, False)
    assert not post.taken


async def test_what_looks_encoded_arrives_as_it_was_written() -> None:
    subject = "=?utf-8?q?Hi=0D=0ABcc:_x@example.org?="
    async with smtp_server() as post, provider(post) as mail:
        assert (await mail.send(event(), f'"{subject}" <{TO}>', subject=subject)).success
    raw = post.taken[0].original_content or b""
    assert b"\nBcc" not in raw
    assert post.message()["Subject"] == subject


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_tls_and_login(certificate: Path, tls: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    settings: dict[str, Any] = {"authenticator": login, "auth_required": True}
    if tls == "starttls":
        settings |= {"tls_context": context, "require_starttls": True}
    else:
        settings |= {"auth_require_tls": False}  # it is there already
    implicit = context if tls == "implicit" else None
    client = {"host": "localhost", "tls": tls, "username": "bot", "password": PASSWORD}
    async with smtp_server(tls=implicit, smtp=settings) as post:
        async with provider(post, **client, ca_file=certificate) as mail:
            result = await mail.send(event(), TO)
            assert result.success, result
        async with provider(post, **(client | {"password": "no"}), ca_file=certificate) as mail:
            result = await mail.send(event(), TO)
            assert (result.error, result.retryable) == ("auth_error", False)
            assert PASSWORD not in repr(mail)
        async with provider(post, **client) as mail:  # nobody vouches for that certificate
            assert (await mail.send(event(), TO)).error == "tls_error"
    assert len(post.taken) == 1


async def test_a_server_without_tls_gets_no_password() -> None:
    async with smtp_server() as post:
        settings = {"host": "localhost", "username": "bot", "password": PASSWORD}
        async with provider(post, tls="starttls", **settings) as mail:
            assert (await mail.send(event(), TO)).error == "tls_unavailable"
        async with provider(post, tls="none", **settings) as mail:
            assert (await mail.send(event(), TO)).error == "auth_unavailable"


async def test_addresses_outside_ascii() -> None:
    async with smtp_server() as post, provider(post) as mail:
        assert (await mail.send(event(), "änne@müller.example")).success
    assert post.taken[0].rcpt_tos == ["änne@xn--mller-kva.example"]
    async with smtp_server(utf8=False) as post, provider(post) as mail:
        assert (await mail.send(event(), "änne@müller.example")).error == "smtputf8_unavailable"
        assert (await mail.send(event(), "anne@müller.example")).success


async def test_a_message_larger_than_the_server_takes() -> None:
    async with smtp_server(smtp={"data_size_limit": 500}) as post, provider(post) as mail:
        assert (await mail.send(event("x" * 2000), TO)).error == "message_too_large"


# -- in -------------------------------------------------------------------------------------------

DOVECOT = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
USER = "bot"

_CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
default_internal_user = {account}
default_login_user = {account}
default_internal_group = {group}
mail_location = maildir:{home}/mail/%u
first_valid_uid = 1
ssl = {ssl}
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
imap_idle_notify_interval = 1 mins
mailbox_list_index = no
"""


class Dovecot:
    """A mail server of our own, without privileges."""

    def __init__(self, home: Path, certificate: Path) -> None:
        self.home = home
        self.port, self.tls_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        account, group, self._ids = _account()
        copy = home / "tls.pem"
        copy.write_bytes(certificate.read_bytes())
        known = {"home": home, "account": account, "group": group, "certificate": copy}
        known |= {"port": self.port, "tls_port": self.tls_port, "ssl": "yes"}
        uid, gid = self._ids or (os.getuid(), os.getgid())
        (home / "conf").write_text(_CONFIG.format(**known, uid=uid, gid=gid))
        (home / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
        for name in ("run", "state", "mail"):
            (home / name).mkdir()
        if self._ids:
            for path in (home, *home.rglob("*")):
                os.chown(path, uid, gid)

    def start(self) -> None:
        assert DOVECOT is not None
        limits: dict[str, Any] = {}
        if self._ids:
            limits = {"user": self._ids[0], "group": self._ids[1], "extra_groups": []}
        command = [DOVECOT, "-F", "-c", str(self.home / "conf")]
        self._process = subprocess.Popen(command, start_new_session=True, **limits)
        until = time.monotonic() + 60
        while True:
            try:
                self.admin().logout()
                return
            except (OSError, imaplib.IMAP4.error):
                if time.monotonic() > until:
                    log = self.home / "log"
                    words = log.read_text() if log.exists() else "no log"
                    raise AssertionError(words) from None
                time.sleep(0.05)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)

    def admin(self) -> imaplib.IMAP4:
        made = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        made._encoding = "utf-8"  # type: ignore[attr-defined]
        made.login(USER, PASSWORD)
        made.select("INBOX")
        return made

    def put(self, *raws: bytes, flags: str = "") -> None:
        admin = self.admin()
        for raw in raws:
            assert admin.append("INBOX", flags, "", raw)[0] == "OK"
        admin.logout()

    def flags(self) -> list[bool]:
        """Whether each message is seen."""
        admin = self.admin()
        data = admin.fetch("1:*", "(FLAGS)")[1]
        admin.logout()
        return [b"\\Seen" in item for item in data if isinstance(item, bytes)]

    def empty(self) -> None:
        admin = self.admin()
        admin.uid("STORE", "1:*", "+FLAGS", r"(\Deleted)")
        admin.expunge()
        admin.logout()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _account() -> tuple[str, str, tuple[int, int] | None]:
    import grp
    import pwd

    if os.getuid() != 0:
        me = pwd.getpwuid(os.getuid())
        return me.pw_name, grp.getgrgid(me.pw_gid).gr_name, None
    user = pwd.getpwnam("nobody")
    return "nobody", grp.getgrgid(user.pw_gid).gr_name, (user.pw_uid, user.pw_gid)


@pytest.fixture(scope="module")
def dovecot(certificate: Path) -> Iterator[Dovecot]:
    if DOVECOT is None:
        missing = "dovecot is not installed (Debian: dovecot-imapd)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="salon-imap-") as folder:
        Path(folder).chmod(0o755)
        server = Dovecot(Path(folder), certificate)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def mailbox(dovecot: Dovecot) -> Dovecot:
    dovecot.empty()
    return dovecot


def mail(number: int, text: str = "Hello", **headers: str) -> bytes:
    message = EmailMessage()
    message["From"] = "Änne <Ann@Example.org>"
    message["To"] = "bot@salon.example"
    message["Subject"] = f"Größe {number}"
    message["Message-ID"] = f"<m{number}@example.org>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes(policy=email.policy.SMTP)


@dataclass
class Core:
    """Takes messages; `answer` may refuse or fail."""

    messages: list[InboundMessage] = field(default_factory=list)
    answer: Callable[[InboundMessage], InboundResult] | None = None
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def emit(self, message: InboundMessage) -> InboundResult:
        async with self.arrived:
            self.messages.append(message)
            self.arrived.notify_all()
        if self.answer is not None:
            return self.answer(message)
        return InboundResult(event(message.content))

    async def wait(self, count: int) -> list[InboundMessage]:
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: len(self.messages) >= count)
        return self.messages


def imap(server: Dovecot, /, **settings: Any) -> IMAPConfig:
    known = {"host": "127.0.0.1", "port": server.port, "tls": "none", "username": USER}
    known |= {"password": PASSWORD, "reconnect_delay": 0.02, "retry_delay": 0.02, "timeout": 30.0}
    return IMAPConfig(**(known | settings))


@asynccontextmanager
async def reading(
    mailbox: Dovecot, core: Core, *, limits: EmailLimits | None = None, **settings: Any
) -> AsyncIterator[MailboxSource]:
    source = MailboxSource(imap(mailbox, **settings), "mail", limits=limits or EmailLimits())
    running = asyncio.create_task(source.start(core.emit))
    try:
        yield source
    finally:
        await source.stop()
        await running
    assert source.status is SourceStatus.STOPPED


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(check):
            await asyncio.sleep(0.02)


async def test_unseen_mail_is_emitted_in_order_and_then_seen(mailbox: Dovecot) -> None:
    mailbox.put(mail(1), mail(2, "Yes\n\nOn Monday, Bob wrote:\n> No?"), mail(3))
    mailbox.put(mail(0), flags=r"\Seen")
    core = Core()
    async with reading(mailbox, core) as source:
        await core.wait(3)
        await until(lambda: all(mailbox.flags()))
        assert source.status is SourceStatus.CONNECTED
        health = await source.healthcheck()
    assert health.messages_received == 3
    first, second, third = core.messages
    assert [m.idempotency_key for m in core.messages] == [f"<m{i}@example.org>" for i in (1, 2, 3)]
    assert first.sender_id == "ann@example.org"
    assert first.metadata["subject"] == "Größe 1"
    assert first.metadata["from_name"] == "Änne"
    assert first.raw_payload["uid_validity"] > 0
    assert second.content == TextContent(body="Yes")
    assert second.metadata["quoted"] == "On Monday, Bob wrote:\n> No?"
    assert third.thread_id == "<m3@example.org>"


async def test_new_mail_is_announced(mailbox: Dovecot) -> None:
    core = Core()
    async with reading(mailbox, core) as source:
        await until(lambda: source.status is SourceStatus.CONNECTED)
        for number in range(3):
            await asyncio.to_thread(mailbox.put, mail(number))
            await core.wait(number + 1)
    assert len(core.messages) == 3


async def test_new_mail_is_asked_for_without_idle(mailbox: Dovecot) -> None:
    core = Core()
    async with reading(mailbox, core, idle=False, poll_interval=0.05):
        await asyncio.to_thread(mailbox.put, mail(1))
        await core.wait(1)


async def test_what_the_core_does_not_take_stays_unseen_and_comes_again(mailbox: Dovecot) -> None:
    mailbox.put(mail(1), mail(2))
    core = Core()
    tries = {"<m1@example.org>": 0}

    def answer(message: InboundMessage) -> InboundResult:
        if message.idempotency_key == "<m1@example.org>":
            tries["<m1@example.org>"] += 1
            if tries["<m1@example.org>"] == 1:
                raise RuntimeError("the store is down")
            if tries["<m1@example.org>"] == 2:
                return InboundResult(None, True, "rate_limited")
        return InboundResult(event())

    core.answer = answer
    async with reading(mailbox, core) as source:
        await core.wait(4)
        await until(lambda: all(mailbox.flags()))
        health = await source.healthcheck()
    assert tries["<m1@example.org>"] == 3
    assert health.metadata["retries"] == "2"
    assert [m.idempotency_key for m in core.messages].count("<m2@example.org>") == 1


async def test_a_message_refused_too_often_stays_unseen(mailbox: Dovecot) -> None:
    mailbox.put(mail(1), mail(2))
    core = Core()
    core.answer = lambda m: InboundResult(
        None if m.idempotency_key == "<m1@example.org>" else event(), True, "rate_limited"
    )
    async with reading(mailbox, core, max_attempts=2) as source:
        await core.wait(3)
        await until(lambda: mailbox.flags() == [False, True])
        assert (await source.healthcheck()).metadata["unfinished"] == "1"


async def test_nothing_is_lost_or_doubled_over_a_restart_of_the_server(mailbox: Dovecot) -> None:
    mailbox.put(mail(1))
    core = Core()
    async with reading(mailbox, core, max_failures=1000) as source:
        await core.wait(1)
        await until(lambda: all(mailbox.flags()))
        await asyncio.to_thread(mailbox.stop)
        await until(lambda: source.status is SourceStatus.RECONNECTING)
        await asyncio.to_thread(mailbox.start)
        await asyncio.to_thread(mailbox.put, mail(2))
        await core.wait(2)
        await until(lambda: all(mailbox.flags()))
    assert [m.idempotency_key for m in core.messages] == ["<m1@example.org>", "<m2@example.org>"]


async def test_lost_between_emit_and_mark_it_is_only_marked(mailbox: Dovecot) -> None:
    mailbox.put(mail(1))
    core = Core()
    async with reading(mailbox, core, max_failures=1000) as source:

        def answer(message: InboundMessage) -> InboundResult:
            mailbox.stop()  # blocks the loop on purpose: nothing may happen in between
            mailbox.start()
            return InboundResult(event())

        core.answer = answer
        await core.wait(1)
        await until(lambda: all(mailbox.flags()))
        assert (await source.healthcheck()).metadata["reconnects"] != "0"
    assert len(core.messages) == 1


async def test_mail_from_programs_is_skipped(mailbox: Dovecot) -> None:
    mailbox.put(mail(1, Auto_Submitted="auto-replied"), mail(2))
    core = Core()
    async with reading(mailbox, core) as source:
        await core.wait(1)
        await until(lambda: all(mailbox.flags()))
        assert (await source.healthcheck()).metadata["skipped"] == "1"
    assert core.messages[0].idempotency_key == "<m2@example.org>"
    mailbox.put(mail(3, Auto_Submitted="auto-replied"))
    async with reading(mailbox, core, automatic="emit"):
        await core.wait(2)


async def test_large_and_unreadable_messages(mailbox: Dovecot) -> None:
    mailbox.put(b"Subject: from nobody\r\n\r\nHi\r\n", mail(1, "word " * 20_000))
    core = Core()
    async with reading(mailbox, core, limits=EmailLimits(max_bytes=4096)) as source:
        (message,) = await core.wait(1)
        await until(lambda: mailbox.flags() == [False, True])
        assert (await source.healthcheck()).metadata["unreadable"] == "1"
    assert message.metadata["truncated"] is True
    assert message.raw_payload["size"] > 100_000


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_mailboxes_over_tls(mailbox: Dovecot, certificate: Path, tls: str) -> None:
    mailbox.put(mail(1))
    core = Core()
    port = mailbox.tls_port if tls == "implicit" else mailbox.port
    settings: dict[str, Any] = {"host": "localhost", "tls": tls, "port": port}
    async with reading(mailbox, core, **settings, ca_file=certificate):
        await core.wait(1)
    source = MailboxSource(imap(mailbox, **settings), "mail")
    with pytest.raises(MailboxError, match=r"(?i)certificate") as failure:
        await source.start(core.emit)
    assert failure.value.permanent


@pytest.mark.parametrize("setting", [{"password": "no"}, {"mailbox": "nowhere"}])
async def test_wrong_settings_end_the_source(mailbox: Dovecot, setting: dict[str, str]) -> None:
    source = MailboxSource(imap(mailbox, **setting), "mail")
    with pytest.raises(MailboxError) as failure:
        await source.start(Core().emit)
    assert failure.value.permanent
    assert source.status is SourceStatus.ERROR
    assert PASSWORD not in str(failure.value)
    await source.stop()


async def test_what_is_sent_can_be_read(mailbox: Dovecot) -> None:
    """From an event over SMTP into a mailbox and back to a message."""
    async with smtp_server() as post, provider(post) as mailer:
        sent = event(RichContent(body="Größe **42** \U0001f600"), parent_event_id="root")
        assert (await mailer.send(sent, TO, subject="Frage")).success
    mailbox.put(post.taken[0].original_content or b"")
    core = Core()
    async with reading(mailbox, core, automatic="emit"):
        (message,) = await core.wait(1)
    assert message.content == TextContent(body="Größe **42** \U0001f600")
    assert message.sender_id == "bot@salon.example"
    assert message.idempotency_key == message_id_for(sent.id, TO, "salon.example")
    assert message.thread_id == message_id_for("root", TO, "salon.example")
    assert parse_email(post.taken[0].original_content or b"", "mail").content == message.content


# -- a server with both ---------------------------------------------------------------------------

PARROT = """
from salon.providers.agent import agent


@agent
async def parrot(turn, room):
    yield f"You said {turn.text}"
"""


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_server_answers_a_mailbox_in_the_same_thread(
    mailbox: Dovecot,
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the settings to the answer: login and TLS both ways."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    (tmp_path / "agent.py").write_text(PARROT, encoding="utf-8")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    account = f"{USER}:{quote(PASSWORD, safe='')}@localhost"
    needed = {"authenticator": login, "auth_required": True, "auth_require_tls": False}
    async with smtp_server(tls=context, smtp=needed) as post:
        environ = {
            "SALON_SMTP_URL": f"smtps://{account}:{post.port}",
            "SALON_EMAIL_FROM": FROM,
            "SALON_IMAP_URL": f"imaps://{account}:{mailbox.tls_port}/INBOX",
            "SALON_STORE_URL": "memory://",
            "SALON_DATA_DIR": str(tmp_path / "data"),
            "SALON_AGENT": str(tmp_path / "agent.py"),
            "SALON_STT": "none",
            "SALON_TTS": "none",
            "SALON_WEBRTC": "off",
        }
        settings = load_settings(environ, env_file=None)
        async with serving(settings, build=compose) as api:
            mailbox.put(mail(1, "good day"))
            await until(lambda: len(post.taken) == 1 and mailbox.flags() == [True])
            mailbox.put(mail(2, "again", In_Reply_To=post.message()["Message-ID"]))
            await until(lambda: len(post.taken) == 2)
            (room,) = await api.kit.list_rooms()
            await api.kit.idle(room.id)
            info = (await api.client.get("/api/info")).text
    first, second = post.message(0), post.message(1)
    assert [envelope.rcpt_tos for envelope in post.taken] == [["ann@example.org"]] * 2
    assert post.taken[0].mail_from == "bot@salon.example"
    assert first.get_content().strip() == "You said good day"
    assert first["In-Reply-To"] == "<m1@example.org>"
    assert first["References"] == "<m1@example.org>"
    assert first["Subject"] == "Re: Größe 1"
    assert second["In-Reply-To"] == "<m2@example.org>"
    assert second["References"].split()[0] == first["Message-ID"]
    assert len(post.taken) == 2
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in info + caplog.text + repr(settings)
