"""What a validator finds out about a submission."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from miner import encoder
from miner.errors import JobFailed
from miner.geometry.gaussians import Gaussians
from miner.network.subnet import ImageTask, SubnetTask, TextTask
from miner.validator.judge import is_signed, judge
from tests.validator.rig import MINER, OTHER, VALIDATOR, sound_results, sound_splat, submission

TASK = TextTask(id="1", prompt="a red cube")
V, M = VALIDATOR.ss58_address, MINER.ss58_address


def text(data: bytes) -> str:
    """As a miner submits it."""
    return b64encode(data).decode()


@pytest.mark.parametrize(
    "task",
    [TASK, ImageTask(id="2", prompt="QUJD" * 1000), TextTask(id="3", prompt="Würfel 立方体")],
)
def test_an_honest_signature_holds(task: SubnetTask) -> None:
    """For texts, texts beyond ASCII, and the whole base64 of a picture."""
    assert is_signed(submission(task), task, V, M)


def test_a_signature_holds_for_nothing_else() -> None:
    """Another prompt, time, validator, miner or signer, and it is none."""
    honest = submission(TASK)
    other = OTHER.ss58_address

    assert not is_signed(honest, TextTask(id="1", prompt="a red cubE"), V, M)
    assert not is_signed(honest.model_copy(update={"submit_time": 1}), TASK, V, M)
    assert not is_signed(honest, TASK, other, M)
    assert not is_signed(honest, TASK, V, other)
    assert not is_signed(submission(TASK, signer=OTHER), TASK, V, M)


@pytest.mark.parametrize(
    "signature", ["", "x", "A" * 88 + "\n", "é" * 88, "A" * 80, text(b"s" * 63), text(b"s" * 65)]
)
def test_a_signature_that_is_none_is_a_fault(signature: str) -> None:
    """Not padded base64 of 64 bytes: the subnet's validators fail with status 500."""
    with pytest.raises(JobFailed) as caught:
        is_signed(submission(TASK).model_copy(update={"signature": signature}), TASK, V, M)

    assert caught.value.status == 500


async def test_a_sound_splat_gets_full_marks() -> None:
    """What passes the gate scores 1 unless told otherwise."""
    judgement = await judge(TASK, sound_results())

    assert (judgement.score, judgement.reason) == (1.0, "")
    assert judgement.data == b64decode(sound_results())


async def test_the_score_is_the_scorers() -> None:
    """It sees the task and the Gaussians; None says that it failed."""
    seen: list[tuple[SubnetTask, int]] = []

    def scorer(task: SubnetTask, gaussians: Gaussians) -> float | None:
        seen.append((task, len(gaussians)))
        return None if task.id == "none" else 0.7

    failed = await judge(TextTask(id="none", prompt="x"), sound_results(), scorer)

    assert (await judge(TASK, sound_results(), scorer)).score == 0.7
    assert failed.score is None
    assert seen == [(TextTask(id="none", prompt="x"), 7000), (TASK, 7000)]


def spoilt() -> dict[str, str]:
    """Results that score 0, by what is wrong with them."""
    splat = sound_splat()
    spz = encoder.encode(splat, "spz")
    payload = zstandard.ZstdDecompressor().decompress(spz)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(payload)
    turned = np.zeros_like(splat.quats)
    turned[:, 0] = 1
    faint = np.full_like(splat.opacity_logits, -20)
    return {
        "not base64": "%%%%",
        "not padded": text(spz).rstrip("=")[:-1],
        "white space": text(spz)[:76] + "\n" + text(spz)[76:],
        "beyond ASCII": "é" + text(spz),
        "url alphabet": text(b"\xff\xfe\xfd" * 3).replace("/", "_"),
        "not a splat": text(b"hello"),
        "no bytes": "====",
        "ply": text(encoder.encode(splat, "ply")),
        "gzip": text(encoder.encode(splat, "spz", spz_variant="v2")),
        "no content size": text(unsized),
        "cut off": text(spz[: len(spz) // 2]),
        "trailing bytes": text(spz + b"x"),
        "too few": text(encoder.encode(_head(splat, 6999), "spz")),
        "faint": text(encoder.encode(replace(splat, opacity_logits=faint), "spz")),
        "small": text(encoder.encode(replace(splat, means=splat.means * np.float32(0.5)), "spz")),
        "off centre": text(encoder.encode(replace(splat, means=splat.means + 1), "spz")),
    }


def _head(splat: Gaussians, count: int) -> Gaussians:
    return Gaussians(*(getattr(splat, name)[:count] for name in splat.__dataclass_fields__))


@pytest.mark.parametrize("wrong", sorted(spoilt()))
async def test_what_is_wrong_scores_nothing(wrong: str) -> None:
    """With a reason, and never an exception."""
    judgement = await judge(TASK, spoilt()[wrong])

    assert judgement.score == 0
    assert judgement.reason


@given(
    st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x28\xb5\x2f\xfd" + tail)
)
async def test_garbage_scores_nothing(data: bytes) -> None:
    """Whatever the bytes, also behind a zstd magic."""
    assert (await judge(TASK, text(data))).score == 0


async def test_a_prompt_that_the_scorer_refuses_is_not_judged() -> None:
    """Over 1024 characters of text; a picture's base64 is as long as it likes."""
    long = "x" * 1025

    assert (await judge(TextTask(id="1", prompt=long), sound_results())).score is None
    assert (await judge(ImageTask(id="1", prompt=long), sound_results())).score == 1.0
