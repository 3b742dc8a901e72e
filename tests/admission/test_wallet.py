"""Which hotkey is ours, what opens it, and that nothing else of a wallet is read."""

from __future__ import annotations

import stat
from functools import cache
from pathlib import Path

import bittensor_core
import pytest

from miner.admission.signature import load_hotkey, verify, write_hotkey
from miner.admission.wallet import (
    CREDENTIAL,
    PASSWORD_CREDENTIAL,
    Surroundings,
    hotkey_path,
    new_hotkey_file,
    open_hotkey,
)
from miner.cli import main
from miner.errors import ConfigError
from miner.settings import credentials_folder, hotkey_password, load_settings, worker_environment
from miner.settings.subnet import WalletSettings

PASSWORD = "correct horse"
SEED = bytes(range(32))
NOTHING = Surroundings()


def encrypted(path: Path) -> Path:
    """A hotkey as the chain's own tools encrypt it."""
    path.write_bytes(ciphertext())
    return path


@cache
def ciphertext() -> bytes:
    """Made once: a password is meant to take seconds."""
    keypair = bittensor_core.Keypair.create_from_seed(SEED)
    plain = bittensor_core.serialized_keypair_to_keyfile_data(keypair)
    return bytes(bittensor_core.encrypt_keyfile_data(plain, PASSWORD))


def address() -> str:
    return str(bittensor_core.Keypair.create_from_seed(SEED).ss58_address)


def test_a_named_file_beats_the_folder_and_the_folder_a_credential(tmp_path: Path) -> None:
    """The key is looked for at one place only, the first that is named."""
    (tmp_path / CREDENTIAL).write_bytes(b"")
    given = Surroundings(credentials=tmp_path)
    named = WalletSettings(path=tmp_path, name="cold", hotkey="hot")
    filed = named.model_copy(update={"hotkey_file": tmp_path / "own"})

    assert hotkey_path(filed, given) == tmp_path / "own"
    assert hotkey_path(named, given) == tmp_path / "cold" / "hotkeys" / "hot"
    assert hotkey_path(WalletSettings(), given) == tmp_path / CREDENTIAL
    assert hotkey_path(WalletSettings(), NOTHING) is None


def test_a_named_key_that_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    """A credential does not stand in for a file that was named: it would be another miner."""
    write_hotkey(tmp_path / CREDENTIAL)
    named = WalletSettings(path=tmp_path, name="cold")
    with pytest.raises(ConfigError, match="hotkeys/default"):
        open_hotkey(named, Surroundings(credentials=tmp_path))


def test_no_key_at_all_is_said_in_one_line() -> None:
    """Without any name the error lists the ways to give one."""
    with pytest.raises(ConfigError) as caught:
        open_hotkey(WalletSettings(), NOTHING)

    assert all(word in str(caught.value) for word in ("hotkey_file", "wallet.name", "credential"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["file", "credential", "variable"])
def test_a_password_comes_from_a_file_a_credential_or_a_variable(tmp_path: Path, how: str) -> None:
    """Each of the three opens an encrypted hotkey, without anybody being asked."""
    key = encrypted(tmp_path / "key")
    secret = tmp_path / PASSWORD_CREDENTIAL
    secret.write_text(PASSWORD + "\r\nsecond line\n", encoding="utf-8")
    settings = WalletSettings(hotkey_file=key, password_file=secret if how == "file" else None)
    given = {
        "file": NOTHING,
        "credential": Surroundings(credentials=tmp_path),
        "variable": Surroundings(password=PASSWORD),
    }[how]

    signer = open_hotkey(settings, given)

    assert signer.ss58_address == address()
    assert verify(address(), b"text", signer.sign(b"text"))


def test_a_password_file_that_is_named_beats_the_variable(tmp_path: Path) -> None:
    """What the settings name is used, and nothing is tried in its place."""
    key, secret = encrypted(tmp_path / "key"), tmp_path / "secret"
    settings = WalletSettings(hotkey_file=key, password_file=secret)
    given = Surroundings(password=PASSWORD)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_hotkey(settings, given)
    secret.write_text("wrong\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="does not open"):
        open_hotkey(settings, given)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "first line is empty"), (b"\n" + PASSWORD.encode(), "empty"), (b"\xff\xfe", "UTF-8")],
)
def test_a_password_file_without_a_password_is_said(
    tmp_path: Path, content: bytes, told: str
) -> None:
    """An empty or undecodable file ends the start with a line of its own."""
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    settings = WalletSettings(hotkey_file=encrypted(tmp_path / "key"), password_file=secret)
    with pytest.raises(ConfigError, match=told):
        open_hotkey(settings, NOTHING)


def test_an_encrypted_key_without_a_password_is_an_error_and_no_question(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The start ends with the ways to give a password; nothing is written to a terminal."""
    with pytest.raises(ConfigError, match="no password is given"):
        load_hotkey(encrypted(tmp_path / "key"))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", ["cut", "turned", "inside"])
def test_errors_quote_neither_key_nor_password(tmp_path: Path, damage: str) -> None:
    """Whatever is wrong with an encrypted file, the line names the file and shows no secret."""
    key = encrypted(tmp_path / "key")
    data = key.read_bytes()
    if damage == "inside":
        inner = b'{"secretPhrase": "squirrel squirrel", "secretSeed": "0xnonsense"}'
        data = bytes(bittensor_core.encrypt_keyfile_data(inner, PASSWORD))
    key.write_bytes({"cut": data[:60], "turned": data[:-1] + b"\0"}.get(damage, data))
    with pytest.raises(ConfigError) as caught:
        load_hotkey(key, PASSWORD)

    texts = [str(caught.value), repr(caught.value.__cause__)]
    assert str(key) in texts[0]
    assert not any(x in text for x in (PASSWORD, "squirrel", "nonsense") for text in texts)


def test_the_password_is_in_no_repr_and_no_setting() -> None:
    """Neither printing what was given nor printing the settings shows the password."""
    environ = {"MINER_HOTKEY_PASSWORD": PASSWORD, "HOME": "/nowhere"}
    settings = load_settings(environ=environ)
    given = Surroundings(password=hotkey_password(environ))

    assert given.password == PASSWORD
    assert PASSWORD not in repr(given)
    assert PASSWORD not in settings.model_dump_json()
    assert PASSWORD not in repr(settings)


def test_workers_are_not_told_what_opens_the_key() -> None:
    """A worker signs nothing: neither the password nor the credentials reach its environment."""
    environ = {
        "MINER_HOTKEY_PASSWORD": PASSWORD,
        "CREDENTIALS_DIRECTORY": "/run/credentials/miner",
        "MINER_PRESET": "mini",
    }
    child = worker_environment(environ=environ)

    assert credentials_folder(environ) == Path("/run/credentials/miner")
    assert PASSWORD not in child.values()
    assert "CREDENTIALS_DIRECTORY" not in child
    assert child["MINER_PRESET"] == "mini"


def test_nothing_but_the_hotkeys_own_file_is_opened(tmp_path: Path) -> None:
    """A coldkey beside it may be anything, even a named pipe that would block its reader."""
    path, signer = new_hotkey_file(tmp_path, "cold", "hot")
    for other in ("coldkey", "coldkeypub.txt"):
        (tmp_path / "cold" / other).mkdir(mode=0o000)

    found = open_hotkey(WalletSettings(path=tmp_path, name="cold", hotkey="hot"), NOTHING)

    assert found.ss58_address == signer.ss58_address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_command_makes_a_key_that_a_daemon_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed address is the new key's; a second call, or a path as a name, makes nothing."""
    assert main(["wallet", "new-hotkey", "demo", "hot", "--path", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    found = open_hotkey(WalletSettings(path=tmp_path, name="demo", hotkey="hot"), NOTHING)
    before = (tmp_path / "demo" / "hotkeys" / "hot").read_bytes()

    assert printed.out == found.ss58_address + "\n"
    assert before.decode() not in printed.out + printed.err
    assert main(["wallet", "new-hotkey", "demo", "hot", "--path", str(tmp_path)]) == 78
    assert (tmp_path / "demo" / "hotkeys" / "hot").read_bytes() == before
    for name in ("..", "a/b", ""):
        assert main(["wallet", "new-hotkey", name, "--path", str(tmp_path)]) == 78


@pytest.mark.parametrize("key", ["name", "hotkey"])
def test_a_name_in_the_settings_is_no_path(key: str) -> None:
    """A wallet's or key's name cannot lead out of the folder of wallets."""
    with pytest.raises(ConfigError, match="is a name, not a path"):
        load_settings(flags={"wallet": {key: "../x"}}, environ={})
