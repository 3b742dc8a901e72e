"""The snapshot of the peers, and the file it can come from."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, cast

import pytest

from miner.admission.peers import (
    Peer,
    PeersSnapshot,
    PeersSource,
    is_endpoint,
    read_static_peers,
)
from miner.errors import ConfigError
from tests.admission.fakes import MINER, VALIDATOR

GOOD = f"""
[[peer]]
hotkey = "{VALIDATOR.ss58_address}"
uid = 7
stake = 5000
validator_permit = true
"""
OTHER = GOOD.replace(VALIDATOR.ss58_address, MINER.ss58_address)


def write(folder: Path, text: str) -> Path:
    path = folder / "peers.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_peers_are_read_from_a_file(tmp_path: Path) -> None:
    """Each entry is a peer under its hotkey, and the snapshot does not age."""
    snapshot = read_static_peers(write(tmp_path, GOOD + OTHER.replace("uid = 7", "uid = 0")))

    assert snapshot.get(VALIDATOR.ss58_address) == Peer(VALIDATOR.ss58_address, 7, 5000.0, True)
    assert len(snapshot.peers) == 2
    assert snapshot.age_seconds(1e9) == 0.0


def test_a_file_without_peers_is_nobody(tmp_path: Path) -> None:
    """An empty file is a subnet without peers, not an error."""
    assert not read_static_peers(write(tmp_path, "")).peers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[peer]", "not a TOML file"),
        ("[peer]\nuid = 1", "two brackets"),
        ("peer = [3]", "peer 1: is not a table"),
        ("netuid = 17", "unknown key 'netuid'"),
        (GOOD.replace("stake = 5000", ""), "peer 1: stake: is missing"),
        (GOOD + "colour = 1", "peer 1: colour: unknown key"),
        (GOOD + GOOD.replace("uid = 7", "uid = 8"), "peer 2: hotkey: .* twice"),
        (GOOD + OTHER, "peer 2: uid: 7 is there twice"),
        (GOOD.replace(VALIDATOR.ss58_address, "5abc"), "peer 1: hotkey: '5abc' is not"),
        (GOOD.replace("uid = 7", "uid = -1"), "peer 1: uid: -1"),
        (GOOD.replace("uid = 7", "uid = true"), "peer 1: uid: True"),
        (GOOD.replace("uid = 7", "uid = 70000"), "peer 1: uid: 70000"),
        (GOOD.replace("5000", "nan"), "peer 1: stake: nan"),
        (GOOD.replace("5000", "-1"), "peer 1: stake: -1"),
        (GOOD.replace("5000", "'much'"), "peer 1: stake: 'much'"),
        (GOOD.replace("true", "1"), "peer 1: validator_permit: 1"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, says: str) -> None:
    """An entry that cannot be used stops the start with its number and key."""
    with pytest.raises(ConfigError, match=says):
        read_static_peers(write(tmp_path, text))


def test_a_missing_or_foreign_file_is_a_fault_of_configuration(tmp_path: Path) -> None:
    """A file that is absent or not text gives our error."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_static_peers(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="not a TOML file"):
        read_static_peers(tmp_path / "binary.toml")


def test_a_snapshot_cannot_be_changed() -> None:
    """Neither the snapshot nor its peers can be written to."""
    snapshot = PeersSnapshot.of(Peer("a", 1, 2.0, True), taken_at=5.0)
    with pytest.raises(TypeError):
        cast(dict[str, Any], snapshot.peers)["b"] = None
    with pytest.raises(FrozenInstanceError):
        snapshot.peers["a"].stake = 3.0  # type: ignore[misc]


def test_a_snapshot_ages() -> None:
    """The age counts from when it was true, and is never negative."""
    snapshot = PeersSnapshot.of(taken_at=5.0)

    assert snapshot.age_seconds(7.5) == 2.5
    assert snapshot.age_seconds(4.0) == 0.0


def test_the_source_gives_the_snapshot_in_use() -> None:
    """After a replacement the new snapshot is given, whole."""
    first, second = PeersSnapshot.of(), PeersSnapshot.of(Peer("a", 1, 2.0, True))
    source = PeersSource(first)
    assert source() is first

    source.replace(second)

    assert source() is second


@pytest.mark.parametrize(
    ("text", "good"),
    [
        *[("8.8.8.8:8091", True), ("127.0.0.1:1", True), ("[::1]:65535", True)],
        *[("8.8.8.8", False), ("8.8.8.8:", False), ("8.8.8.8:0", False), ("8.8.8.8:65536", False)],
        *[("host:80", False), ("::1:80", False), ("[8.8.8.8]:80", False), ("8.8.8.8:+1", False)],
        *[("", False), (":80", False), ("[::1]:٣", False), ("8.8.8.8:000001", False)],
    ],
)
def test_an_endpoint_is_an_address_with_a_port(text: str, good: bool) -> None:
    """An IP address and a port from 1 up, IPv6 in brackets; names are not looked up."""
    assert is_endpoint(text) is good


def test_a_static_peer_may_serve_and_own(tmp_path: Path) -> None:
    """The file may say where a peer serves and that it is the owner's; nonsense is named."""
    path = tmp_path / "peers.toml"
    entry = f'[[peer]]\nhotkey = "{VALIDATOR.ss58_address}"\nuid = 1\nstake = 2\n'
    entry += "validator_permit = true\n"
    path.write_text(entry + 'axon = "127.0.0.1:80"\nowner = true\n', encoding="utf-8")
    peer = read_static_peers(path).get(VALIDATOR.ss58_address)
    assert peer is not None
    assert (peer.axon, peer.owner) == ("127.0.0.1:80", True)
    for wrong, key in (('axon = "here"', "axon"), ("axon = 5", "axon"), ("owner = 1", "owner")):
        path.write_text(entry + wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match=key):
            read_static_peers(path)
