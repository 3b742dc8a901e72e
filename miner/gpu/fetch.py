"""Getting weight files onto this machine: the one part of the program that downloads anything.

Each file is fetched at the revision that the manifest pins, continued where an earlier try stopped,
and compared with every checksum known: the manifest's, the hub's own, and the one recorded when the
file was first fetched. The record (``SHA256SUMS``) is what later starts verify against, and the
stamps beside it spare them reading files that have not changed since.
"""

from __future__ import annotations

import fnmatch
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from miner.errors import OutputError, WeightsError
from miner.gpu.weights import (
    CHUNK_BYTES,
    SUMS_NAME,
    UNPINNED,
    Entry,
    Stamp,
    Sums,
    hash_file,
    read_sums,
    stamp,
    verify,
    write_stamps,
    write_sums,
)

TIMEOUT_SECONDS = 60.0
TRIES = 4
"""Connections to release files break; each try continues where the one before stopped."""

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there and the bytes in all, if known."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that an entry consists of, and the checksum its publisher gives for it, if any."""

    name: str
    sha256: str | None = None


class Fetcher:
    """Downloads entries of the manifest.

    Args:
        weights_dir: a folder for each entry is made in it.
        on_progress: told of the bytes of plain downloads; the hub's client shows its own bars.
        endpoint: the hub's address; its client's own default when not given.
        quiet: no progress bars of the hub's client.
    """

    def __init__(
        self,
        weights_dir: Path,
        on_progress: ProgressCallback | None = None,
        endpoint: str | None = None,
        quiet: bool = False,
    ) -> None:
        self._weights_dir = weights_dir
        self._on_progress = on_progress or (lambda *_: None)
        self._hub = huggingface_hub.HfApi(endpoint=endpoint)
        if quiet:
            disable_progress_bars()

    def fetch(self, entry: Entry) -> Path:
        """The entry's folder, with every file there, whole and recorded.

        Files that are there and match are left alone; damaged ones are fetched again.

        Raises:
            WeightsError: gated, not reachable, or not the file it should be; the text says which.
            OutputError: no room, or the folder cannot be written.
        """
        root = entry.root(self._weights_dir)
        if entry.source == "package":
            verify(entry, root, PurePosixPath(), entry.name)
            return root
        with _disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            recorded = read_sums(root / SUMS_NAME)
            remote = self._list(entry)
            self._check_room(entry, root, remote)
            stamps: dict[str, Stamp] = {}
            for file in remote:
                stamps[file.name] = self._obtain(entry, root, file, recorded)
                recorded[file.name] = stamps[file.name][2]
                write_sums(root / SUMS_NAME, recorded)
            write_stamps(root, stamps)
        return root

    def _list(self, entry: Entry) -> list[RemoteFile]:
        if entry.source == "url":
            return [RemoteFile(name) for name in entry.files]
        with _hub_errors(entry):
            tree = self._hub.list_repo_tree(
                entry.repository, recursive=True, revision=_revision(entry)
            )
            found = [item for item in tree if isinstance(item, huggingface_hub.hf_api.RepoFile)]
        files = [
            RemoteFile(item.path, item.lfs.sha256 if item.lfs else None)
            for item in found
            if not entry.include or any(fnmatch.fnmatch(item.path, p) for p in entry.include)
        ]
        published = {file.name for file in files}
        lacking = sorted(set(entry.files) - published)
        chosen = next((name for name in entry.one_of if name in published), None)
        if entry.one_of and chosen is None:
            lacking.append(" or ".join(entry.one_of))
        if lacking:
            raise WeightsError(f"{entry.name}: {entry.repository} has no {', '.join(lacking)}")
        others = set(entry.one_of) - {chosen}
        return [file for file in files if file.name not in others]

    def _check_room(self, entry: Entry, root: Path, remote: list[RemoteFile]) -> None:
        have = sum((root / f.name).stat().st_size for f in remote if (root / f.name).is_file())
        wanted, free = entry.bytes - have, shutil.disk_usage(root).free
        if wanted > free:
            raise OutputError(
                f"{root}: {entry.name} needs about {wanted / 1e9:.1f} GB more and "
                f"{free / 1e9:.1f} GB are free; make room or set MINER_WEIGHTS"
            )

    def _obtain(self, entry: Entry, root: Path, file: RemoteFile, recorded: Sums) -> Stamp:
        """Makes the file be there; returns its stamp."""
        path = root / file.name
        known = [entry.sha256.get(file.name), recorded.get(file.name), file.sha256]
        if path.is_file():
            found = stamp(path)
            if any(known) and all(k in (None, found[2]) for k in known):
                return found
            path.unlink()  # damaged, or of no known origin
        if entry.source == "hub":
            self._download_from_hub(entry, root, file.name)
        else:
            self._download(entry.url, path)
        return self._accept(entry, path, file, recorded)

    def _accept(self, entry: Entry, path: Path, file: RemoteFile, recorded: Sums) -> Stamp:
        """The stamp of a new file, which is deleted if it is not the one it should be."""
        found = stamp(path)
        digest = found[2]
        problem = ""
        if entry.md5.get(file.name) not in (None, hash_file(path, "md5")):
            problem = "its MD5 is not the manifest's"
        elif entry.sha256.get(file.name) not in (None, digest):
            problem = "its SHA-256 is not the manifest's"
        elif file.sha256 not in (None, digest):
            problem = "its SHA-256 is not the one the hub gives: try again"
        elif recorded.get(file.name) not in (None, digest):
            problem = (
                "it is not the file first fetched; if you trust the change, "
                f"delete {path.parent / SUMS_NAME} and fetch again"
            )
        if problem:
            path.unlink()
            raise WeightsError(f"{entry.name}: {file.name}: refused, {problem}")
        return found

    def _download_from_hub(self, entry: Entry, root: Path, name: str) -> None:
        with _hub_errors(entry):
            self._hub.hf_hub_download(
                entry.repository, name, revision=_revision(entry), local_dir=root
            )

    def _download(self, url: str, path: Path) -> None:
        """Fetches ``url`` by way of a file beside ``path``, which a later try continues."""
        partial = path.with_name(path.name + ".part")
        for attempt in range(TRIES):
            try:
                self._continue(url, partial, path.name)
                break
            except urllib.error.HTTPError as error:
                raise WeightsError(f"{url}: the server says {error.code} {error.reason}") from error
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
                if attempt == TRIES - 1:
                    raise WeightsError(f"{url}: cannot be fetched: {error}") from error
        partial.replace(path)

    def _continue(self, url: str, partial: Path, name: str) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - from the manifest
        try:
            reply = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310 - likewise
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing lies beyond: the part is whole, or too long
                return
            raise
        with reply:
            resumed = reply.status == 206
            done = have if resumed else 0
            length = reply.headers.get("Content-Length")
            total = done + int(length) if length else None
            with partial.open("ab" if resumed else "wb") as file:
                while piece := reply.read(CHUNK_BYTES):
                    file.write(piece)
                    done += len(piece)
                    self._on_progress(name, done, total)
        if total is not None and done < total:
            raise http.client.IncompleteRead(b"", total - done)


def _revision(entry: Entry) -> str:
    return "main" if entry.revision == UNPINNED else entry.revision


@contextmanager
def _hub_errors(entry: Entry) -> Iterator[None]:
    """What the hub's client raises, as one line that says what to do."""
    page = f"https://huggingface.co/{entry.repository}"
    try:
        yield
    except (GatedRepoError, RepositoryNotFoundError) as error:
        # Without an account's token the hub answers 401 for gated and for missing ones alike.
        raise WeightsError(
            f"{entry.name}: {entry.repository} is gated: accept its terms at {page}, make an "
            "access token there, run `hf auth login` (or set HF_TOKEN), then fetch again"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{entry.name}: the hub refuses {entry.repository}: {reason}") from error
    except (WeightsError, OutputError):
        raise
    except Exception as error:  # the client lets through whatever its transport raises
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{entry.name}: the hub cannot be reached: {reason}") from error


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{root}: cannot be written: {error.strerror or error}") from error
