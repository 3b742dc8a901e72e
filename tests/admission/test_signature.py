"""Hotkeys: their files, their signatures, and that no secret is shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import bittensor_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.admission.signature import (
    is_address,
    load_hotkey,
    new_hotkey,
    verify,
    write_hotkey,
)
from miner.errors import ConfigError
from tests.admission.fakes import MINER, VALIDATOR

SEED = bytes(range(32))
MESSAGE = b"1.two.three"
SIGNATURE = VALIDATOR.sign(MESSAGE)


def test_a_signature_holds_for_its_own_hotkey_and_message_only() -> None:
    """A signature is good under the message and the key it was made with, as bytes and as text."""
    hotkey = VALIDATOR.ss58_address

    assert verify(hotkey, MESSAGE, SIGNATURE)
    assert verify(hotkey, MESSAGE, "0x" + SIGNATURE.hex())
    assert not verify(hotkey, MESSAGE + b" ", SIGNATURE)
    assert not verify(MINER.ss58_address, MESSAGE, SIGNATURE)


@pytest.mark.parametrize(
    "signature",
    [
        *("", "0x", SIGNATURE.hex(), "0X" + SIGNATURE.hex(), "0x" + SIGNATURE.hex()[:-2]),
        *("0x" + "g" * 128, "0x" + " " * 128, "0x" + "ü" * 128, "0x" + "00" * 64),
        *(b"", b"1" * 63, SIGNATURE + b"1", SIGNATURE[::-1]),
    ],
    ids=range(13),  # a signature is another in every process, and no name for a test
)
def test_other_spellings_of_a_signature_do_not_hold(signature: str | bytes) -> None:
    """A signature that is cut, spelled otherwise or no hex at all is just not one."""
    assert not verify(VALIDATOR.ss58_address, MESSAGE, signature)


@given(
    hotkey=st.one_of(
        st.text(max_size=60),
        st.text(min_size=48, max_size=48),
        st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdef", min_size=48, max_size=48),
        st.just(VALIDATOR.ss58_address),
    ),
    message=st.binary(max_size=100),
    signature=st.one_of(
        st.binary(max_size=70),
        st.binary(min_size=64, max_size=64),
        st.text(max_size=140),
        st.text("0123456789abcdef", min_size=128, max_size=128).map("0x".__add__),
    ),
)
def test_garbage_is_not_verified_and_raises_nothing(
    hotkey: str, message: bytes, signature: str | bytes
) -> None:
    """Whatever is given as hotkey, message and signature, the answer is a plain no."""
    assert verify(hotkey, message, signature) is False


@given(st.text(max_size=60) | st.text(min_size=48, max_size=48))
def test_garbage_is_no_address(text: str) -> None:
    """Only what decodes, and encodes again to the same text, is an address."""
    assert is_address(text) is False


def test_an_address_has_one_spelling() -> None:
    """The same key with the prefix of another network is not an address here."""
    raw = bittensor_core.ss58_decode(VALIDATOR.ss58_address)

    assert is_address(VALIDATOR.ss58_address)
    assert not is_address(bittensor_core.ss58_encode(raw, 0))
    assert not is_address("0x" + raw.hex() if isinstance(raw, bytes) else str(raw))


def test_a_written_hotkey_is_read_back(tmp_path: Path) -> None:
    """What is written can be read, signs as the same hotkey, and only its owner may read it."""
    path = tmp_path / "wallets" / "hotkey"
    written = write_hotkey(path, SEED)
    read = load_hotkey(path)

    assert read.ss58_address == written.ss58_address == new_hotkey(SEED).ss58_address
    assert verify(written.ss58_address, MESSAGE, read.sign(MESSAGE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_suits_older_wallets(tmp_path: Path) -> None:
    """The file has the standard fields and not the number on which older wallets fail."""
    write_hotkey(tmp_path / "hotkey", SEED)
    fields = json.loads((tmp_path / "hotkey").read_text())

    assert fields["secretSeed"] == "0x" + SEED.hex()
    assert fields["ss58Address"] == new_hotkey(SEED).ss58_address
    assert {"accountId", "publicKey"} <= set(fields)
    assert "cryptoType" not in fields


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Writing where a key lies is refused and leaves it alone."""
    path = tmp_path / "hotkey"
    first = write_hotkey(path)
    with pytest.raises(ConfigError, match="File exists"):
        write_hotkey(path)

    assert load_hotkey(path).ss58_address == first.ss58_address


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "holds no key"),
        (b'{"secretSeed": ""}', "holds no key"),
        (b'{"secretSeed": "0x11"}', "damaged"),
        (b'{"secretSeed": 5}', "damaged"),
        (b'{"secretPhrase": "abandon hope"}', "damaged"),
        (b'{"ss58Address": "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"}', "public half"),
        (b"$NACL" + b"\x00" * 100, "encrypted"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n3332", "encrypted"),
        (b"{" + b" " * 70_000 + b"}", "too large"),
    ],
)
def test_a_wrong_key_file_is_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    """A file that is not a plain key file gives one line that names it and the fault."""
    path = tmp_path / "hotkey"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_hotkey(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_file_is_a_fault_of_configuration(tmp_path: Path) -> None:
    """Neither a missing file nor a folder in its place gives a foreign error."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_hotkey(path)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither a key's text nor the error about a damaged one holds any of the secret."""
    path = tmp_path / "hotkey"
    key = write_hotkey(path, SEED)
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({"secretPhrase": "correct horse battery staple"}))
    with pytest.raises(ConfigError) as caught:
        load_hotkey(path)

    assert SEED.hex() not in repr(key) + str(key) + str(vars(key))
    assert fields["privateKey"] not in repr(vars(key))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "horse" not in str(caught.value)


def test_random_keys_differ() -> None:
    """Two keys made without a seed are two keys."""
    assert new_hotkey().ss58_address != new_hotkey().ss58_address
