"""Where a spectator says goodbye: only to the server that answered it (O81, O84)."""

from __future__ import annotations

import pytest
from aiohttp import web
from tests.unit.transport.streamer import Streamer

from salon.clients.odyssey import connect_to_stream


class Endpoint:
    """A WHEP endpoint whose `location` a test says; `gone` are the resources deleted there."""

    def __init__(self) -> None:
        self.location = ""
        self.gone: list[str] = []
        self.streamers: list[Streamer] = []
        application = web.Application()
        application.router.add_post("/live/a/whep", self._post)
        application.router.add_delete("/{path:.*}", self._delete)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        self.url = ""

    async def __aenter__(self) -> Endpoint:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for streamer in self.streamers:
            await streamer.close()
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        self.streamers.append(Streamer(links=False))
        answer = await self.streamers[-1].answer(await request.text())
        headers = {"Location": self.location}
        return web.Response(
            status=201, text=answer, content_type="application/sdp", headers=headers
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self.gone.append(request.path)
        return web.Response()


@pytest.mark.parametrize("own", [True, False])
async def test_O81_a_location_at_another_server_is_not_followed(own: bool) -> None:
    async with Endpoint() as endpoint, Endpoint() as other:
        endpoint.location = f"{(endpoint if own else other).url}/sessions/1"
        async with await connect_to_stream(f"{endpoint.url}/live/a", "t") as connection:
            assert connection.is_connected
        assert endpoint.gone == (["/sessions/1"] if own else [])
        assert other.gone == []
