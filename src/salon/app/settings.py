"""Everything that can be set from outside: flags over environment over `.env` over a
configuration file over defaults."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field, not a shared default
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from salon.app import variables as var
from salon.app.call_settings import CallSettings
from salon.app.config_file import Config, read_config
from salon.app.settings_check import check
from salon.app.variables import MailServer, Variable, setting, variables_of
from salon.base import BrowserPolicy, ConfigurationError, MissingExtraError, is_loopback
from salon.base.policy import EVERY_ADDRESS
from salon.transport.packets import IceServer

if TYPE_CHECKING:
    from pydantic import SecretStr

MIN_KEY = 16
"""Shortest API key that is accepted, in characters."""

_NOT_WHOLE = frozenset({"call_records"})
"""Only parts of these values are secret."""

_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Settings(CallSettings):
    """The settings of one server; frozen. `load_settings` reads them from outside.

    `ConfigurationError` if they contradict each other, among others if the server would listen
    beyond loopback without a key. The repr leaves secrets out.
    """

    # the server
    host: str = setting(
        "127.0.0.1", "SALON_HOST", "HOST", parse=var.host, doc="Address to listen on."
    )
    port: int = setting(
        8000, "SALON_PORT", "PORT", parse=var.integer(0, 65535), doc="Port; 0 takes a free one."
    )
    api_key: str | None = setting(
        None,
        "SALON_API_KEY",
        parse=var.secret(MIN_KEY),
        secret=True,
        doc="Key that HTTP and WebSocket demand. Required when listening beyond loopback.",
    )
    organization_keys: tuple[tuple[str, str], ...] = setting(
        (),
        "SALON_ORGANIZATION_KEYS",
        parse=var.keys(MIN_KEY),
        secret=True,
        doc="Keys that open the rooms of one organization only: acme=KEY1,beta=KEY2.",
    )
    public_url: str | None = setting(
        None,
        "SALON_PUBLIC_URL",
        parse=var.origin,
        doc="What this server is called from outside, e.g. https://salon.example.",
    )
    allowed_hosts: frozenset[str] = setting(
        frozenset(),
        "SALON_ALLOWED_HOSTS",
        parse=var.names,
        doc="Host names served beside localhost, comma-separated; * switches the check off.",
    )
    allowed_origins: frozenset[str] = setting(
        frozenset(),
        "SALON_ALLOWED_ORIGINS",
        parse=var.origins,
        doc="Origins of foreign web pages that may use this server, comma-separated.",
    )
    tls_cert: Path | None = setting(
        None, "SALON_TLS_CERT", parse=var.path, doc="Certificate file (PEM) for HTTPS."
    )
    tls_key: Path | None = setting(
        None, "SALON_TLS_KEY", parse=var.path, doc="Private key file (PEM) of the certificate."
    )
    tls_self_signed: bool = setting(
        False,
        "SALON_TLS_SELF_SIGNED",
        parse=var.switch,
        doc="Serve HTTPS with a certificate of its own, kept in the data folder.",
    )
    max_calls: int = setting(
        64,
        "SALON_MAX_CALLS",
        parse=var.integer(1, 100_000),
        doc="Calls at the same time; the next one is refused with 503.",
    )
    max_connections: int = setting(
        1024,
        "SALON_MAX_CONNECTIONS",
        parse=var.integer(1, 1_000_000),
        doc="Connections of every kind at the same time.",
    )
    max_body_bytes: int = setting(
        1_048_576,
        "SALON_MAX_BODY_BYTES",
        parse=var.integer(1024, 1_073_741_824),
        doc="Longest request body; a longer one gets 413.",
    )
    invite_timeout: float = setting(
        0.0,
        "SALON_INVITE_TIMEOUT",
        parse=var.seconds(0, 86_400),
        doc="Seconds a call socket may stay without invite or accept; 0 means for ever.",
    )
    shutdown_timeout: float = setting(
        30.0,
        "SALON_SHUTDOWN_TIMEOUT",
        parse=var.seconds(0, 3600),
        doc="Seconds that running calls get to end when the server stops.",
    )

    # calls over WebRTC
    webrtc: str = setting(
        "auto",
        "SALON_WEBRTC",
        parse=var.one_of("auto", "aiortc", "native", "stock", "off"),
        doc="Who carries WebRTC: auto (aiortc, as packets), native (libdatachannel), stock or off.",
    )
    ice_servers: tuple[IceServer, ...] = setting(
        (),
        "SALON_ICE_SERVERS",
        parse=var.ice_servers,
        secret=True,
        doc="STUN and TURN servers: URLs, comma-separated, or a JSON list of RTCIceServer.",
    )
    external_ip: str | None = setting(
        None,
        "SALON_EXTERNAL_IP",
        parse=var.address,
        doc="Address that callers reach this machine under, behind NAT or in a container.",
    )

    # what is kept
    data_dir: Path = setting(
        Path("data"), "SALON_DATA_DIR", parse=var.path, doc="Folder of everything that is kept."
    )
    store_url: str | None = setting(
        None,
        "SALON_STORE_URL",
        parse=var.store_url,
        secret=True,
        doc="Where rooms are kept: sqlite:///file, postgresql://… or memory://. Default: a file.",
    )
    raw_payload: Literal["keep", "redact", "drop"] = setting(
        "keep",
        "SALON_RAW_PAYLOAD",
        parse=var.one_of("keep", "redact", "drop"),
        doc="What is kept of providers' payloads: keep (all), redact (secrets masked) or drop.",
    )
    recording: bool = setting(
        True, "SALON_RECORDING", parse=var.switch, doc="Record the sound of calls in rooms."
    )
    log_level: str = setting(
        "info", "SALON_LOG_LEVEL", "LOG_LEVEL", parse=var.one_of(*_LEVELS), doc="Least log level."
    )
    log_format: str = setting(
        "console",
        "SALON_LOG_FORMAT",
        parse=var.one_of("console", "json"),
        doc="Form of the log: console (for people) or json (one object per line).",
    )
    log_dir: Path | None = setting(
        None,
        "SALON_LOG_DIR",
        parse=var.path,
        doc="Folder of the daily log files, kept 7 days. Default: logs in the data folder.",
    )

    # messages from outside
    twilio_account_sid: str | None = setting(
        None, "SALON_TWILIO_ACCOUNT_SID", doc="Twilio account for text messages."
    )
    twilio_auth_token: str | None = setting(
        None, "SALON_TWILIO_AUTH_TOKEN", secret=True, doc="Its auth token."
    )
    twilio_from_numbers: tuple[str, ...] = setting(
        (),
        "SALON_TWILIO_FROM_NUMBERS",
        "SALON_TWILIO_FROM_NUMBER",
        parse=var.phones,
        doc="Its numbers, comma-separated; messages go out from the first.",
    )
    webhook_secret: str | None = setting(
        None,
        "SALON_WEBHOOK_SECRET",
        parse=var.secret(MIN_KEY),
        secret=True,
        doc="Secret that signs webhooks of other systems, in and out.",
    )
    webhook_url: str | None = setting(
        None,
        "SALON_WEBHOOK_URL",
        parse=var.url("http", "https"),
        doc="Where messages for the channel http are posted to.",
    )
    smtp_url: MailServer | None = setting(
        None,
        "SALON_SMTP_URL",
        parse=var.mail_server("smtp"),
        secret=True,
        doc="Server that sends e-mail: smtps://user:password@host, or smtp:// for STARTTLS.",
    )
    email_from: str | None = setting(
        None, "SALON_EMAIL_FROM", parse=var.mailbox, doc="Sender of that e-mail, one address."
    )
    imap_url: MailServer | None = setting(
        None,
        "SALON_IMAP_URL",
        parse=var.mail_server("imap"),
        secret=True,
        doc="Mailbox whose new e-mail comes in: imaps://user:password@host/INBOX.",
    )
    email_webhook_secret: SecretStr | None = setting(
        None,
        "SALON_EMAIL_WEBHOOK_SECRET",
        parse=var.hidden(var.secret(MIN_KEY)),
        secret=True,
        doc="Secret that signs e-mail posted to /webhooks/email/signed.",
    )

    # who answers
    agent: Path | None = setting(
        None,
        "SALON_AGENT",
        parse=var.path,
        doc="Python file with your agent. Without it the house agent answers.",
    )
    agent_name: str | None = setting(
        None, "SALON_AGENT_NAME", doc="Name the agent shows in rooms; default: its own."
    )
    more_agents: tuple[Path, ...] = setting(
        (),
        "SALON_MORE_AGENTS",
        parse=var.files,
        doc="Python files with further agents, comma-separated; each answers when called by name.",
    )
    knowledge_dir: Path | None = setting(
        None,
        "SALON_KNOWLEDGE_DIR",
        parse=var.path,
        doc="Folder of Markdown files that the house agent looks things up in.",
    )
    llm_base_url: str | None = setting(
        None,
        "SALON_LLM_BASE_URL",
        parse=var.url("http", "https"),
        doc="OpenAI-compatible language model, e.g. http://localhost:11434/v1.",
    )
    llm_model: str | None = setting(None, "SALON_LLM_MODEL", doc="Name of that model.")
    llm_api_key: str | None = setting(None, "SALON_LLM_API_KEY", secret=True, doc="Its key.")
    llm_prompt: str | None = setting(
        None, "SALON_LLM_PROMPT", doc="System prompt for the language model."
    )

    # how it hears and speaks
    bridge: bool = setting(
        True, "SALON_BRIDGE", parse=var.switch, doc="People in a room hear each other."
    )
    bridge_people: int = setting(
        16,
        "SALON_BRIDGE_PEOPLE",
        parse=var.integer(2, 100),
        doc="How many people hear each other in one room; more than these hear agents only.",
    )
    interruption: str = setting(
        "confirmed",
        "SALON_INTERRUPTION",
        parse=var.one_of("immediate", "confirmed", "semantic", "disabled"),
        doc="When speech cuts the agent: immediate, confirmed (long enough), semantic or disabled.",
    )
    min_speech_ms: int = setting(
        300,
        "SALON_MIN_SPEECH_MS",
        parse=var.integer(0, 5000),
        doc="Milliseconds of speech that count as an interruption (confirmed).",
    )
    speculate_after_ms: int | None = setting(
        None,
        "SALON_SPECULATE_AFTER_MS",
        parse=var.integer(32, 1000),
        doc="Begin an answer, unheard, after a pause of this many milliseconds; default: never.",
    )
    stt: str = setting(
        "embedded",
        "SALON_STT",
        parse=var.one_of("embedded", "openai", "none"),
        doc="Recognition: embedded (PocketSphinx), openai (any compatible service) or none.",
    )
    stt_base_url: str | None = setting(
        None,
        "SALON_STT_BASE_URL",
        parse=var.url("http", "https"),
        doc="OpenAI-compatible recognition service.",
    )
    stt_model: str = setting("whisper-1", "SALON_STT_MODEL", doc="Its model.")
    stt_api_key: str | None = setting(None, "SALON_STT_API_KEY", secret=True, doc="Its key.")
    recognizer_workers: int = setting(
        2,
        "SALON_RECOGNIZER_WORKERS",
        parse=var.integer(1, 64),
        doc="Worker processes of the embedded recogniser.",
    )
    tts: str = setting(
        "espeak",
        "SALON_TTS",
        parse=var.one_of("espeak", "flite", "openai", "none"),
        doc="Voice: espeak, flite, openai (any compatible service) or none.",
    )
    tts_voice: str | None = setting(None, "SALON_TTS_VOICE", doc="Name of the voice.")
    agent_voices: tuple[tuple[str, str], ...] = setting(
        (),
        "SALON_AGENT_VOICES",
        parse=var.voices,
        doc="Voices of agents by name: Anna=en-us+f3,Bruno=en-gb. Others speak SALON_TTS_VOICE.",
    )
    tts_base_url: str | None = setting(
        None,
        "SALON_TTS_BASE_URL",
        parse=var.url("http", "https"),
        doc="OpenAI-compatible synthesis service.",
    )
    tts_model: str = setting("tts-1", "SALON_TTS_MODEL", doc="Its model.")
    tts_api_key: str | None = setting(None, "SALON_TTS_API_KEY", secret=True, doc="Its key.")

    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """What was odd about the variables but no reason not to start."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the server."""
        return not is_loopback(self.host)

    @property
    def tls(self) -> bool:
        return self.tls_self_signed or self.tls_cert is not None

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.log_dir or self.data_dir / "logs"

    @property
    def recordings(self) -> Path:
        """Folder of the recordings."""
        return self.data_dir / "recordings"

    @property
    def media(self) -> Path:
        """Folder of the sounds that calls may name."""
        return self.data_dir / "media"

    @property
    def media_cache(self) -> Path:
        """Folder of speech and sounds kept ready."""
        return self.media_cache_dir or self.data_dir / "mediacache"

    @property
    def call_recordings(self) -> Path:
        """Folder of the recordings that calls ask for."""
        return self.call_recordings_dir or self.data_dir / "call-recordings"

    @property
    def events(self) -> Path:
        """Folder of the events files of calls."""
        return self.call_events_dir or self.data_dir / "events"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store."""
        if self.store_url is not None:
            return self.store_url
        return f"sqlite:///{self.data_dir / 'salon.db'}"

    @property
    def browser_policy(self) -> BrowserPolicy:
        """What web pages may do here: the address listened on counts as a host of ours."""
        own = {self.host.lower()} if self.host not in EVERY_ADDRESS else set()
        if self.public_url is not None:
            own.add((urlsplit(self.public_url).hostname or "").lower())
        return BrowserPolicy(hosts=self.allowed_hosts | own, origins=self.allowed_origins)

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for whoever has to keep them out of something."""
        found = [
            getattr(self, item.field)
            for item in VARIABLES
            if item.secret and item.field not in _NOT_WHOLE
        ]
        found += [server.credential for server in self.ice_servers]
        found += [key for _, key in self.organization_keys]
        found += self.call_secrets()
        for server in (self.smtp_url, self.imap_url):
            found += [server.password, server.written] if server is not None else []
        texts = (item if isinstance(item, str) else _text(item) for item in found)
        return tuple(dict.fromkeys(filter(None, texts)))


VARIABLES: tuple[Variable, ...] = variables_of(Settings)


def _text(value: Any) -> str:
    """What a `SecretStr` hides, nothing for all else."""
    show = getattr(value, "get_secret_value", None)
    return str(show()) if show is not None else ""


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    env_file: Path | None = Path(".env"),
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings from outside.

    `environ` (default: the process's environment) wins over `env_file`, that over the configuration
    file they or `overrides` name, `overrides` (by field name; None means not given) win over all.
    Raises `ConfigurationError`.
    """
    sources = [os.environ if environ is None else environ]
    if env_file is not None and env_file.is_file():
        sources.append(read_env_file(env_file))
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        for source in sources:
            name = next((n for n in variable.names if source.get(n, "").strip()), None)
            if name is not None:
                values[variable.field] = variable.read(source[name], name)
                break
    config = Config()
    file = (overrides or {}).get("config") or values.get("config")
    if file is not None:
        config = read_config(Path(file), VARIABLES)
        values = config.values | values
    known = {item.name for item in fields(Settings)}
    for key, value in (overrides or {}).items():
        if key not in known:
            raise TypeError(f"no such setting: {key!r}")
        if value is not None:
            values[key] = value
    seen = (name for source in sources for name in source)
    odd = (*config.warnings, *unknown_variables(seen))
    return Settings(**values, warnings=odd)


def read_env_file(file: Path) -> dict[str, str]:
    """The variables of a `.env` file; the process's environment stays as it is.

    `ConfigurationError` names a line that can't be understood, without its content, which may be
    a secret.
    """
    try:
        from dotenv import parser
    except ImportError:
        raise MissingExtraError("serve", f"reading {file}") from None
    try:
        with file.open(encoding="utf-8") as stream:
            bindings = list(parser.parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read ({error})") from None
    found = {}
    known = {name for variable in VARIABLES for name in variable.names}
    for binding in bindings:
        if binding.error or (binding.value is None and binding.key in known):
            text = binding.original.string
            blank = text[: len(text) - len(text.lstrip())].count("\n")
            raise ConfigurationError(
                f"{file}, line {binding.original.line + blank}: is not NAME=value "
                "(a quotation mark that was opened has to be closed)"
            )
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found


def unknown_variables(seen: Iterable[str]) -> list[str]:
    """A warning for every ``SALON_`` variable that means nothing, with the likely one meant."""
    known = {name for variable in VARIABLES for name in variable.names}
    warnings = []
    for name in sorted({item for item in seen if item.startswith("SALON_")} - known):
        close = get_close_matches(name, known, n=1, cutoff=0.7)
        meant = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"{name} is not a setting of Salon{meant}")
    return warnings
