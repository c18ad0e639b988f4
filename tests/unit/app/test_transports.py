"""E-mail by settings: what the URLs mean, what is registered, what is kept secret."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from salon.app.house import House
from salon.app.intake import Intakes
from salon.app.logs import configure
from salon.app.settings import Settings, load_settings
from salon.app.transports import add_transports, mailbox_services
from salon.app.variables import MailServer, mail_server, mailbox
from salon.base import ConfigurationError
from salon.core import RoomKit
from salon.models import RoomEvent, SourceStatus
from salon.providers.email import SMTPEmailProvider
from salon.providers.webhooks import ProviderResult, WebhookSigner

from .rest import serving, small_house

SECRET = "a-secret-for-mail-webhooks"
ACCOUNT = {
    "SALON_SMTP_URL": "smtps://bot:p%40ss-word@mail.example",
    "SALON_EMAIL_FROM": "Salon <salon@example.org>",
}
EVERYTHING = ACCOUNT | {
    "SALON_IMAP_URL": "imaps://bot:imap-w%2Frd@mail.example/Post",
    "SALON_EMAIL_WEBHOOK_SECRET": SECRET,
}
SECRETS = ("p@ss-word", "p%40ss-word", "imap-w/rd", "imap-w%2Frd", SECRET)


def load(environ: dict[str, str], **overrides: Any) -> Settings:
    return load_settings(environ, env_file=None, overrides=overrides)


# -- what the variables mean ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://u:p@mail.example:587", "mail.example", 587, "starttls"),
        ("smtp://mail.example", "mail.example", None, "starttls"),
        ("smtps://u:p@mail.example/", "mail.example", None, "implicit"),
        ("smtps://u:p@localhost", "localhost", None, "implicit"),
        (" smtp://localhost:2525 ", "localhost", 2525, "none"),
        ("SMTP://127.0.0.1", "127.0.0.1", None, "none"),
        ("smtp://[::1]:25", "::1", 25, "none"),
        ("smtp://localhost.evil.example", "localhost.evil.example", None, "starttls"),
        ("smtp://10.0.0.1:25", "10.0.0.1", 25, "starttls"),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(
    url: str, host: str, port: int | None, tls: str
) -> None:
    server = mail_server("smtp")(url)
    assert (server.host, server.port, server.tls, server.mailbox) == (host, port, tls, "")


def test_account_and_mailbox_are_percent_decoded() -> None:
    server = mail_server("imap")("imaps://bot%40example.org:p%3A%2F%C3%A4@mail.example/A%2FB")
    assert (server.username, server.mailbox) == ("bot@example.org", "A/B")
    assert server.password.get_secret_value() == "p:/ä"
    assert server.written.get_secret_value() == "p%3A%2F%C3%A4"
    assert mail_server("imap")("imap://u:p@127.0.0.1").mailbox == "INBOX"
    assert mail_server("imap")("imaps://u:p@h.example/").tls == "implicit"


@pytest.mark.parametrize(
    ("scheme", "url"),
    [
        ("smtp", "mail.example"),
        ("smtp", "https://u:hushhush@mail.example"),
        ("smtp", "imaps://u:hushhush@mail.example"),
        ("smtp", "smtps://"),
        ("smtp", "smtps://u:hushhush@"),
        ("smtp", "smtps://u:hushhush@mail.example:0"),
        ("smtp", "smtps://u:hushhush@mail.example:70000"),
        ("smtp", "smtps://u:hushhush@mail.example:hushhush"),
        ("smtp", "smtps://u:hushhush@mail.example/path"),
        ("smtp", "smtps://u:hushhush@mail.example?tls=no"),
        ("smtp", "smtps://u:hush#hush@mail.example"),
        ("smtp", "smtps://u:hush/hushhush@mail.example"),
        ("smtp", "smtps://u:1#hushhush@mail.example"),
        ("smtp", "smtps://u:hush[hush@mail.example"),
        ("smtp", "smtps://u:hushhush%0A@mail.example"),
        ("smtp", "smtps://u:hushhush%FF@mail.example"),
        ("smtp", "smtps://u:hushhush\u2100@mail.example"),
        ("smtp", "smtps://u@mail.example"),
        ("smtp", "smtps://:hushhush@mail.example"),
        ("imap", "imaps://mail.example/INBOX"),
        ("imap", "imaps://u:@mail.example/INBOX"),
        ("imap", "smtps://u:hushhush@mail.example/INBOX"),
    ],
)
def test_a_wrong_url_is_said_so_without_the_password(scheme: str, url: str) -> None:
    name = f"SALON_{scheme.upper()}_URL"
    with pytest.raises(ConfigurationError) as caught:
        load(ACCOUNT | {name: url})
    words = str(caught.value)
    assert words.startswith(f"{name}=(hidden): ")
    assert f"{scheme}s://user:password@host" in words
    assert "hush" not in words
    assert caught.value.__suppress_context__


def test_the_sender_is_one_address() -> None:
    assert mailbox(" Salon <salon@example.org> ") == "Salon <salon@example.org>"
    for wrong in ("salon", "a@example.org, b@example.org", "a@example.org\nBcc: x@example.org"):
        with pytest.raises(ConfigurationError, match="SALON_EMAIL_FROM") as caught:
            load(ACCOUNT | {"SALON_EMAIL_FROM": wrong})
        assert "one address like" in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("SALON_EMAIL_FROM", "SALON_EMAIL_FROM is missing"),
        ("SALON_SMTP_URL", "SALON_SMTP_URL is missing"),
    ],
)
def test_server_and_sender_belong_together(missing: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load({name: value for name, value in ACCOUNT.items() if name != missing})


@pytest.mark.parametrize("name", ["SALON_IMAP_URL", "SALON_EMAIL_WEBHOOK_SECRET"])
def test_mail_is_not_taken_where_no_answer_can_go_out(name: str) -> None:
    with pytest.raises(ConfigurationError, match="answers have to go out"):
        load({name: EVERYTHING[name]})


def test_a_short_webhook_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"=\(hidden\): must have at least 16"):
        load(ACCOUNT | {"SALON_EMAIL_WEBHOOK_SECRET": "tiny"})


# -- secrets --------------------------------------------------------------------------------------


def test_secrets_of_mail_stay_out_of_every_repr() -> None:
    settings = load(EVERYTHING)
    assert set(settings.secrets()) == set(SECRETS)
    shown = repr((settings, settings.smtp_url, settings.imap_url, settings.email_webhook_secret))
    assert not any(secret in shown for secret in SECRETS)
    assert not any(secret in str(vars(settings)) for secret in SECRETS)


def test_secrets_of_mail_stay_out_of_the_log() -> None:
    stream = io.StringIO()
    logs = configure(secrets=load(EVERYTHING).secrets(), stream=stream)
    try:
        logging.getLogger("salon.app").warning("found %s", " and ".join(EVERYTHING.values()))
        logging.getLogger("salon.app").warning("found %s", " and ".join(SECRETS))
    finally:
        logs.close()
    assert "found" in stream.getvalue()
    assert not any(secret in stream.getvalue() for secret in SECRETS)


async def test_the_server_tells_nobody_its_mail_accounts(settings: Settings) -> None:
    given = load(EVERYTHING, data_dir=settings.data_dir)
    async with serving(given, build=transported) as api:
        for path in ("/api/info", "/ready", "/openapi.json"):
            answer = await api.client.get(path)
            assert answer.is_success
            assert not any(word in answer.text for word in (*SECRETS, "mail.example"))


# -- what is registered ---------------------------------------------------------------------------


def transported(settings: Settings) -> House:
    house = small_house(settings)
    add_transports(settings, house.kit, house.intakes)
    house.ready = True
    return house


def test_without_a_server_there_is_no_channel(settings: Settings) -> None:
    kit = RoomKit()
    add_transports(settings, kit, Intakes(kit))
    assert kit.get_channel("email") is None
    assert mailbox_services(settings, kit) == ()


def test_sending_alone_opens_no_door(settings: Settings) -> None:
    kit = RoomKit()
    intakes = Intakes(kit)
    given = load(ACCOUNT)
    add_transports(given, kit, intakes)
    channel = kit.get_channel("email")
    assert channel is not None
    assert channel.provider_name == "smtp"
    assert intakes.find("email", "signed") is None
    assert mailbox_services(given, kit) == ()


def test_what_only_the_provider_refuses_is_named_by_its_variable() -> None:
    given = load(EVERYTHING)
    kit = RoomKit()
    wrong = MailServer("mail.example", None, "none")
    with pytest.raises(ConfigurationError, match=r"SALON_SMTP_URL: .*starttls"):
        add_transports(replace(given, smtp_url=wrong), kit, Intakes(kit))
    with pytest.raises(ConfigurationError, match=r"SALON_IMAP_URL: .*UTF-7") as caught:
        mailbox_services(load(EVERYTHING | {"SALON_IMAP_URL": "imaps://u:hushhush@h/%C3%A4"}), kit)
    assert "hush" not in str(caught.value)
    broken = load(EVERYTHING | {"SALON_EMAIL_WEBHOOK_SECRET": "whsec_no-base64-at-all"})
    with pytest.raises(ConfigurationError, match=r"SALON_EMAIL_WEBHOOK_SECRET: .*not base64"):
        add_transports(broken, RoomKit(), Intakes(kit))


async def test_the_mailbox_is_attached_while_the_house_is_open(settings: Settings) -> None:
    url = "imap://bot:p@127.0.0.1:1/INBOX"  # nobody listens there
    given = load(ACCOUNT | {"SALON_IMAP_URL": url}, data_dir=settings.data_dir)
    house = transported(given)
    (service,) = mailbox_services(given, house.kit)
    house.stages += ((service,),)
    house.ready = False
    await house.open()
    assert set(house.kit.list_sources()) == {"email"}
    assert house.kit.list_sources()["email"] is not SourceStatus.ERROR
    await house.close()
    assert house.kit.list_sources() == {}


async def test_R216_signed_mail_makes_a_room_with_the_agent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, Any]] = []

    async def send(self: object, event: RoomEvent, to: str, *_: Any, **more: Any) -> ProviderResult:
        sent.append((event.text or "", to, event.channel_data.extra.get("message_id")))
        return ProviderResult(success=True)

    monkeypatch.setattr(SMTPEmailProvider, "send", send)
    given = load(EVERYTHING, data_dir=settings.data_dir)
    async with serving(given, build=transported, keys=True) as api:
        mail = {"from": "Ann@Example.org", "subject": "Owls", "text": "hello"}
        body = json.dumps(mail | {"message_id": "<m1@example.org>"}).encode()
        signed = WebhookSigner(SECRET).headers("w1", body)
        path = "/webhooks/email/signed"
        assert (await api.client.post(path, content=body + b" ", headers=signed)).status_code == 403
        assert await api.kit.list_rooms() == []
        assert (await api.client.post(path, content=body, headers=signed)).status_code == 200
        (room,) = await api.kit.list_rooms()
        await api.kit.idle(room.id)
        bound = {item.channel_id for item in await api.kit.list_bindings(room.id)}
    assert bound == {"email", "agent"}
    assert sent == [("yes", "ann@example.org", "<m1@example.org>")]


async def test_the_door_takes_as_much_as_the_server(settings: Settings) -> None:
    given = load(EVERYTHING, data_dir=settings.data_dir)
    house = transported(replace(given, max_body_bytes=2_000_000))
    door = house.intakes.find("email", "signed")
    assert door is not None
    assert door.max_bytes == 2_000_000
