"""The stand-in's HTTP side: every request goes to a core; faults, CORS and files are put here."""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Final

from aiohttp import web

from salon.testing.odyssey.archive import FILES
from salon.testing.odyssey.broadcasts import Broadcasts
from salon.testing.odyssey.broker_core import CORS
from salon.testing.odyssey.connection import Connection
from salon.testing.odyssey.exchange import Refusal, Reply, Request
from salon.testing.odyssey.faults import HttpFault
from salon.testing.odyssey.house import House
from salon.testing.odyssey.settings import SOCKET_BYTES

_log = logging.getLogger("salon.testing.odyssey")

BODY_BYTES: Final = 256 * 1024 * 1024
_CLIENT = re.compile(r"/client/(?P<session_id>[^/]+)")
_WHEP = re.compile(r"/live/(?P<stream_id>[^/]+)/whep(?:/(?P<viewer>[^/]+))?")
_FILE = re.compile(r"/files/(?P<stream_id>[^/]+)/(?P<name>[^/]+)")
_SLASHES = re.compile(r"/{2,}")


class WebDriver:
    """One handler for all paths."""

    def __init__(self, house: House, broadcasts: Broadcasts) -> None:
        self.asked: list[str] = []
        """The names of the routes in the order of the requests, the newest 1000 (O15)."""
        self._house = house
        self._broadcasts = broadcasts

    def application(self) -> web.Application:
        """The application to serve."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        if http.method == "OPTIONS":
            return _response(Reply(204))
        try:
            return await self._routed(http)
        except Refusal as refusal:
            return _response(refusal.reply())
        except (web.HTTPException, ConnectionResetError):
            raise  # aiohttp's own answer, or nobody is left to be answered
        except Exception:  # noqa: BLE001 - the outer edge of a request
            _log.exception("%s %s failed", http.method, http.path)
            return _response(Reply(500, {"detail": "Internal Server Error"}))

    async def _routed(self, http: web.Request) -> web.StreamResponse:
        path = _SLASHES.sub("/", http.path)
        method = "GET" if http.method == "HEAD" else http.method
        name, ids = self._route(method, path)
        self.asked.append(name)
        del self.asked[:-1000]
        fault = self._house.faults.take_http(name)
        if fault is not None:
            await self._house.clock.sleep(fault.delay_s)
            if fault.drop:
                if http.transport is not None:
                    http.transport.abort()
                return web.Response(status=500)
            if fault.status is not None:
                return _response(Reply(fault.status, fault.body, fault.headers))
        if name == "signaling":
            return await self._socket(http, **ids)
        if name == "files.get":
            return self._file(http, **ids)
        query = {key: http.query[key] for key in http.query}
        headers = {key.lower(): value for key, value in http.headers.items()}
        request = Request(method, path, query, headers, await http.read())
        if name == "whep.post":
            reply = await self._broadcasts.post(request, ids["stream_id"])
        elif name == "whep.delete":
            reply = await self._broadcasts.delete(ids["stream_id"], ids["viewer"])
        else:
            reply = self._house.broker.answer(request, self._house.clock.time())
            if name == "jobs.submit" and reply.status == 201:
                self._house.submitted.set()
        return _response(_altered(reply, fault))

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """The name of what is asked and the ids in its path; `Refusal` 404 or 405."""
        if method == "GET" and (found := _CLIENT.fullmatch(path)):
            return "signaling", found.groupdict()
        if method == "GET" and (found := _FILE.fullmatch(path)):
            return "files.get", found.groupdict()
        if found := _WHEP.fullmatch(path):
            ids = {name: value for name, value in found.groupdict().items() if value}
            if method == ("DELETE" if "viewer" in ids else "POST"):
                return f"whep.{method.lower()}", ids
            raise Refusal(405, "Method Not Allowed")
        return self._house.broker.route(method, path)

    async def _socket(self, http: web.Request, session_id: str) -> web.StreamResponse:
        """A signaling socket (O26); `Refusal` 401, 403, 404 or 409 before it opens."""
        house, now = self._house, self._house.clock.time()
        token = http.query.get("token")
        if token is None and house.settings.tokenless:
            session = house.sessions.open_tokenless(session_id, now)
        else:
            owner = house.broker.session_of(session_id, token or "", now)
            house.sessions.owned(session_id, owner, now)
            session = house.sessions.open(session_id, now)
        try:
            socket = web.WebSocketResponse(max_msg_size=SOCKET_BYTES, timeout=2.0)
            await socket.prepare(http)
            connection = Connection(house, self._broadcasts, session, socket)
            house.connections[session.id] = connection
            await connection.run()
        finally:
            house.connections.pop(session.id, None)
            house.sessions.release(session.id)
        return socket

    def _file(self, http: web.Request, stream_id: str, name: str) -> web.StreamResponse:
        """A file behind a signed address, parts of it too (O88, O91)."""
        if name not in FILES:
            raise Refusal(404, "no such file")
        expires, signature = http.query.get("expires", ""), http.query.get("signature", "")
        now = self._house.clock.time()
        self._house.archive.check_url(stream_id, name, expires, signature, now)
        kept = self._house.archive.find(stream_id)
        if kept is None:
            raise Refusal(404, "no such file")
        path = self._house.folder / kept.stream_id / name
        return web.FileResponse(path, headers={**CORS, "Content-Type": FILES[name]})


def _altered(reply: Reply, fault: HttpFault | None) -> Reply:
    """The usual reply, less or other than it should be."""
    if fault is None or not isinstance(reply.body, dict):
        return reply
    body = {name: value for name, value in reply.body.items() if name not in fault.without}
    return Reply(reply.status, {**body, **fault.fields}, reply.headers)


def _response(reply: Reply) -> web.Response:
    headers = {**CORS, **reply.headers}
    if isinstance(reply.body, bytes):
        return web.Response(status=reply.status, body=reply.body, headers=headers)
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    headers.setdefault("Content-Type", "application/json")
    text: Any = json.dumps(reply.body)
    return web.Response(status=reply.status, body=text.encode(), headers=headers)
