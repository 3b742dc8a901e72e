"""Whether weight files are there and whole, and what is said when they are not."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from miner.errors import ConfigError, WeightsError
from miner.gpu.weights import (
    STAMPS_NAME,
    SUMS_NAME,
    Entry,
    WeightStore,
    hash_file,
    load_manifest,
    read_sums,
    write_sums,
)
from miner.settings import PACKAGE_DIR, load_settings, preset_names


def entry(**values: object) -> Entry:
    """A manifest entry of one file."""
    base = {"name": "net", "source": "url", "licence": "MIT", "commercial": "yes"}
    return Entry.model_validate({**base, "files": ["a/net.bin"], **values})


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    """A store that holds the entry, whole, with its checksum recorded."""
    file = tmp_path / "net" / "a" / "net.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    write_sums(tmp_path / "net" / SUMS_NAME, {"a/net.bin": hash_file(file)})
    return WeightStore(tmp_path, "big", {"net": entry()})


def test_the_manifest_knows_what_every_preset_refers_to() -> None:
    """Each shipped preset names entries of the manifest, and each entry says its licence."""
    manifest = load_manifest()
    for name in preset_names():
        settings = load_settings(name, environ={})
        sections = settings.preset
        for section in (sections.text_to_image, sections.background, sections.reconstruct):
            assert WeightStore(settings.weights, name, manifest).entry(section.weights)
    assert all(e.licence and e.commercial and e.files for e in manifest.values())
    assert manifest["flux-schnell"].gated


def test_an_unknown_key_in_the_manifest_is_named(tmp_path: Path) -> None:
    """A mistyped key is an error that names the entry and the key."""
    path = tmp_path / "models.toml"
    path.write_text("[net]\nsource='url'\nlicense='MIT'\n")
    with pytest.raises(ConfigError, match=r"\[net\].*license"):
        load_manifest(path)


def test_whole_files_are_found(store: WeightStore, tmp_path: Path) -> None:
    """A reference to an entry, to a folder in it or to a file in it gives the path."""
    assert store.find("net") == tmp_path / "net"
    assert store.find("net/a") == tmp_path / "net" / "a"
    assert store.find("net/a/net.bin").read_bytes() == b"weights"


def test_a_missing_file_is_named_with_its_mend(store: WeightStore, tmp_path: Path) -> None:
    """The error names the file and the command that fetches it."""
    (tmp_path / "net" / "a" / "net.bin").unlink()
    with pytest.raises(WeightsError, match=r"net\.bin.*missing.*miner fetch --preset big"):
        store.find("net")


def test_a_damaged_file_is_named_with_its_mend(store: WeightStore, tmp_path: Path) -> None:
    """One changed byte is noticed, also after the file was found whole before."""
    store.find("net")
    (tmp_path / "net" / "a" / "net.bin").write_bytes(b"weight\0")
    with pytest.raises(WeightsError, match=r"net\.bin.*damaged.*miner fetch --preset big"):
        store.find("net")


def test_a_file_is_hashed_once(store: WeightStore, tmp_path: Path) -> None:
    """What was verified is known by size and time of change; a touched file is read again."""
    store.find("net")
    stamps = (tmp_path / "net" / STAMPS_NAME).read_text()
    store.find("net")

    assert (tmp_path / "net" / STAMPS_NAME).read_text() == stamps
    assert "a/net.bin" in stamps


def test_a_file_verified_against_another_sum_is_read_again(
    store: WeightStore, tmp_path: Path
) -> None:
    """A stamp holds for the sum that was found: a new sum of the manifest is compared."""
    store.find("net")
    other = entry(sha256={"a/net.bin": "0" * 64})
    with pytest.raises(WeightsError, match="damaged"):
        WeightStore(tmp_path, "big", {"net": other}).find("net")


def test_a_store_that_cannot_be_written_is_said_once(
    store: WeightStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for all looks says what it costs and which command ends it; the look succeeds."""
    (tmp_path / "net" / STAMPS_NAME).mkdir()  # cannot be written by any user
    store.find("net")
    store.find("net/a")

    (line,) = [record.getMessage() for record in caplog.records]
    assert "miner fetch --preset big" in line
    assert "owner" in line


def test_the_manifest_says_of_each_entry_what_confirms_it() -> None:
    """Every download has a size for the check of free space, and what confirms its source."""
    for one in load_manifest().values():
        if one.source != "package":
            assert one.bytes, one.name
            assert one.confirmed, one.name


def test_no_entry_names_the_repository_that_is_gone() -> None:
    """Stability AI took Stable Diffusion 2.1 away; the entry names a mirror at a commit."""
    found = load_manifest()["sd-2-1-base"]
    assert not found.repository.startswith("stabilityai/")
    assert len(found.revision) == 40


def test_damage_to_files_that_are_not_asked_for_does_not_matter(
    store: WeightStore, tmp_path: Path
) -> None:
    """Only the files at or below the reference are looked at."""
    sums = tmp_path / "net" / SUMS_NAME
    write_sums(sums, {**read_sums(sums), "b/other.bin": "0" * 64})

    assert store.find("net/a").is_dir()
    with pytest.raises(WeightsError, match=r"other\.bin"):
        store.find("net")


def test_an_embedded_file_is_mended_by_installing_again(tmp_path: Path) -> None:
    """Weights inside the package cannot be fetched; the error says what to do instead."""
    embedded = entry(source="package", folder="no/such/folder")
    with pytest.raises(WeightsError, match="pip install"):
        WeightStore(tmp_path, "mini", {"net": embedded}).find("net")
    assert embedded.root(tmp_path) == PACKAGE_DIR / "no/such/folder"


@pytest.mark.parametrize("reference", ["", "nothing", "../net", "net/../../x"])
def test_other_references_are_refused(store: WeightStore, reference: str) -> None:
    """A reference is an entry or an absolute path, nothing else."""
    with pytest.raises(ConfigError, match="neither"):
        store.find(reference)


def test_an_absolute_path_is_taken_as_it_is(store: WeightStore, tmp_path: Path) -> None:
    """A folder outside the store is used unverified; one that is not there is an error."""
    assert store.find(str(tmp_path)) == tmp_path
    with pytest.raises(WeightsError, match="nothing"):
        store.find(str(tmp_path / "no"))


def test_what_loaders_raise_becomes_a_weights_error(store: WeightStore) -> None:
    """Any exception of a library that reads weights names the weights and the mend."""
    told = r"net: cannot be read: odd header; run: miner fetch"
    with pytest.raises(WeightsError, match=told), store.reading("net"):
        raise ValueError("odd header\nand more")
    with pytest.raises(MemoryError), store.reading("net"):
        raise MemoryError


def test_sums_are_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    """The record can be checked with the ordinary command, and is read back."""
    (tmp_path / "x").write_bytes(b"1")
    digest = hashlib.sha256(b"1").hexdigest()
    write_sums(tmp_path / SUMS_NAME, {"x": digest})
    subprocess.run(["sha256sum", "-c", SUMS_NAME], cwd=tmp_path, capture_output=True, check=True)

    assert read_sums(tmp_path / SUMS_NAME) == {"x": digest}


@pytest.mark.parametrize("text", ["rubbish", "0" * 64 + "  ../x", "\0"])
def test_a_damaged_record_is_an_error(tmp_path: Path, text: str) -> None:
    """A record that is no list of sums, or leads out of its folder, is refused."""
    (tmp_path / SUMS_NAME).write_text(text)
    with pytest.raises(WeightsError, match=SUMS_NAME):
        read_sums(tmp_path / SUMS_NAME)
