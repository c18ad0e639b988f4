"""The page of a room as a person uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Error, Locator, Page

WAIT_MS = 45_000
"""How long anything may take: a busy machine is slow, and a broken page fails all the same."""

WAYS = {"webrtc": "WebRTC", "websocket": "WebSocket"}
"""The ways of sound, as the address of the page takes them and as the page names them."""


@dataclass(frozen=True, slots=True)
class Said:
    """An entry of the timeline as it is shown."""

    role: str
    name: str
    text: str
    interrupted: bool


_ENTRIES = """() => [...document.querySelectorAll("#timeline > li")].map((item) => ({
  role: item.dataset.role,
  name: item.querySelector(".name")?.textContent ?? "",
  text: item.querySelector("p")?.textContent ?? "",
  interrupted: item.querySelector(".mark") !== null,
}))"""

_WATCH = """() => {
  window.seen = [];
  const note = () => window.seen.push({
    at: performance.now(),
    person: document.getElementById("speaking").dataset.on === "true",
    agent: document.getElementById("agent-speaking").dataset.on === "true",
    own: [...document.querySelectorAll("#captions > [data-role=human] p")]
      .map((item) => item.textContent).join(" "),
    answer: [...document.querySelectorAll("#captions > [data-role=agent] p")]
      .map((item) => item.textContent).join(" "),
    answerers: [...document.querySelectorAll("#captions > [data-role=agent]:not([hidden]) .name")]
      .map((item) => item.textContent),
    entries: document.querySelectorAll("#timeline > li").length,
    status: document.getElementById("status").textContent,
  });
  const options = { subtree: true, childList: true, characterData: true, attributes: true };
  for (const id of ["speaking", "agent-speaking", "captions", "timeline", "status"])
    new MutationObserver(note).observe(document.getElementById(id), options);
  note();
}"""

_WATCH_PEERS = """() => {
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      window.peers.push(this);
    }
  };
}"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page showed from `at` ms on: who speaks, captions, how many entries, status."""

    at: float
    person: bool
    agent: bool
    own: str
    answer: str
    answerers: list[str]
    entries: int
    status: str


class RoomPage:
    """One browser window. `errors` collects what the console and the page complain about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text}")

    @classmethod
    async def open(cls, context: BrowserContext, url: str, *, capture: bool = True) -> RoomPage:
        """Open `url` and wait for the room."""
        room_page = cls(await context.new_page())
        await room_page.page.goto(url + ("#capture" if capture else ""))
        await room_page.status("Connected")
        return room_page

    @property
    def room(self) -> str:
        """The room's id, which the address holds."""
        return parse_qs(urlsplit(self.page.url).query)["room"][0]

    def element(self, element_id: str) -> Locator:
        return self.page.locator(f"#{element_id}")

    async def until(self, condition: str, argument: object = None) -> None:
        """Wait for a JavaScript `condition`."""
        try:
            await self.page.wait_for_function(condition, arg=argument, polling=50, timeout=WAIT_MS)
        except Error as error:
            raise AssertionError(f"never: {condition}\n{await self.describe()}") from error

    async def describe(self) -> str:
        """What the page shows, for the report of a failure."""
        return "\n".join(
            (
                f"status {await self.element('status').inner_text()!r}",
                f"error {await self.element('error').text_content()!r}",
                f"timeline {await self.entries()}",
                f"captions {await self.element('captions').text_content()!r}",
                f"stats {await self.stats()}",
                f"console {self.errors}",
            )
        )

    async def status(self, words: str) -> None:
        """Wait until the status line says `words`."""
        await self.until(
            "(words) => document.getElementById('status').textContent === words", words
        )

    async def entries(self) -> list[Said]:
        return [Said(**entry) for entry in await self.page.evaluate(_ENTRIES)]

    async def stats(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self.page.evaluate("window.salonStats ?? {}")
        return found

    async def count(self, role: str, number: int) -> list[Said]:
        """Wait for `number` entries of `role`, ``human`` or ``agent``; all entries."""
        await self.until(
            """([role, number]) => document.querySelectorAll(
                 `#timeline > li[data-role=${role}]`).length >= number""",
            [role, number],
        )
        return await self.entries()

    async def talk(self) -> None:
        """Press Talk and wait until the call is up."""
        await self.element("talk").click()
        await self.status("In a call")

    async def hang_up(self) -> None:
        await self.element("talk").click()
        await self.status("Connected")

    async def sound_goes_by(self, way: str) -> None:
        """Wait until the page says so: ``WebRTC`` or ``WebSocket``."""
        await self.until(
            "(words) => document.getElementById('audio-path').textContent === words",
            f"Sound by {way}",
        )

    async def press(self, key: str) -> None:
        """Press a key of the keypad, which is opened if it is not."""
        keypad = self.element("keypad")
        if await keypad.get_attribute("open") is None:
            await keypad.locator("summary").click()
        await self.element("digits").get_by_text(key, exact=True).click()

    async def agent_speaks(self, on: bool = True) -> None:
        """Wait until the page plays the agent's voice, or no longer does."""
        await self.until(
            "(on) => document.getElementById('agent-speaking').dataset.on === String(on)", on
        )

    async def watch(self) -> None:
        """Note every change of lights, captions, timeline and status from now on."""
        await self.page.evaluate(_WATCH)

    async def seen(self) -> list[Seen]:
        """What was noted since `watch`."""
        return [Seen(**moment) for moment in await self.page.evaluate("window.seen")]

    async def watch_peers(self) -> None:
        """Note every peer connection from now on in ``window.peers``."""
        await self.page.evaluate(_WATCH_PEERS)

    async def forget_sound(self) -> None:
        """Drop what was received so far."""
        await self.page.evaluate("window.salonReceived.length = 0")

    async def frames_sent(self, number: int) -> None:
        """Wait until the call has sent `number` frames of 20 ms: the clock of the microphone."""
        await self.until("(number) => window.salonStats.framesSent >= number", number)

    async def call_me(self, name: str) -> None:
        """Set the name that others see; the page enters the room anew with it."""
        await self.element("name").fill(name)
        await self.element("name").press("Enter")
        await self.status("Connected")

    async def say(self, text: str) -> None:
        """Type `text` and send it."""
        await self.element("message").fill(text)
        await self.element("send").click()
