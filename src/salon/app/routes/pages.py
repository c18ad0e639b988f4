"""The page: files that Vite built into the package, and a word of help when they are missing."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

WEB = Path(__file__).resolve().parents[2] / "web"

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Salon</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>Salon runs, but its page has not been built.</h1>
<p>In a source tree, <code>make web</code> builds it (this needs Node.js); an installed wheel holds
it already. Everything else works: <a href="/health">health</a>, <a href="/api/info">what is
here</a>, <a href="/openapi.json">the API</a>, and calls over <code>/ws</code>, for example
<code>salon probe websocket --sine</code>.</p></main></body></html>
"""

for _type, _suffix in (
    ("text/javascript", ".js"),
    ("application/wasm", ".wasm"),
    ("image/svg+xml", ".svg"),
    ("application/manifest+json", ".webmanifest"),
):
    mimetypes.add_type(_type, _suffix)


class WebFiles:
    """The files of the built page, found once; paths from outside are only ever looked up."""

    def __init__(self, root: Path = WEB) -> None:
        self._files: dict[str, Path] = {}
        if (root / "index.html").is_file():
            for file in sorted(root.rglob("*")):
                if file.is_file() and file.suffix not in {".py", ".pyc", ".map"}:
                    self._files[f"/{file.relative_to(root).as_posix()}"] = file
        self.built = bool(self._files)

    @property
    def paths(self) -> frozenset[str]:
        """The request paths that are served."""
        return frozenset(self._files) | {"/", "/favicon.ico"}

    def find(self, path: str) -> Path | None:
        return self._files.get("/index.html" if path == "/" else path)


def pages(files: WebFiles) -> APIRouter:
    """``/`` and the built files; to be included last."""
    router = APIRouter(include_in_schema=False)

    @router.get("/", response_model=None)
    @router.head("/", response_model=None)
    async def index() -> FileResponse | HTMLResponse:
        file = files.find("/")
        if file is None:
            return HTMLResponse(_MISSING)
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    @router.get("/{path:path}", response_model=None)
    async def asset(path: str) -> FileResponse:
        file = files.find(f"/{path}")
        if file is None:
            raise HTTPException(404, f"nothing is served at /{path}")
        # Vite puts a hash of the content into the names below /assets
        age = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return FileResponse(file, headers={"Cache-Control": age})

    return router
