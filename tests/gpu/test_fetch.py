"""Downloading against a server of our own: resuming, verifying, refusing."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from miner.errors import OutputError, WeightsError
from miner.gpu.fetch import Fetcher
from miner.gpu.weights import SUMS_NAME, Entry, WeightStore, read_stamps, read_sums

BODY = bytes(range(256)) * 5000
COMMIT = "c" * 40


@dataclass
class FakeServer:
    """A file server that also speaks as much of the hub's interface as a download needs.

    Attributes:
        files: contents by path; a hub's files are below ``/repo/name/resolve/<revision>/``.
        tree: what the hub lists of its one repository.
        gated: the hub asks for an account.
        cut: bytes after which the next answer breaks off.
        asked: method, path and range of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    tree: list[dict[str, object]] = field(default_factory=list)
    gated: bool = False
    cut: int | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, path: str, body: bytes, revision: str) -> None:
        """Puts a large file into the repository."""
        digest = hashlib.sha256(body).hexdigest()
        lfs = {"oid": digest, "size": len(body), "pointerSize": 130}
        self.tree.append(
            {"type": "file", "path": path, "size": len(body), "oid": "0" * 40, "lfs": lfs}
        )
        self.files[f"/repo/name/resolve/{revision}/{path}"] = body


def handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    """The request handler of a fake server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body_too=False)

        def do_GET(self) -> None:
            self._answer(body_too=True)

        def _answer(self, body_too: bool) -> None:
            path, wanted = self.path.split("?")[0], self.headers.get("Range")
            server.asked.append((self.command, path, wanted))
            if server.gated:
                self._send(401, b"", {"X-Error-Code": "GatedRepo"}, body_too)
            elif path.startswith("/api/models/repo/name/tree/"):
                listing = json.dumps(server.tree).encode()
                self._send(200, listing, {"Content-Type": "application/json"}, body_too)
            elif path in server.files:
                self._send_file(server.files[path], wanted, body_too)
            else:
                self._send(404, b"", {}, body_too)

        def _send_file(self, body: bytes, wanted: str | None, body_too: bool) -> None:
            digest = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            if start >= len(body):
                self._send(416, b"", headers, body_too)
                return
            if wanted:
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206 if wanted else 200, body[start:], headers, body_too)

        def _send(self, status: int, body: bytes, headers: dict[str, str], body_too: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body_too:
                cut, server.cut = server.cut, None
                self.wfile.write(body[:cut])
                self.close_connection = cut is not None

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server that listens on this machine."""
    fake = FakeServer()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    listener.daemon_threads = True
    fake.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    listener.shutdown()
    thread.join()
    listener.server_close()


def file_entry(server: FakeServer, **values: object) -> Entry:
    """One plain file on the server."""
    server.files.setdefault("/net.bin", BODY)
    base = {"name": "net", "source": "url", "licence": "MIT", "commercial": "yes"}
    rest = {"files": ["net.bin"], "url": f"{server.url}/net.bin", **values}
    return Entry.model_validate({**base, **rest})


def hub_entry(**values: object) -> Entry:
    """A repository on the server."""
    base = {"name": "net", "source": "hub", "licence": "MIT", "commercial": "yes"}
    rest = {"files": ["a/net.bin"], "repository": "repo/name", "revision": COMMIT, **values}
    return Entry.model_validate({**base, **rest})


def test_a_file_is_fetched_verified_and_recorded(server: FakeServer, tmp_path: Path) -> None:
    """After a fetch the file is there, its SHA-256 recorded, and progress was told to the end."""
    heard: list[tuple[str, int, int | None]] = []
    entry = file_entry(server, md5={"net.bin": hashlib.md5(BODY).hexdigest()})
    Fetcher(tmp_path, lambda *event: heard.append(event)).fetch(entry)

    assert (tmp_path / "net" / "net.bin").read_bytes() == BODY
    assert read_sums(tmp_path / "net" / SUMS_NAME) == {"net.bin": hashlib.sha256(BODY).hexdigest()}
    assert heard[-1] == ("net.bin", len(BODY), len(BODY))
    assert WeightStore(tmp_path, "x", {"net": entry}).find("net/net.bin").is_file()


def test_a_whole_file_is_not_fetched_again(server: FakeServer, tmp_path: Path) -> None:
    """A second fetch asks the server for nothing."""
    entry = file_entry(server)
    Fetcher(tmp_path).fetch(entry)
    server.asked.clear()
    Fetcher(tmp_path).fetch(entry)

    assert server.asked == []


def test_a_broken_download_is_continued(server: FakeServer, tmp_path: Path) -> None:
    """When the connection breaks the next try asks for the rest only."""
    server.cut = 700_000
    Fetcher(tmp_path).fetch(file_entry(server))

    assert (tmp_path / "net" / "net.bin").read_bytes() == BODY
    assert [wanted for _, _, wanted in server.asked] == [None, "bytes=700000-"]


def test_a_download_is_continued_in_a_later_run(server: FakeServer, tmp_path: Path) -> None:
    """What an interrupted run left beside the file is the start of the next one."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.bin.part").write_bytes(BODY[:1000])
    Fetcher(tmp_path).fetch(file_entry(server))

    assert (tmp_path / "net" / "net.bin").read_bytes() == BODY
    assert server.asked[0][2] == "bytes=1000-"


def test_a_damaged_file_is_fetched_again(server: FakeServer, tmp_path: Path) -> None:
    """Fetching mends what verification finds damaged."""
    entry = file_entry(server)
    Fetcher(tmp_path).fetch(entry)
    (tmp_path / "net" / "net.bin").write_bytes(b"rot")
    Fetcher(tmp_path).fetch(entry)

    assert (tmp_path / "net" / "net.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "sums", [{"sha256": {"net.bin": "0" * 64}}, {"md5": {"net.bin": "0" * 32}}]
)
def test_a_file_that_is_not_the_manifests_is_refused(
    server: FakeServer, tmp_path: Path, sums: dict[str, object]
) -> None:
    """A wrong checksum leaves no file and no record behind."""
    with pytest.raises(WeightsError, match="not the manifest's"):
        Fetcher(tmp_path).fetch(file_entry(server, **sums))

    assert not (tmp_path / "net" / "net.bin").exists()
    assert read_sums(tmp_path / "net" / SUMS_NAME) == {}


def test_an_unpinned_file_may_not_change_later(server: FakeServer, tmp_path: Path) -> None:
    """What was recorded on first use is what must come later too."""
    entry = file_entry(server)
    Fetcher(tmp_path).fetch(entry)
    (tmp_path / "net" / "net.bin").unlink()
    server.files["/net.bin"] = BODY[::-1]
    with pytest.raises(WeightsError, match=f"not the file first fetched.*{SUMS_NAME}"):
        Fetcher(tmp_path).fetch(entry)

    assert not (tmp_path / "net" / "net.bin").exists()


def test_an_error_of_the_server_is_told(server: FakeServer, tmp_path: Path) -> None:
    """A status that is no success, and a server that is not there, are each one clear error."""
    with pytest.raises(WeightsError, match="404"):
        Fetcher(tmp_path).fetch(file_entry(server, url=f"{server.url}/no"))
    with pytest.raises(WeightsError, match="cannot be fetched"):
        Fetcher(tmp_path).fetch(file_entry(server, url="http://127.0.0.1:9/net.bin"))


def test_a_full_disk_is_seen_beforehand(server: FakeServer, tmp_path: Path) -> None:
    """A download that cannot fit does not begin."""
    with pytest.raises(OutputError, match="make room"):
        Fetcher(tmp_path).fetch(file_entry(server, bytes=10**18))

    assert server.asked == []


def test_an_unwritable_place_is_told(server: FakeServer, tmp_path: Path) -> None:
    """A file in the place of the folder is one clear error."""
    (tmp_path / "net").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        Fetcher(tmp_path).fetch(file_entry(server))


def test_a_repository_is_fetched_at_its_revision(server: FakeServer, tmp_path: Path) -> None:
    """Of the hub's files those that the entry includes are fetched, verified and recorded."""
    server.add("a/net.bin", BODY, COMMIT)
    server.add("single-file-copy.bin", BODY, COMMIT)
    root = Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(hub_entry(include=["a/*"]))

    assert (root / "a" / "net.bin").read_bytes() == BODY
    assert list(read_sums(root / SUMS_NAME)) == ["a/net.bin"]
    assert not (root / "single-file-copy.bin").exists()


def test_a_fetch_leaves_stamps_for_the_hubs_files(server: FakeServer, tmp_path: Path) -> None:
    """A start after the fetch reads no file whole, also where it could not write stamps itself."""
    server.add("a/net.bin", BODY, COMMIT)
    path = Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(hub_entry()) / "a" / "net.bin"
    found = path.stat()

    digest = hashlib.sha256(BODY).hexdigest()
    assert read_stamps(tmp_path / "net") == {
        "a/net.bin": (found.st_size, found.st_mtime_ns, digest)
    }


@pytest.mark.parametrize("published", ["a/net.bin", "a/old.bin"])
def test_the_first_alternative_that_is_published_is_fetched(
    server: FakeServer, tmp_path: Path, published: str
) -> None:
    """Of ``one_of`` one file is wanted; a start then asks for that one alone."""
    server.add("config.json", b"{}", COMMIT)
    server.add(published, BODY, COMMIT)
    server.add("a/old.bin" if published == "a/net.bin" else "other.bin", BODY, COMMIT)
    include = ["config.json", "a/*"]
    entry = hub_entry(files=["config.json"], include=include, one_of=["a/net.bin", "a/old.bin"])
    root = Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(entry)

    assert sorted(read_sums(root / SUMS_NAME)) == [published, "config.json"]
    assert [file.name for file in (root / "a").iterdir()] == [Path(published).name]
    store = WeightStore(tmp_path, "x", {"net": entry})
    assert store.find("net") == root
    (root / published).unlink()
    with pytest.raises(WeightsError, match=r"missing"):
        store.find("net")


def test_a_repository_without_any_alternative_is_refused(
    server: FakeServer, tmp_path: Path
) -> None:
    """The error names all of them."""
    server.add("config.json", b"{}", COMMIT)
    entry = hub_entry(files=["config.json"], one_of=["a/net.bin", "a/old.bin"])
    with pytest.raises(WeightsError, match=r"has no a/net\.bin or a/old\.bin"):
        Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(entry)


def test_a_damaged_hub_file_is_fetched_again(server: FakeServer, tmp_path: Path) -> None:
    """The hub's client does not keep a damaged file because it once fetched it whole."""
    server.add("a/net.bin", BODY, COMMIT)
    fetcher = Fetcher(tmp_path, endpoint=server.url, quiet=True)
    path = fetcher.fetch(hub_entry()) / "a" / "net.bin"
    path.write_bytes(b"rot")
    fetcher.fetch(hub_entry())

    assert path.read_bytes() == BODY


def test_an_unpinned_repository_may_not_change_later(server: FakeServer, tmp_path: Path) -> None:
    """Without a revision the record of the first fetch is the pin."""
    server.add("a/net.bin", BODY, "main")
    fetcher = Fetcher(tmp_path, endpoint=server.url, quiet=True)
    fetcher.fetch(hub_entry(revision="unpinned"))
    server.tree.clear()
    server.add("a/net.bin", BODY[::-1], "main")
    with pytest.raises(WeightsError, match="not the file first fetched"):
        fetcher.fetch(hub_entry(revision="unpinned"))


def test_a_gated_repository_says_what_it_needs(server: FakeServer, tmp_path: Path) -> None:
    """The error names the page with the terms and how to log in."""
    server.gated = True
    with pytest.raises(WeightsError, match=r"gated.*huggingface\.co/repo/name.*HF_TOKEN"):
        Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(hub_entry(gated=True))


def test_a_repository_without_a_wanted_file_is_refused(server: FakeServer, tmp_path: Path) -> None:
    """A file that the program needs and the repository lacks is named."""
    server.add("b.bin", BODY, COMMIT)
    with pytest.raises(WeightsError, match=r"a/net\.bin"):
        Fetcher(tmp_path, endpoint=server.url, quiet=True).fetch(hub_entry())


def test_embedded_weights_are_looked_at_and_not_fetched(tmp_path: Path) -> None:
    """An entry inside the package is verified where it is; nothing is written."""
    entry = Entry(
        name="m", source="package", licence="x", commercial="y", files=("errors.py",), folder=""
    )
    lacking = entry.model_copy(update={"files": ("no-such-file",)})

    assert Fetcher(tmp_path).fetch(entry) == entry.root(tmp_path)
    with pytest.raises(WeightsError, match="no-such-file"):
        Fetcher(tmp_path).fetch(lacking)
    assert list(tmp_path.iterdir()) == []
