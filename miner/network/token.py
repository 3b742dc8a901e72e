"""Who may use the HTTP API and its page: whoever holds the token, where there is one.

Programs send it as ``Authorization: Bearer``; the page trades it once for a cookie that scripts
cannot read. Without a token the API trusts whoever reaches it, and the page shows what was asked
for only under names that no stranger's name server can point at this machine.

Limits: HTTP is not encrypted; over a network that others share, put a proxy with TLS before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from miner.errors import ConfigError, NotPermitted, Unauthorized
from miner.network.replies import Handler

CREDENTIAL = "api-token"
"""The name of systemd's credential."""
COOKIE = "miner_session"
COOKIE_SECONDS = 30 * 86_400
MIN_CHARACTERS = 16
MAX_BYTES = 1024
WRONG_SECONDS = 1.0
"""Between two wrong sign-ins, whoever sends them."""


def read_token(path: Path) -> str:
    """The token in a file's first line.

    Raises:
        ConfigError: it cannot be read, is too short, or could not stand in a header.
    """
    try:
        with path.expanduser().open("rb") as file:
            text = file.readline(MAX_BYTES).strip().decode("ascii")
    except OSError as error:
        raise ConfigError(f"{path}: the token cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""  # and no cause: it would hold the bytes
    if len(text) < MIN_CHARACTERS or not text.isprintable() or " " in text:
        raise ConfigError(
            f"{path}: its first line must be a token of at least {MIN_CHARACTERS} plain "
            "characters, as `openssl rand -hex 24` makes one"
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether a server on that address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Checks requests against the token.

    Args:
        token: None trusts whoever reaches the server.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        self._turn = asyncio.Lock()

    @property
    def locked(self) -> bool:
        """Whether there is a token."""
        return self._token is not None

    def middleware(self, public: Collection[str]) -> Middleware:
        """Refuses requests without the token, but for the routes of these canonical paths.

        Without a token, pages in browsers (they alone send an Origin) are held to ``refuse_names``.
        """

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if "Origin" in request.headers:
                self.refuse_names(request)
            resource = request.match_info.route.resource
            if resource is None or resource.canonical not in public:
                self.require(request)
            return await handler(request)

        return check

    def require(self, request: web.Request) -> None:
        """Passes if the request carries the token or its cookie, or there is none.

        Raises:
            Unauthorized: it does not.
        """
        if self._token is None:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self._token):
            return
        if not _equal(request.cookies.get(COOKIE, ""), self._session()):
            raise Unauthorized("the API wants its token, as Authorization: Bearer or by signing in")

    def refuse_names(self, request: web.Request) -> None:
        """Without a token, passes only requests to an address or to localhost.

        A stranger's page could otherwise have its own name lead here, and read as one of ours.

        Raises:
            NotPermitted: the request names another host.
        """
        if self._token is None and not _is_own_name(request.host):
            raise NotPermitted("without a token this is shown only on localhost or an IP address")

    async def sign_in(self, token: str) -> str:
        """The cookie for a token.

        Raises:
            Unauthorized: it is another; that answer takes its time.
        """
        if self._token is not None and not _equal(token.strip(), self._token):
            async with self._turn:
                await asyncio.sleep(WRONG_SECONDS)
            raise Unauthorized("that is not the token")
        return self._session()

    def _session(self) -> str:
        return hmac.new((self._token or "").encode(), b"page", hashlib.sha256).hexdigest()


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())


def _is_own_name(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
