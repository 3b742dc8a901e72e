"""The operator's page as a server gives it: whole, fenced in, and for whoever may see it."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from miner.errors import ConfigError
from miner.job import Asset
from miner.network.api import Api
from miner.network.token import Guard, is_loopback, read_token
from miner.network.web import FOLDER, policy, read_files
from tests.network.operator_fakes import FILE, JOB_ID, LIMITS, FakeRecord, FakeView, client_of

TOKEN = "a token of this test"[2:].replace(" ", "-")


@pytest.fixture
def view() -> FakeView:
    made = FakeView()
    made.journal.records[JOB_ID] = FakeRecord()
    made.journal.assets[JOB_ID] = Asset(FILE, "ply", 1, "triposr", {})
    return made


@pytest_asyncio.fixture
async def client(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    """Of an API without a token."""
    async with client_of(Api(view, LIMITS).application(), view.metrics) as session:
        yield session


@pytest_asyncio.fixture
async def locked(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    """Of an API with one; the jar takes cookies of addresses too."""
    application = Api(view, LIMITS, guard=Guard(TOKEN)).application()
    async with client_of(application, view.metrics) as session:
        session._cookie_jar = aiohttp.CookieJar(unsafe=True)
        yield session


async def test_every_file_the_page_names_is_served(client: aiohttp.ClientSession) -> None:
    """What the page and its modules refer to is there, and nothing they refer to is elsewhere."""
    named = set()
    for path in [FOLDER / "index.html", *FOLDER.glob("js/*.js")]:
        text = path.read_text()
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        named |= set(re.findall(r'"(/web/[^"]+)"', text))
        named |= {f"/web/js/{name}" for name in re.findall(r'"\./([^"]+)"', text)}

    for url in sorted(named):
        async with client.get(url) as response:
            assert response.status == 200, url
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert await response.read()
    assert len(named) > 10


async def test_the_policy_lets_nothing_in(client: aiohttp.ClientSession) -> None:
    """No script but the page's own files and its import map, no frame, no form, no other host."""
    async with client.get("/") as response:
        given = response.headers["Content-Security-Policy"]
        assert response.content_type == "text/html"

    assert given == policy((FOLDER / "index.html").read_bytes())
    rules = dict(rule.split(" ", 1) for rule in given.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-\S+' 'wasm-unsafe-eval'", rules["script-src"])
    assert "unsafe-inline" not in given
    assert "http" not in given


async def test_a_file_that_has_not_changed_is_not_sent_again(
    client: aiohttp.ClientSession,
) -> None:
    """The tag of a file that the browser has is answered with 304."""
    async with client.get("/web/style.css") as first:
        tag = first.headers["ETag"]
    async with client.get("/web/style.css", headers={"If-None-Match": tag}) as second:
        assert second.status == 304
        assert await second.read() == b""


async def test_packed_files_are_for_everybody(client: aiohttp.ClientSession) -> None:
    """A client that does not unpack gets the same contents unpacked."""
    url = "/web/vendor/three.core.min.js"
    async with client.get(url) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        contents = await packed.read()
    async with client.get(url, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert await plain.read() == contents  # the client of this test has unpacked them


@pytest.mark.parametrize("name", ["x.js", "../network/web.py", "vendor/README.md", "vendor"])
async def test_nothing_else_is_served(client: aiohttp.ClientSession, name: str) -> None:
    """Files that are no part of the page, and paths out of it, are not found."""
    async with client.get(f"/web/{name.replace('.', '%2E')}") as response:
        assert response.status == 404


def test_vendored_files_are_as_published() -> None:
    """Each has the sum that its list says, and all together are small."""
    vendor = FOLDER / "vendor"
    rows = re.findall(
        r"^\| `([^`]+)` \| .* \| ([0-9a-f]{64}) \|$", (vendor / "README.md").read_text(), re.M
    )
    there = {path.name for path in vendor.iterdir() if ".js" in path.name}

    assert {name for name, _ in rows} == there
    for name, digest in rows:
        data = (vendor / name).read_bytes()
        data = gzip.decompress(data) if name.endswith(".gz") else data
        assert hashlib.sha256(data).hexdigest() == digest, name
    assert sum(path.stat().st_size for path in vendor.iterdir()) < 3_000_000
    assert (vendor / "LICENSE.spark").is_file()
    assert (vendor / "LICENSE.three").is_file()


@pytest.mark.parametrize("path", ["/", "/jobs", f"/jobs/{JOB_ID}", "/events", "/validators"])
async def test_a_name_that_strangers_can_point_here_sees_nothing(
    client: aiohttp.ClientSession, path: str
) -> None:
    """Without a token the page and the prompts are shown on localhost and addresses alone."""
    for host, status in (("evil.example:80", 403), ("localhost:1", 200), ("[::1]:1", 200)):
        async with client.get(path, headers={"Host": host}) as response:
            assert response.status == status, host


async def test_a_page_under_such_a_name_orders_nothing(client: aiohttp.ClientSession) -> None:
    """Nor can it send work, though its origin and the host it names are the same."""
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    async with client.post("/generate", data={"prompt": "a cube"}, headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    "path", ["/status", "/jobs", f"/results/{JOB_ID}", f"/jobs/{JOB_ID}/splat", "/nothing"]
)
async def test_a_token_is_asked_of_everybody(locked: aiohttp.ClientSession, path: str) -> None:
    """With a token nothing of the miner's is shown without it, and it opens all by its header."""
    async with locked.get(path) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (401, "unauthorized")
    for wrong in ("Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
        async with locked.get(path, headers={"Authorization": wrong}) as response:
            assert response.status == 401
    async with locked.get(path, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
        assert response.status == (404 if path == "/nothing" else 200)


async def test_the_page_signs_in_with_a_cookie(locked: aiohttp.ClientSession) -> None:
    """The page itself is public, the token is traded for a cookie that is not the token."""
    for path in ("/", "/web/js/app.js", "/healthz", "/health"):
        async with locked.get(path) as response:
            assert response.status == 200
    async with locked.post("/session", data={"token": "another"}) as response:
        assert response.status == 401
    async with locked.post("/session", data={"token": TOKEN}) as response:
        assert response.status == 200
        cookie = response.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    async with locked.get("/jobs") as response:
        assert response.status == 200


async def test_without_the_page_its_routes_are_not_there(view: FakeView) -> None:
    """Switched off, neither the page nor what it lists is served, and the API goes on."""
    application = Api(view, LIMITS, page=False).application()
    async with client_of(application, view.metrics) as session:
        for path, status in (("/", 404), ("/jobs", 404), ("/status", 200)):
            async with session.get(path) as response:
                assert response.status == status, path


@pytest.mark.parametrize("text", ["", "short", "with a blank in the middle of it", "ü" * 20])
def test_a_token_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    """Too short, or nothing a header could hold; the message quotes nothing of it."""
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_token(path)
    assert not text or text not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_the_first_line_is_the_token(tmp_path: Path) -> None:
    """What follows it in the file is not part of it."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\nnotes\n")
    assert read_token(path) == TOKEN


def test_loopback_is_known() -> None:
    """Addresses of this machine alone, and no others."""
    hosts = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "host"]
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 4


def test_files_are_read_once_each() -> None:
    """No file of the page hides another of the same name."""
    files = read_files()
    assert {"index.html", "style.css", "js/app.js", "vendor/spark.module.min.js"} <= set(files)
    assert all(file.body for file in files.values())
