"""How one setting is read: its variables, its parser and what is said when the value is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from salon.base import ConfigurationError, is_loopback
from salon.base.policy import lower_all
from salon.transport.packets import IceServer

if TYPE_CHECKING:
    from pydantic import SecretStr

T = TypeVar("T")
Parser = Callable[[str], Any]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_ICE_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>[A-Za-z0-9._-]{1,253})(:(?P<port>[0-9]{1,5}))?"
    r"(?P<transport>\?transport=(udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting as the environment sees it.

    `names` are tried in order, the first one set and not blank wins. `parse` raises `ValueError`
    saying what would be right.
    """

    field: str
    names: tuple[str, ...]
    parse: Parser
    doc: str
    secret: bool

    @property
    def name(self) -> str:
        return self.names[0]

    def read(self, text: str, name: str) -> Any:
        """The value of `text`, which stood under `name`; `ConfigurationError` if it is wrong."""
        try:
            return self.parse(text)
        except ValueError as error:
            shown = "(hidden)" if self.secret or "@" in text else repr(text)
            raise ConfigurationError(f"{name}={shown}: {error}") from None


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server and the account there, as a URL names them. The repr leaves the account out.

    `port` None is the usual one. `written` is the password as it stands in the URL.
    """

    host: str
    port: int | None
    tls: Literal["implicit", "starttls", "none"]
    username: str | None = field(default=None, repr=False)
    password: SecretStr | None = field(default=None, repr=False)
    written: SecretStr | None = field(default=None, repr=False, compare=False)
    mailbox: str = ""


def setting(
    default: T,
    *names: str,
    parse: Parser = str,
    doc: str,
    secret: bool = False,
) -> T:
    """A dataclass field that the environment can set; see `variables_of`."""
    made: Any = field(
        default=default,
        repr=not secret,
        metadata={"names": names, "parse": parse, "doc": doc, "secret": secret},
    )
    return made  # type: ignore[no-any-return]


def variables_of(cls: type) -> tuple[Variable, ...]:
    """The variables of a settings class, in the order of its fields."""
    return tuple(_variable(item) for item in fields(cls) if item.metadata.get("names"))


def _variable(item: Field[Any]) -> Variable:
    assert item.default is not MISSING
    return Variable(field=item.name, **item.metadata)


def host(text: str) -> str:
    """An IP address (IPv6 without brackets) or what may be the name of a host."""
    value = text.strip()
    if _HOST_NAME.fullmatch(value):
        return value
    try:
        ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address or a host name") from None
    return value


def integer(low: int, high: int) -> Parser:
    """A whole number within bounds, both included."""

    def parse(text: str) -> int:
        try:
            value = int(text.strip())
        except ValueError:
            raise ValueError(f"must be a whole number from {low} to {high}") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return parse


def seconds(low: float, high: float) -> Parser:
    """A time in seconds within bounds."""

    def parse(text: str) -> float:
        try:
            value = float(text.strip())
        except ValueError:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g} seconds")
        return value

    return parse


def switch(text: str) -> bool:
    """``true``/``false`` and their usual relatives."""
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("must be true or false")


def one_of(*choices: str) -> Parser:
    """One of some words, in any case."""

    def parse(text: str) -> str:
        lowered = text.strip().lower()
        if lowered not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return lowered

    return parse


def names(text: str) -> frozenset[str]:
    """A comma-separated set of names, lower case."""
    return lower_all(text.split(","))


def origins(text: str) -> frozenset[str]:
    """A comma-separated set of origins: scheme, host and port, nothing else."""
    found = lower_all(text.split(","))
    for origin in found:
        try:
            parts = urlsplit(origin)
        except ValueError:
            raise ValueError(f"{origin!r} is not an origin, write https://host[:port]") from None
        whole = parts.scheme in {"http", "https"} and parts.netloc
        if not whole or parts.path or parts.query or parts.fragment or parts.username:
            raise ValueError(f"{origin!r} is not an origin, write https://host[:port]")
    return found


def url(*schemes: str) -> Parser:
    """A URL of one of `schemes`, without a trailing slash."""

    def parse(text: str) -> str:
        stripped = text.strip().rstrip("/")
        try:
            parts = urlsplit(stripped)
        except ValueError:
            raise ValueError(f"must be a URL ({' or '.join(schemes)})") from None
        if parts.scheme not in schemes or not parts.netloc:
            raise ValueError(f"must be a URL that starts with {'://, '.join(schemes)}://")
        if parts.password is not None:
            raise ValueError("must not hold a password, use the key's own variable")
        return stripped

    return parse


def store_url(text: str) -> str:
    """The URL of a store: ``memory://``, an SQLite file or a PostgreSQL database."""
    value = text.strip()
    if value == "memory://" or value.startswith(("sqlite:///", "postgresql://", "postgres://")):
        return value
    raise ValueError(
        "must be memory://, sqlite:///path/to/file.db or postgresql://user:password@host/database"
    )


def ice_servers(text: str) -> tuple[IceServer, ...]:
    """STUN and TURN servers: comma-separated URLs, or JSON in the shape of the browser's
    ``RTCIceServer`` list, which also takes a user name and a credential."""
    value = text.strip()
    if not value.startswith("["):
        urls = tuple(item.strip() for item in value.split(",") if item.strip())
        return tuple(_usable(IceServer(urls=(_ice_url(item),))) for item in urls)
    try:
        items = json.loads(value)
    except ValueError:
        raise ValueError("is not valid JSON") from None
    return tuple(_ice_server(item) for item in items)


def _ice_server(item: object) -> IceServer:
    if not isinstance(item, dict):
        raise ValueError('each server must be an object like {"urls": "stun:host:3478"}')
    given = item.get("urls")
    urls = [given] if isinstance(given, str) else given
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise ValueError('each server needs "urls": one URL or a list of them')
    others = [item.get(name) for name in ("username", "credential")]
    if any(other is not None and not isinstance(other, str) for other in others):
        raise ValueError('"username" and "credential" must be texts')
    return _usable(IceServer(tuple(_ice_url(url) for url in urls), *others))


def _usable(server: IceServer) -> IceServer:
    named = server.username and server.credential
    if not named and any(url.startswith("turn") for url in server.urls):
        raise ValueError(
            'a TURN server needs "username" and "credential": write it as JSON, '
            '[{"urls": "turn:host", "username": "...", "credential": "..."}]'
        )
    return server


def _ice_url(text: str) -> str:
    found = _ICE_URL.fullmatch(text)
    stun = found is not None and found["scheme"].startswith("stun")
    if found is None or (stun and found["transport"]):
        raise ValueError(
            "a server is stun:host[:port] or turn:host[:port][?transport=udp|tcp], the host by "
            "its name or IPv4 address"
        )
    if found["port"] and not 0 < int(found["port"]) < 65536:
        raise ValueError("a port is from 1 to 65535")
    return text


def address(text: str) -> str:
    """An IP address."""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise ValueError("must be an IP address") from None


def path(text: str) -> Path:
    """A path; ``~`` is the home folder."""
    return Path(text.strip()).expanduser()


def files(text: str) -> tuple[Path, ...]:
    """Comma-separated paths, each once."""
    found = tuple(path(item) for item in text.split(",") if item.strip())
    twice = [str(item) for number, item in enumerate(found) if item in found[:number]]
    if twice:
        raise ValueError(f"{twice[0]} is named twice")
    return found


def voices(text: str) -> tuple[tuple[str, str], ...]:
    """Comma-separated pairs of an agent's name and its voice."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, voice = (part.strip() for part in item.partition("="))
        if not (name and equals and voice):
            raise ValueError(f"{item!r} is not name=voice, write Anna=en-us+f3,Bruno=en-gb")
        if name.casefold() in map(str.casefold, found):
            raise ValueError(f"{name} is named twice")
        found[name] = voice
    return tuple(found.items())


def secret(low: int) -> Parser:
    """A secret of at least `low` characters, all printable, no spaces."""

    def parse(text: str) -> str:
        value = text.strip()
        if len(value) < low:
            raise ValueError(
                f"must have at least {low} characters; make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe(24))"'
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("must be printable ASCII without spaces")
        return value

    return parse


def hidden(parse: Parser) -> Parser:
    """What `parse` makes of a text, as a `SecretStr`."""

    def wrap(text: str) -> SecretStr:
        from pydantic import SecretStr

        return SecretStr(parse(text))

    return wrap


def mail_server(scheme: str) -> Parser:
    """The URL of a mail server. ``smtps`` and ``imaps`` speak TLS at once, ``smtp`` and ``imap``
    after STARTTLS, without TLS only on this machine. The path of IMAP is the mailbox."""
    reads = scheme == "imap"
    tail = "/INBOX" if reads else ""
    right = (
        f"must be like {scheme}s://user:password@host[:port]{tail} (TLS) or {scheme}://... "
        "(STARTTLS; without TLS only on this machine); what is special in user, password or "
        "mailbox is percent-encoded, e.g. @ as %40"
    )

    def parse(text: str) -> MailServer:
        from pydantic import SecretStr

        try:
            parts = urlsplit(text.strip())
            place, port = host(parts.hostname or ""), parts.port
            user, password, folder = (_decoded(item) for item in _account(parts))
        except ValueError:  # its words may hold the password
            raise ValueError(right) from None
        strange = parts.query or parts.fragment or port == 0 or (folder and not reads)
        if parts.scheme not in {scheme, f"{scheme}s"} or strange:
            raise ValueError(right)
        if bool(user) != bool(password) or (reads and not user):
            raise ValueError(f"user and password belong together: it {right}")
        plain: Literal["none", "starttls"] = "none" if is_loopback(place) else "starttls"
        return MailServer(
            host=place,
            port=port,
            tls="implicit" if parts.scheme.endswith("s") else plain,
            username=user or None,
            password=SecretStr(password) if password else None,
            written=SecretStr(parts.password or "") if password else None,
            mailbox=(folder or "INBOX") if reads else "",
        )

    return parse


def _account(parts: SplitResult) -> tuple[str, str, str]:
    return parts.username or "", parts.password or "", parts.path.removeprefix("/")


def _decoded(text: str) -> str:
    value = unquote(text, errors="strict")
    if not value.isprintable():
        raise ValueError("control characters")
    return value


def mailbox(text: str) -> str:
    """The address of a sender, with a name or without."""
    from salon.providers.email import InvalidEmailError, parse_mailbox

    value = text.strip()
    try:
        parse_mailbox(value, "sender")
    except InvalidEmailError:
        raise ValueError("must be one address like Salon <salon@example.org>") from None
    return value


def keys(low: int) -> Parser:
    """Secrets by name: ``acme=KEY1,beta=KEY2``, each of at least `low` characters."""
    one = secret(low)

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, sign, value = item.partition("=")
            if not sign or not _ORGANIZATION.fullmatch(name.strip()):
                raise ValueError("must be acme=KEY1,beta=KEY2: a name is letters, digits, . _ -")
            if name.strip() in found:
                raise ValueError(f"names {name.strip()} twice")
            found[name.strip()] = one(value)
        return tuple(found.items())

    return parse


def origin(text: str) -> str:
    """What a web server is called, without a path."""
    value = text.strip().rstrip("/")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for a wrong one
    except ValueError:
        raise ValueError("must be like https://salon.example") from None
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not bare:
        raise ValueError("must be like https://salon.example, without a path")
    return value


def phones(text: str) -> tuple[str, ...]:
    """Telephone numbers in international form, comma-separated."""
    found = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if not all(_PHONE.fullmatch(number) for number in found):
        raise ValueError("must be numbers like +15551234567, comma-separated")
    return found
