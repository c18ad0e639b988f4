"""A small service that speaks Twilio's documented messaging interface of 2010-04-01.

It takes messages as ``api.twilio.com`` does, shows them again, and calls webhooks, signed with
code of its own. `faults` make the next requests go wrong.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
NUMBER = "+15017122661"
SERVICE = "MG" + "0123456789abcdef" * 2
BLOCKED = "+15005550009"
"""A recipient who wrote STOP."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_BASE = "/2010-04-01/Accounts/{account}"
_DATE = "Fri, 21 Nov 2025 10:00:00 +0000"


class TwilioService:
    """`messages` by SID, newest last; `requests` are the forms posted, `callbacks` the tasks'
    outcomes as (URL, HTTP status)."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, list[str]]] = []
        self.faults: deque[Response | str] = deque()
        self.port = 0
        self.app = Starlette(
            routes=[
                Route(f"{_BASE}/Messages.json", self._create, methods=["POST"]),
                Route(f"{_BASE}/Messages.json", self._list, methods=["GET"]),
                Route(f"{_BASE}/Messages/{{sid}}.json", self._fetch, methods=["GET"]),
            ]
        )

    @property
    def url(self) -> str:
        """In place of ``https://api.twilio.com``."""
        return f"http://127.0.0.1:{self.port}"

    async def report(self, sid: str, status: str, error_code: int | None = None) -> httpx.Response:
        """The message's status changes: its status callback is called."""
        message = self.messages[sid]
        message.update(status=status, error_code=error_code)
        params = {
            "MessageSid": sid,
            "SmsSid": sid,
            "MessageStatus": status,
            "SmsStatus": status,
            "AccountSid": ACCOUNT,
            "From": message["from"] or NUMBER,
            "To": message["to"],
            "ApiVersion": "2010-04-01",
        }
        if error_code is not None:
            params["ErrorCode"] = str(error_code)
        return await call_webhook(message["_callback"], params)

    async def receive(
        self,
        webhook: str,
        body: str,
        *,
        sender: str = "+15558675310",
        media: Mapping[str, str] | None = None,
        sid: str | None = None,
    ) -> httpx.Response:
        """Somebody writes to `NUMBER`: the webhook of the number is called."""
        sid = sid or ("MM" if media else "SM") + uuid.uuid4().hex
        params = {
            "ToCountry": "US",
            "MessageSid": sid,
            "SmsSid": sid,
            "SmsMessageSid": sid,
            "SmsStatus": "received",
            "AccountSid": ACCOUNT,
            "From": sender,
            "To": NUMBER,
            "Body": body,
            "NumMedia": str(len(media or {})),
            "NumSegments": "1",
            "FromCity": "",
            "ApiVersion": "2010-04-01",
        }
        for number, (url, kind) in enumerate((media or {}).items()):
            params |= {f"MediaUrl{number}": url, f"MediaContentType{number}": kind}
        return await call_webhook(webhook, params)

    def _refusal(self, request: Request) -> Response | None:
        wanted = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given, wanted) or request.path_params["account"] != ACCOUNT:
            return problem(401, 20003, "Authenticate")
        return None

    async def _create(self, request: Request) -> Response:
        body = await request.body()
        if self.faults:
            fault = self.faults.popleft()
            if isinstance(fault, Response):
                return fault
            await asyncio.Event().wait()
        if refusal := self._refusal(request):
            return refusal
        kind = request.headers.get("content-type", "")
        if not kind.startswith("application/x-www-form-urlencoded"):
            return problem(415, 20415, f"Unsupported media type {kind}")
        form = parse_qs(body.decode(), keep_blank_values=True)
        self.requests.append(form)
        if wrong := _wrong(form):
            return problem(400, *wrong)
        message = self._message(form)
        self.messages[message["sid"]] = message
        return JSONResponse(_public(message), 201)

    def _message(self, form: dict[str, list[str]]) -> dict[str, Any]:
        media = form.get("MediaUrl", [])
        sid = ("MM" if media else "SM") + uuid.uuid4().hex
        return {
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "body": form.get("Body", [""])[0],
            "date_created": _DATE,
            "date_sent": None,
            "date_updated": _DATE,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From", [None])[0],
            "messaging_service_sid": form.get("MessagingServiceSid", [None])[0],
            "num_media": str(len(media)),
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "accepted" if "MessagingServiceSid" in form else "queued",
            "subresource_uris": {
                "media": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}/Media.json"
            },
            "to": form["To"][0],
            "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json",
            "_callback": form.get("StatusCallback", [""])[0],
        }

    async def _fetch(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        message = self.messages.get(request.path_params["sid"])
        if message is None:
            path = request.url.path
            return problem(404, 20404, f"The requested resource {path} was not found")
        return JSONResponse(_public(message))

    async def _list(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        size = int(request.query_params.get("PageSize", "50"))
        page = int(request.query_params.get("Page", "0"))
        found = list(reversed(self.messages.values()))
        start, end = page * size, (page + 1) * size
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        following = f"{path}?PageSize={size}&Page={page + 1}" if end < len(found) else None
        return JSONResponse(
            {
                "messages": [_public(message) for message in found[start:end]],
                "page": page,
                "page_size": size,
                "start": start,
                "end": min(end, len(found)) - 1,
                "uri": f"{path}?PageSize={size}&Page={page}",
                "first_page_uri": f"{path}?PageSize={size}&Page=0",
                "next_page_uri": following,
                "previous_page_uri": None,
            }
        )


def problem(
    status: int, code: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as Twilio writes it."""
    info = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": info, "status": status}
    return JSONResponse(body, status, dict(headers or {}))


def sign(url: str, params: Mapping[str, str]) -> str:
    """The signature of a webhook, from the vendor's description of it."""
    text = url
    for name in sorted(params):
        text += name + params[name]
    mac = hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


async def call_webhook(url: str, params: Mapping[str, str]) -> httpx.Response:
    """A form, signed."""
    headers = {
        "X-Twilio-Signature": sign(url, params),
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1",
        "I-Twilio-Idempotency-Token": str(uuid.uuid4()),
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, content=urlencode(params), headers=headers)


async def call_json_webhook(url: str, data: object) -> httpx.Response:
    """A JSON body, covered by its hash in the signed URL."""
    body = json.dumps(data).encode()
    url += ("&" if "?" in url else "?") + "bodySHA256=" + hashlib.sha256(body).hexdigest()
    headers = {"X-Twilio-Signature": sign(url, {}), "Content-Type": "application/json"}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, content=body, headers=headers)


def _public(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if not name.startswith("_")}


def _wrong(form: Mapping[str, list[str]]) -> tuple[int, str] | None:
    to = form.get("To", [""])[0]
    sender = form.get("From", [""])[0]
    if not to:
        return 21604, "A 'To' phone number is required."
    if not _E164.fullmatch(to) or to == "+15005550001":
        return 21211, f"Invalid 'To' Phone Number: {to}"
    if to == BLOCKED:
        return 21610, "Attempt to send to unsubscribed recipient"
    if not sender and "MessagingServiceSid" not in form:
        return 21603, "A 'From' phone number is required."
    if sender and sender != NUMBER:
        return 21659, f"'From' {sender} is not a Twilio phone number"
    if not form.get("Body", [""])[0] and "MediaUrl" not in form:
        return 21619, "A text message body or media urls must be specified."
    if len(form.get("Body", [""])[0]) > 1600:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    if len(form.get("MediaUrl", [])) > 10:
        return 21623, "Number of media files exceeds allowed limit"
    return None


@contextlib.asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """An application on a free loopback port, for the length of a ``with``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        try:
            while not server.started:
                assert not serving.done()
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serving


@contextlib.asynccontextmanager
async def twilio_service() -> AsyncIterator[TwilioService]:
    """The service for the length of a ``with``, on the test's own event loop."""
    service = TwilioService()
    async with serve(service.app) as url:
        service.port = int(url.rpartition(":")[2])
        yield service
