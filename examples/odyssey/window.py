"""A stream in a window, changed by what is typed into it.

    ODYSSEY_API_KEY=ody_... python examples/odyssey/window.py "a lighthouse in a storm"

Type a prompt and press Enter to change the picture; Esc leaves. The window needs OpenCV
(``pip install opencv-python``); ``--headless 48`` shows nothing and ends after 48 pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from adapters import to_bgr

from salon.clients.odyssey import BroadcastInfo, Odyssey, OdysseyError, VideoFrame

TITLE = "Odyssey"
ENTER, ESCAPE, BACKSPACES = 13, 27, (8, 127)
NO_KEY = 255


class Typed:
    """What is being typed; `key` takes the codes of OpenCV's `waitKey`."""

    def __init__(self) -> None:
        self.text = ""
        self.left = False

    def key(self, code: int) -> str | None:
        """A prompt when Enter ends one."""
        if code == ESCAPE:
            self.left = True
        elif code in BACKSPACES:
            self.text = self.text[:-1]
        elif code == ENTER:
            prompt, self.text = self.text.strip(), ""
            return prompt or None
        elif code != NO_KEY and chr(code).isprintable():
            self.text += chr(code)
        return None


class Window:
    """Shows pictures by OpenCV, with what is typed below."""

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            raise SystemExit(
                "The window needs OpenCV: pip install opencv-python "
                "(or run with --headless 48 to go without)"
            ) from None
        self._cv2: Any = cv2
        self._typed = Typed()
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

    def show(self, frame: VideoFrame) -> str | None:
        """One picture; a prompt if one was just finished."""
        cv2, picture = self._cv2, to_bgr(frame)
        line = f"> {self._typed.text}_"
        cv2.putText(
            picture, line, (16, frame.height - 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,) * 3, 2
        )
        cv2.imshow(TITLE, picture)
        return self._typed.key(cv2.waitKey(1) & 0xFF)

    @property
    def left(self) -> bool:
        """Whether Esc was pressed or the window closed."""
        gone = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) < 1
        return self._typed.left or gone

    def close(self) -> None:
        self._cv2.destroyAllWindows()


async def watch(client: Odyssey, window: Window | None, pictures: int | None) -> int:
    """Show pictures until the user leaves, the connection ends or so many have come; how many."""
    changes: set[asyncio.Task[None]] = set()
    shown = 0
    try:
        async for frame in client.frames():
            shown += 1
            prompt = window.show(frame) if window is not None else None
            if prompt is not None:
                change = asyncio.ensure_future(interact(client, prompt))
                changes.add(change)
                change.add_done_callback(changes.discard)
            if shown == pictures or (window is not None and window.left):
                break
    finally:
        for change in changes:
            change.cancel()
        await asyncio.gather(*changes, return_exceptions=True)
    return shown


async def interact(client: Odyssey, prompt: str) -> None:
    """Change the picture; say so if it was not possible."""
    try:
        print(f"applied: {await client.interact(prompt)}")
    except (OdysseyError, ConnectionError) as error:
        print(f"not applied: {error}", file=sys.stderr)


def tell_broadcast(info: BroadcastInfo) -> None:
    """Where others can watch."""
    print("others can watch with:")
    print(f"  python examples/odyssey/spectator.py {info.webrtc_url} {info.spectator_token}")


async def run(options: argparse.Namespace, say: Callable[[str], None] = print) -> int:
    """The whole program; 0 if all went well."""
    settings: dict[str, Any] = {"debug": options.debug}
    if options.api_url:
        settings["api_url"] = options.api_url
    window = Window() if options.headless is None else None
    key = os.environ.get("ODYSSEY_API_KEY", "")
    try:
        async with Odyssey(key, **settings) as client:
            await client.connect(
                on_status_change=lambda status, text: say(f"{status.value} {text or ''}".rstrip()),
                on_broadcast_ready=tell_broadcast,
                on_stream_error=lambda reason, text: say(f"{reason}: {text}"),
            )
            stream_id = await client.start_stream(
                options.prompt,
                portrait=not options.landscape,
                image=options.image,
                broadcast=options.broadcast,
            )
            say(f"stream {stream_id}")
            for prompt in options.then:
                say(f"applied: {await client.interact(prompt)}")
            shown = await watch(client, window, options.headless)
            say(f"{shown} pictures")
            if client.is_connected:
                await client.end_stream()
    except (OdysseyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if window is not None:
            window.close()
    return 0


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="A stream in a window, changed by prompts.")
    parser.add_argument("prompt", nargs="?", default="a lighthouse in a storm")
    parser.add_argument("--then", action="append", default=[], help="a prompt to go on with")
    parser.add_argument("--landscape", action="store_true", help="1280x704 and not 704x1280")
    parser.add_argument("--image", help="a picture to begin with")
    parser.add_argument("--broadcast", action="store_true", help="let others watch")
    parser.add_argument("--headless", type=int, metavar="N", help="no window; end after N pictures")
    parser.add_argument("--api-url", help="another service than the usual one")
    parser.add_argument("--debug", action="store_true", help="say what happens, step by step")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    options = arguments(argv)
    if options.debug:
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("odyssey").setLevel(logging.DEBUG)
    return asyncio.run(run(options))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
