"""The operator's page: its files, as they lie in ``miner/web``, and the headers that fence it in.

The page is plain HTML, CSS and modules; nothing is built, nothing is fetched from elsewhere, and
the content security policy lets it neither. What it shows comes from the routes of
``network/recent.py`` and ``/status``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from miner.errors import UnknownRoute
from miner.network.token import Guard

FOLDER = Path(__file__).parent.parent / "web"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served; other files in the folder are for readers of the source."""

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

PUBLIC = ("/", "/web/{path}")
"""Routes that hold nothing of the miner's, and are shown before anybody has signed in."""

_IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)


def policy(page: bytes) -> str:
    """The content security policy of a page: its own files and the import map inside it.

    The viewer's sorting is WebAssembly in the file itself (``data:``) and runs in workers made of
    its own text (``blob:``).
    """
    found = _IMPORT_MAP.search(page)
    digest = hashlib.sha256(found[1] if found else b"").digest()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{base64.b64encode(digest).decode()}' 'wasm-unsafe-eval'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self' data: blob:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


@dataclass(frozen=True)
class File:
    """One file of the page; ``packed`` where the body is gzip's."""

    body: bytes = field(repr=False)
    content_type: str
    tag: str
    packed: bool


def read_files(folder: Path = FOLDER) -> Mapping[str, File]:
    """All files of the page, by their path below the folder, without ".gz"."""
    files = {}
    for path in sorted(folder.rglob("*")):
        packed = path.suffix == ".gz"
        name = path.relative_to(folder).as_posix().removesuffix(".gz")
        content_type = TYPES.get(Path(name).suffix)
        if content_type is not None and path.is_file():
            body = path.read_bytes()
            tag = hashlib.blake2b(body, digest_size=12).hexdigest()
            files[name] = File(body, content_type, tag, packed)
    return files


class Page:
    """Serves the files.

    Args:
        guard: for the one rule about the host's name.
        files: of the page.
    """

    def __init__(self, guard: Guard, files: Mapping[str, File]) -> None:
        self._guard = guard
        self._files = files
        self._policy = policy(files["index.html"].body)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the page and its files."""
        router.add_get("/", self._index)
        router.add_get("/web/{path:.+}", self._file)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        self._guard.refuse_names(request)
        return self._send(request, "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._send(request, request.match_info["path"])

    def _send(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise UnknownRoute("the page has no such file")
        headers = {
            **SAFE,
            "Content-Type": file.content_type,
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-cache",
            "ETag": f'"{file.tag}"',
        }
        if file.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = file.body
        if file.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
        elif file.packed:
            body = gzip.decompress(body)
        return web.Response(body=body, headers={**headers, "Vary": "Accept-Encoding"})
