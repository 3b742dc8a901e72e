"""A painter's parts, wherever they wait and in whatever precision: the picture is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from miner.gpu.device import choose_device
from miner.gpu.plan import MemoryPlan
from miner.pipeline.painter_kinds import DENOISER, ENCODERS, VAE
from miner.pipeline.painter_load import settled_plan
from miner.pipeline.painter_networks import read_networks
from miner.pipeline.text_to_image import TextToImage
from miner.settings import TextToImageSettings
from miner.settings.memory import Precision, Residency
from tests.pipeline.plans import GIB, plan
from tests.pipeline.tiny_sd import write_sd

# A scheduler of diffusers hands a tensor to numpy in a way that numpy will not take for ever.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = choose_device("cpu")
RESIDENCIES: list[Residency] = ["resident", "host", "streamed", "segmented"]


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion."""
    folder = tmp_path_factory.mktemp("sd")
    write_sd(folder)
    return folder


@pytest.fixture(scope="module")
def flux(tiny_preset: Path) -> Path:
    """The tiny FLUX."""
    return tiny_preset.parent / "flux"


def flux_keys(**keys: object) -> TextToImageSettings:
    given = {"steps": 2, "size_px": 64, "max_sequence_length": 16, "batch_size": 2}
    return TextToImageSettings.model_validate({"weights": "x", **given, **keys})


def sd_keys(**keys: object) -> TextToImageSettings:
    given = {"pipeline": "StableDiffusionPipeline", "scheduler": "dpmsolver++", "steps": 3}
    given |= {"size_px": 64, "guidance_scale": 5.0, "batch_size": 2}
    return TextToImageSettings.model_validate({"weights": "x", **given, **keys})


def everywhere(residency: Residency, precision: Precision = "fp32") -> MemoryPlan:
    """A plan with all parts there; a VAE cannot be streamed."""
    vae: Residency = "host" if residency == "streamed" else residency
    return plan(residency, precision, residency_of={"vae": vae})


def pictures(painter: TextToImage, prompts: tuple[str, ...] = ("a cube", "a tree", "a mug")):
    return [np.asarray(p, int) for p in painter.paint(prompts, range(len(prompts)))]


def gap(left: list, right: list) -> int:
    return max(int(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


def test_flux_paints_what_its_pipeline_paints(flux: Path) -> None:
    """Read, denoised and decoded in steps of our own, a picture is what diffusers' call gives."""
    painter = TextToImage.load(flux, flux_keys(), CPU)
    (ours,) = painter.paint(["a cube"], [3])
    theirs = painter._pipeline(
        "a cube",
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=0.0,
        max_sequence_length=16,
        generator=[torch.Generator("cpu").manual_seed(3)],
    ).images[0]

    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_stable_diffusion_paints_what_its_pipeline_paints(sd: Path) -> None:
    """The same for the other family, with guidance and the other scheduler."""
    painter = TextToImage.load(sd, sd_keys(), CPU)
    (ours,) = painter.paint(["a cube"], [3])
    theirs = painter._pipeline(
        "a cube",
        height=64,
        width=64,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=[torch.Generator("cpu").manual_seed(3)],
    ).images[0]

    assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert type(painter._pipeline.scheduler).__name__ == "DPMSolverMultistepScheduler"


@pytest.mark.parametrize("residency", RESIDENCIES[1:])
def test_where_a_part_waits_changes_nothing(flux: Path, residency: Residency) -> None:
    """Moved, streamed or loaded anew for each use, FLUX paints the same pixels, every time."""
    resident = TextToImage.load(flux, flux_keys(), CPU, everywhere("resident"))
    other = TextToImage.load(flux, flux_keys(), CPU, everywhere(residency))
    expected = pictures(resident)

    assert gap(expected, pictures(other)) == 0
    assert gap(expected, pictures(other)) == 0


@pytest.mark.parametrize("residency", RESIDENCIES[1:])
def test_where_a_part_of_sd_waits_changes_nothing(sd: Path, residency: Residency) -> None:
    """The same for Stable Diffusion."""
    resident = TextToImage.load(sd, sd_keys(), CPU, everywhere("resident"))
    other = TextToImage.load(sd, sd_keys(), CPU, everywhere(residency))

    assert gap(pictures(resident), pictures(other)) == 0


def test_a_segment_is_in_memory_only_at_work(flux: Path) -> None:
    """Before and after a picture nothing of a segmented painter is loaded; while one part denoises
    the text encoders are gone."""
    painter = TextToImage.load(flux, flux_keys(), CPU, everywhere("segmented"))
    before = painter.parameters
    seen: list[bool] = []

    def look(_done: int, _total: int) -> None:
        pipeline = painter._pipeline
        seen.append(pipeline.text_encoder_2 is None and pipeline.transformer is not None)

    painter.paint(["a cube"], [0], on_step=look)

    assert before == painter.parameters == 0
    assert seen == [True, True]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("bf16", 16), ("fp8", 40), ("int8", 24), ("nf4", 40)]
)
def test_smaller_numbers_paint_nearly_the_same(
    flux: Path, precision: Precision, tolerance: int
) -> None:
    """Each precision, or what takes its place here, stays near fp32; of 255 levels, on average
    under a tenth of the tolerance."""
    exact = pictures(TextToImage.load(flux, flux_keys(), CPU, everywhere("resident")))
    smaller = TextToImage.load(flux, flux_keys(), CPU, everywhere("resident", precision))
    made = pictures(smaller)
    average = float(np.mean([np.abs(a - b).mean() for a, b in zip(exact, made, strict=True)]))

    assert gap(exact, made) <= tolerance
    assert average <= tolerance / 10


def test_parts_may_compute_in_different_numbers(flux: Path) -> None:
    """T5 in single precision feeds a transformer in half of it, as on cards before Ampere."""
    mixed = plan(precision_of={"transformer": "bf16", "vae": "bf16"})
    exact = TextToImage.load(flux, flux_keys(), CPU, everywhere("resident"))
    other = TextToImage.load(flux, flux_keys(), CPU, mixed)
    assert gap(pictures(exact, ("a cube",)), pictures(other, ("a cube",))) <= 16


def test_a_part_with_t5_never_computes_in_fp16(flux: Path) -> None:
    """T5 overflows there, and a part has one number type; CLIP alone may have it."""
    both = read_networks(flux, ("text_encoder", "text_encoder_2"), "fp16", CPU)
    alone = read_networks(flux, ("text_encoder",), "fp16", CPU)

    assert {network.dtype for network in both.values()} == {torch.float32}
    assert alone["text_encoder"].dtype == torch.float16


@pytest.mark.parametrize(
    ("precision", "stored"), [("int8", torch.int8), ("fp8", torch.float8_e4m3fn)]
)
@pytest.mark.parametrize("residency", RESIDENCIES)
def test_large_layers_keep_their_weights_in_a_byte(
    flux: Path, precision: Precision, stored: torch.dtype, residency: Residency
) -> None:
    """The denoiser's and T5's layers are stored in one byte, CLIP's and the VAE's are not, and what
    the networks say of their own type is the one they compute in."""
    painter = TextToImage.load(flux, flux_keys(), CPU, everywhere(residency, precision))
    seen: list[tuple[torch.dtype, torch.dtype]] = []

    def look(_done: int, _total: int) -> None:
        denoiser = painter._pipeline.transformer
        seen.append((denoiser.transformer_blocks[0].attn.to_q.weight.dtype, denoiser.dtype))

    painter.paint(["a cube"], [0], on_step=look)
    assert seen == [(stored, torch.bfloat16)] * 2
    if residency == "segmented":
        return
    pipe = painter._pipeline
    t5 = pipe.text_encoder_2.encoder.block[0].layer
    assert t5[0].SelfAttention.q.weight.dtype == t5[1].DenseReluDense.wo.weight.dtype == stored
    assert t5[0].layer_norm.weight.dtype == pipe.text_encoder_2.dtype == torch.bfloat16
    assert {p.dtype for p in pipe.vae.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in pipe.text_encoder.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("residency", RESIDENCIES[1:])
def test_where_quantised_weights_wait_changes_nothing(flux: Path, residency: Residency) -> None:
    """int8 moved, streamed or loaded anew paints the pixels of int8 that is resident."""
    resident = TextToImage.load(flux, flux_keys(), CPU, everywhere("resident", "int8"))
    other = TextToImage.load(flux, flux_keys(), CPU, everywhere(residency, "int8"))

    assert gap(pictures(resident), pictures(other)) == 0


def test_what_cannot_be_had_is_told_of(flux: Path) -> None:
    """The plan that comes back says what each part was loaded in, and why not as planned."""
    wanted = everywhere("resident", "nf4")
    painter = TextToImage.load(flux, flux_keys(), CPU, wanted)
    found = settled_plan(wanted, painter.settled)

    assert {found.of(part).precision for part in (ENCODERS, DENOISER, VAE)} <= {"int8", "bf16"}
    assert "nf4: bitsandbytes" in found.of(DENOISER).reason
    assert any(text.startswith("transformer: nf4: ") for text in found.warnings)
    assert found.of("triposr") == wanted.of("triposr")


def test_words_are_read_once(flux: Path) -> None:
    """Two seeds, a repetition and another call read a prompt once; the encoders rest meanwhile."""
    painter = TextToImage.load(flux, flux_keys(), CPU, everywhere("segmented"))
    assert painter.prompts is not None
    painter.paint(["a cube", "a cube", "a tree"], [1, 2, 3])
    first = painter.paint(["a cube"], [1])
    assert painter.prompts.reads == 2
    painter.prompts.forget()
    again = painter.paint(["a cube"], [1])

    assert painter.prompts.reads == 3
    assert np.array_equal(np.asarray(first[0]), np.asarray(again[0]))


def test_small_means_one_at_a_time_and_then_fewer_pixels(flux: Path) -> None:
    """Several are painted alone at full size; one alone is painted smaller, in valid multiples."""
    painter = TextToImage.load(flux, flux_keys(), CPU)
    steps: list[tuple[int, int]] = []
    several = painter.paint(
        ["a", "b"], [0, 0], on_step=lambda *step: steps.append(step), small=True
    )
    (single,) = painter.paint(["a"], [0], small=True)

    assert [picture.size for picture in several] == [(64, 64)] * 2
    assert steps[-1] == (4, 4)
    assert single.size == (48, 48)


def test_little_memory_changes_nothing_of_attention(sd: Path) -> None:
    """A small card computes attention as a large one does: slices would take more memory, because
    they write the scores out."""
    tight = TextToImage.load(sd, sd_keys(), CPU, plan(limit_bytes=4 * GIB))
    kinds = {type(one).__name__ for one in tight._pipeline.unet.attn_processors.values()}

    assert kinds == {"AttnProcessor2_0"}
