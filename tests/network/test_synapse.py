"""The codec: what is written is read again, rubbish is refused by name, hashes are right."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from miner.errors import MalformedRequest
from miner.job import MAX_SEED
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import (
    AXON,
    DENDRITE,
    EMPTY_HASH,
    LONG_CHARACTERS,
    MAX_MESSAGE,
    Synapse,
    TerminalInfo,
    header_text,
    merge_terminal,
    read_claim,
    read_terminal,
    request_headers,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
NUMBERS = st.integers(0, 2**63 - 1)

TERMINALS = st.builds(
    TerminalInfo,
    status_code=st.none() | st.integers(100, 599),
    status_message=st.none() | ASCII,
    process_time=st.none() | st.floats(0, 1e6),
    ip=st.none() | ASCII,
    port=st.none() | st.integers(0, 65535),
    version=st.none() | NUMBERS,
    nonce=st.none() | NUMBERS,
    uuid=st.none() | ASCII,
    hotkey=st.none() | ASCII,
    signature=st.none() | ASCII,
)

GENERATES = st.builds(
    Generate3D,
    timeout=st.none() | st.floats(0, 1e4),
    dendrite=TERMINALS,
    axon=TERMINALS,
    prompt=st.none() | TEXTS,
    image=st.none() | ASCII,
    seed=st.integers(0, MAX_SEED),
    format=st.sampled_from(["ply", "spz"]),
    results=st.none() | ASCII,
    timings=st.none() | st.dictionaries(TEXTS, st.floats(0, 1e4)),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(GENERATES)
def test_a_body_is_read_as_it_was_written(synapse: Generate3D) -> None:
    """Decoding an encoded synapse gives an equal one, with an equal hash."""
    again = Generate3D.decode(synapse.encode())

    assert again == synapse
    assert again.body_hash == synapse.body_hash


@given(GENERATES)
def test_bodies_are_plain_json(synapse: Generate3D) -> None:
    """Any JSON reader reads our bodies, and what another JSON writer makes of it we read too."""
    document = json.loads(synapse.encode())

    assert document["name"] == "Generate3D"
    assert Generate3D.decode(json.dumps(document).encode()) == synapse


@pytest.mark.parametrize("odd", ["", '"', "\\", "\n", "\0", "\x7f", "\x1f", "ü", "\U0001f600", " "])
def test_long_texts_are_written_as_well_as_short_ones(odd: str) -> None:
    """Texts of any length give JSON that reads as they were, whatever stands within them."""
    text = "QUJD" * LONG_CHARACTERS + odd + "QUJD"
    synapse = Generate3D(prompt=odd, image=text, results=text, timings={odd: 1.0})
    document = json.loads(synapse.encode())

    assert document == synapse.model_dump()
    assert Generate3D.decode(synapse.encode()) == synapse


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"prompt": "\\ud800"}')
@example(b'{"timeout": NaN}')
@example(b'{"timeout": 1e999}')
@example(b'{"seed": ' + b"9" * 10_000 + b"}")
@example(b'{"dendrite": null}')
def test_rubbish_is_malformed_and_nothing_else(body: bytes) -> None:
    """Whatever a body holds, it is decoded or refused as malformed, in one printable line."""
    try:
        synapse = Generate3D.decode(body)
    except MalformedRequest as error:
        assert str(error).isprintable()
        assert len(str(error)) <= MAX_MESSAGE
    else:
        assert synapse.body_hash
        assert synapse.encode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": 5}, "prompt"),
        ({"seed": "7"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"format": "glb"}, "format"),
        ({"dendrite": []}, "dendrite"),
        ({"dendrite": {"nonce": "x"}}, "dendrite.nonce"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_a_wrong_type_is_named(body: dict[str, object], field: str) -> None:
    """The refusal of a wrong type names the field and does not repeat its value."""
    with pytest.raises(MalformedRequest, match=f"body: {field}: "):
        Generate3D.decode(json.dumps(body).encode())


def test_required_fields_are_required() -> None:
    """A task without its prompt is refused."""
    with pytest.raises(MalformedRequest, match="prompt"):
        TGTask.decode(b'{"task_id": "a"}')


def test_unknown_fields_are_ignored() -> None:
    """A peer with more fields than we know is understood; absent optional ones have defaults."""
    synapse = Generate3D.decode(b'{"prompt": "x", "mood": "good", "name": "Other"}')

    assert (synapse.prompt, synapse.seed, synapse.format) == ("x", 0, "spz")
    assert synapse.name == "Generate3D"
    assert synapse.timeout == 12.0


def sha3(text: str) -> str:
    return hashlib.sha3_256(text.encode()).hexdigest()


@given(st.none() | TEXTS, st.integers(0, MAX_SEED))
def test_the_hash_covers_the_hash_fields_in_order(prompt: str | None, seed: int) -> None:
    """The body hash is that of the joined hashes of the fields' texts, None being a text."""
    synapse = Generate3D(prompt=prompt, seed=seed)

    assert synapse.body_hash == sha3(sha3(str(prompt)) + sha3("None") + sha3(str(seed)))


def test_the_hash_of_no_fields_is_the_known_one() -> None:
    """A synapse without hash fields has the hash of nothing that all peers know."""
    known = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"

    assert TGPoll(task_id="a").body_hash == EMPTY_HASH == known


@given(TERMINALS, st.sampled_from([AXON, DENDRITE]))
def test_a_terminal_travels_in_headers(terminal: TerminalInfo, prefix: str) -> None:
    """Headers made of a terminal give that terminal again, whatever their case."""
    headers = CIMultiDict({k.upper(): v for k, v in terminal.headers(prefix).items()})
    if terminal.hotkey == "None" or terminal.uuid == "None":
        return

    read = read_terminal(headers, prefix)
    expected = {k: v for k, v in terminal if v is not None and v != "None"}
    assert {k: v for k, v in read if v is not None} == pytest.approx(expected)


def test_merging_keeps_what_is_not_said() -> None:
    """What headers say of a terminal goes over what was known; the rest stays."""
    terminal = TerminalInfo(status_code=100, ip="1.2.3.4")
    merge_terminal(terminal, TerminalInfo(status_code=200))

    assert (terminal.status_code, terminal.ip) == (200, "1.2.3.4")


def test_a_request_says_what_it_claims() -> None:
    """The headers of a request are read as the claim that was written."""
    task = TGTask(prompt="a", task_id="b", timeout=7.5)
    task.dendrite = TerminalInfo(hotkey="H", nonce=5, uuid="u", signature="0xab", version=9)
    task.axon.hotkey = "R"
    claim = read_claim(CIMultiDict(request_headers(task)), "10.0.0.1")

    assert (claim.hotkey, claim.nonce, claim.uuid, claim.signature) == ("H", 5, "u", "0xab")
    assert (claim.receiver, claim.version, claim.address) == ("R", 9, "10.0.0.1")
    assert (claim.timeout_seconds, claim.body_hash) == (7.5, EMPTY_HASH)


def test_required_fields_travel_as_empty_values() -> None:
    """Each required field has its header with the empty value of its type, and no other has."""
    headers = request_headers(TGTask(prompt="a", task_id="b"))
    inputs = {k: v for k, v in headers.items() if "input_obj" in k}

    assert inputs == {
        "bt_header_input_obj_prompt": "IiI=",
        "bt_header_input_obj_task_id": "IiI=",
    }
    assert not any("input_obj" in name for name in request_headers(Generate3D(prompt="a")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (DENDRITE + "nonce", "12.5"),
        (DENDRITE + "nonce", "1_000"),
        (DENDRITE + "nonce", "-1"),
        (DENDRITE + "nonce", "٣"),
        (DENDRITE + "nonce", "1" * 5000),
        (DENDRITE + "version", "new"),
        (DENDRITE + "hotkey", "5é"),
        (DENDRITE + "uuid", "\udc80"),
        ("timeout", "soon"),
        ("timeout", "nan"),
        ("timeout", "inf"),
        ("timeout", "-1"),
    ],
)
def test_a_claim_with_a_wrong_value_is_malformed(name: str, value: str) -> None:
    """Numbers that are none and text that is not ASCII are refused before anything is signed."""
    with pytest.raises(MalformedRequest):
        read_claim({name: value}, "")


def test_an_empty_claim_is_a_claim() -> None:
    """Absent headers are absent, not wrong: admission says what is missing; "None" is absent."""
    claim = read_claim({"timeout": "None", DENDRITE + "nonce": "None"}, "")

    assert (claim.hotkey, claim.nonce, claim.timeout_seconds) == (None, None, None)


@given(st.text(st.characters()))
def test_header_texts_are_fit_for_headers(text: str) -> None:
    """A header's text is printable ASCII of bounded length, and fit text is left as it is."""
    made = header_text(text)

    assert made.isascii()
    assert made.isprintable()
    assert len(made) <= MAX_MESSAGE
    assert header_text(made) == made


def test_text_that_is_not_unicode_cannot_be_sent() -> None:
    """A lone surrogate in a prompt of ours is an error of our tree."""
    with pytest.raises(MalformedRequest):
        Generate3D(prompt="\ud800").encode()


def test_terminals_are_not_shared() -> None:
    """Each synapse has terminals of its own."""
    first, second = Synapse(), Synapse()
    first.axon.status_code = 500

    assert second.axon.status_code is None
