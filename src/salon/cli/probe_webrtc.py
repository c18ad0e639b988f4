"""``salon probe webrtc``: what it does beside what every probed call does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from salon.cli.probe import Plan, ProbeFailed, Screen, Way

if TYPE_CHECKING:
    from salon.clients.call import CallClient, WebRtcCallClient, WebRtcConnection
    from salon.transport.packets import IceServer, PayloadFormat

CONNECT_TIMEOUT = 10.0
"""Seconds for the connection of the sound, once the call is answered."""
KEY_TIMEOUT = 3.0
"""Seconds within which the server must have told of a key."""
KEYS = frozenset("0123456789*#ABCD")


class WebRtcWay(Way):
    """Sound as packets: says how they found their way, presses keys, and counts what was lost."""

    first = "the first reply sound"

    def __init__(self, keys: str = "", ice_servers: tuple[str, ...] = ()) -> None:
        """Wrong usage and a missing extra are told before anything is placed."""
        from salon.clients.call.webrtc import check_webrtc

        check_webrtc()
        self._keys = keys.upper()
        if not set(self._keys) <= KEYS:
            raise click.UsageError(f"--dtmf: {keys!r} has other keys than 0-9, *, # and A-D")
        self._servers = tuple(server for text in ice_servers for server in _servers(text))

    def client(self) -> type[CallClient]:
        from salon.clients.call import WebRtcCallClient

        return WebRtcCallClient

    async def invite(self, call: CallClient, plan: Plan, screen: Screen) -> None:
        call = _over_webrtc(call)
        await call.invite(
            plan.codec,
            asr={},
            tts={},
            vad={},
            timeout=plan.timeout,
            connect_timeout=min(CONNECT_TIMEOUT, plan.timeout),
            ice_servers=self._servers,
        )
        if call.made is not None:
            screen.figures("connection", _rounded(asdict(call.made)), *_connection_lines(call.made))

    async def before_turns(self, call: CallClient, screen: Screen) -> None:
        """Press the keys; `ProbeFailed` if the server does not tell of each of them."""
        if not self._keys:
            return
        await _over_webrtc(call).press(self._keys)
        heard = ""
        while len(heard) < len(self._keys):
            event = await call.wait_for("dtmf", timeout=KEY_TIMEOUT)
            if event is None:
                break
            heard += str(event.data.get("digit", ""))
        if heard != self._keys:
            told = f"told of {heard!r}" if heard else "told of no key"
            raise ProbeFailed(f"pressed {self._keys!r}, but the server {told}")
        screen.figures(
            "dtmf", {"pressed": self._keys, "heard": heard}, f"keys: {heard} pressed and heard"
        )

    def after(self, call: CallClient, screen: Screen) -> None:
        figures = _network(_over_webrtc(call))
        if figures is not None:
            screen.figures("network", figures, *_network_lines(figures))


def _over_webrtc(call: CallClient) -> WebRtcCallClient:
    from salon.clients.call import WebRtcCallClient

    if not isinstance(call, WebRtcCallClient):
        raise TypeError("this way is for calls over WebRTC")
    return call


def _servers(text: str) -> tuple[IceServer, ...]:
    from salon.app.variables import ice_servers

    try:
        return ice_servers(text)
    except ValueError as error:
        raise click.UsageError(f"--ice-server: {error}") from None


def _rounded(data: dict[str, Any]) -> dict[str, Any]:
    return {key: round(x, 2) if isinstance(x, float) else x for key, x in data.items()}


def _connection_lines(made: WebRtcConnection) -> tuple[str, ...]:
    codec = made.codec
    keys = "no keys" if made.keys is None else f"keys as {_format(made.keys)}"
    route = "not known" if made.route is None else f"{made.route.local} -> {made.route.remote}"
    return (
        click.style(f"connected {made.connect_ms:.0f} ms after the offer", bold=True)
        + f" (answer after {made.answer_ms:.0f} ms, ICE after {made.ice_ms:.0f} ms; "
        f"candidates gathered before it in {made.gather_ms:.0f} ms)",
        f"           {_format(codec)} as payload type {codec.payload_type}, {keys}",
        f"           route: {route}",
        f"           candidates here: {', '.join(made.candidates)}",
    )


def _format(one: PayloadFormat) -> str:
    return f"{one.encoding}/{one.clock_rate}"


def _network(call: WebRtcCallClient) -> dict[str, Any] | None:
    """What became of the packets; None if there never was a connection."""
    packets, playout = call.statistics(), call.playout()
    if call.made is None or packets is None or playout is None:
        return None
    trip = packets.round_trip_ms
    return {
        "received": packets.packets_received,
        "lost": packets.lost,
        "jitter_ms": round(packets.jitter_ms, 2),
        "round_trip_ms": None if trip is None else round(trip, 2),
        "sent": packets.packets_sent,
        "server_lost": call.remote_lost,
        "server_jitter_ms": round(packets.remote_jitter_ms, 2),
        "buffer_ms": round(playout.depth_ms, 1),
        "concealed_ms": round(playout.concealed_ms, 1),
        "late": playout.late,
        "rejected": packets.rejected,
    }


def _network_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    trip = figures["round_trip_ms"]
    shown = "not known (no report came)" if trip is None else f"{trip:.1f} ms"
    expected = figures["received"] + figures["lost"]
    share = 100 * figures["lost"] / expected if expected else 0.0
    return (
        f"network: round trip {shown}",
        f"         received {figures['received']} packets, {figures['lost']} lost ({share:.1f} %), "
        f"jitter {figures['jitter_ms']:.1f} ms, buffer {figures['buffer_ms']:.0f} ms, "
        f"{figures['concealed_ms']:.0f} ms concealed",
        f"         sent {figures['sent']} packets, {figures['server_lost']} lost, "
        f"jitter {figures['server_jitter_ms']:.1f} ms, by the server's last report",
    )
