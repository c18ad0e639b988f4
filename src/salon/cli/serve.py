"""``salon serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salon.base import ConfigurationError
from salon.cli.options import CALLS, PLACES, SERVER, SPEECH, setting_options, settings_from
from salon.cli.traces import short_traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salon.app.house import House
    from salon.app.settings import Settings


@click.command()
@setting_options(*SERVER, *PLACES, *SPEECH, *CALLS)
@click.option(
    "--agent",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Python file with your agent. [SALON_AGENT]",
)
@click.option(
    "--conf",
    "config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    help="Configuration file (TOML) of a call gateway. [SALON_CONFIG]",
)
@click.option("--http", metavar="ADDRESS", default=None, help="Port, address or address:port.")
@click.option(
    "--handler",
    metavar="URL",
    default=None,
    help="Webhook that calls with handler=webhook are announced to. [SALON_CALL_WEBHOOK_URLS]",
)
def serve(**flags: Any) -> None:
    """Run the server: the page, rooms, and calls over WebSocket.

    Flags win over the environment, the environment over .env, that over a file given by --conf.
    Every setting is described in .env.example. Ctrl-C lets running calls end; a second one ends
    them.
    """
    settings = settings_from(call_flags(flags))
    from salon.app.application import create_app
    from salon.app.logs import configure
    from salon.app.server import bind, run, urls_of

    listener = bind(settings.host, settings.port)
    logs = configure(
        level=settings.log_level,
        style=settings.log_format,
        folder=settings.logs,
        secrets=settings.secrets(),
    )
    try:
        app = create_app(settings)
        urls = urls_of(settings, listener.getsockname()[1])

        def announce() -> None:
            for line in banner(settings, app.state.house, urls):
                click.echo(line)

        with short_traces():
            run(settings, app, listener, announce)
    finally:
        listener.close()
        logs.close()


def call_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """`flags` with those of call gateways (G232) as settings; a plain flag wins over them."""
    from salon.app.config_file import split_address
    from salon.app.settings import VARIABLES

    given = dict(flags)
    by_field = {variable.field: variable for variable in VARIABLES}
    handler, address = given.pop("handler", None), given.pop("http", None)
    if handler is not None:
        if handler.endswith(".md"):
            raise ConfigurationError(f"--handler={handler}: playbooks are not served, give a URL")
        given["call_webhook_urls"] = by_field["call_webhook_urls"].read(handler, "--handler")
    for name, text in zip(("host", "port"), split_address(address or ""), strict=True):
        if text and given.get(name) is None:
            given[name] = by_field[name].read(text, "--http")
    return given


def banner(settings: Settings, house: House, urls: list[str]) -> Iterator[str]:
    """What runs, and what to know about it."""
    from salon.app.version import version

    agent = house.describe_agent()
    yield ""
    yield f"Salon {version()} is open: {click.style(urls[0], bold=True)}   (Ctrl-C closes it)"
    for url in urls[1:]:
        yield f"  also at      {url}"
    yield f"  agent        {agent.name}"
    for kind, engine in house.describe_engines().items():
        note = f" ({engine.note})" if engine.note else ""
        yield (
            f"  {kind:<12} {engine.name}{note}"
            if engine.available
            else (f"  {kind:<12} missing: {engine.note}")
        )
    yield f"  data         {settings.data_dir.resolve()}"
    yield f"  calls        up to {settings.max_calls}"
    for warning in warnings_of(settings):
        yield click.style(f"  ! {warning}", fg="yellow")
    yield ""


def warnings_of(settings: Settings) -> Iterator[str]:
    """What people should know about these settings, in words."""
    if settings.exposed and not settings.tls:
        yield (
            "other machines reach this server without HTTPS: browsers there will refuse the "
            "microphone, and the key travels unprotected; use --tls-self-signed"
        )
    if settings.tls_self_signed:
        yield "the certificate is self-signed: browsers warn once, accept it for this address"
    if "*" in settings.allowed_hosts:
        yield "the Host check is off: a proxy in front has to do it"
    if settings.store_url == "memory://":
        yield "rooms are kept in memory: they are gone when the server stops"
