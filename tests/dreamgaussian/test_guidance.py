from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from miner.dreamgaussian import guidance_mvdream, guidance_sd
from miner.dreamgaussian.guidance import Imagines, Subject
from miner.dreamgaussian.guidance_latents import vae_type
from miner.dreamgaussian.guidance_load import load_guidance
from miner.dreamgaussian.guidance_zero123 import Zero123
from miner.dreamgaussian.losses import distillation
from miner.dreamgaussian.poses import Pose
from miner.dreamgaussian.settings import GuidanceSettings
from miner.errors import WeightsError
from miner.gpu.plan import Card
from tests.dreamgaussian import tiny
from tests.dreamgaussian.rig import CPU

FRONT = Pose(0.0, 0.0, 2.0)
WHITE = torch.ones(3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(count: int = 1, side: int = 20) -> Tensor:
    return torch.rand(count, side, side, 3, generator=generator(7))


def picture(seed: int = 0) -> Subject:
    rgba = torch.rand(24, 24, 4, generator=generator(seed))
    return Subject(rgba, None, FRONT, WHITE)


def prompt(text: str) -> Subject:
    return Subject(None, text, FRONT, WHITE)


def keys(kind: str, **more: object) -> GuidanceSettings:
    values = {"kind": kind, "weights": "/none", "size_px": tiny.SIZE, "guidance_scale": 3.0}
    return GuidanceSettings.model_validate(values | more)


@pytest.fixture(scope="module")
def zero123_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_zero123(tmp_path_factory.mktemp("zero123"))


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd")
    tiny.save_common(folder)
    tiny.save_text(folder)
    tiny.unet().save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="module")
def mvdream_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mvdream")
    tiny.save_common(folder)
    tiny.save_text(folder)
    (folder / "unet").mkdir()
    names = tiny.original_names(tiny.mv_unet().state_dict())
    save_file(names, folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / "unet" / "config.json").write_text(json.dumps(tiny.SIZES), "utf-8")
    return folder


def zero123(folder: Path, **more: object) -> Zero123:
    model = load_guidance(folder, None, keys("zero123", **more), CPU)
    assert isinstance(model, Zero123)
    return model


def test_distillation_has_the_gradient_it_should() -> None:
    """By the latents it is the weighted difference of predicted and true noise, and nothing where
    the model answered with no number.
    """
    latents = torch.randn(2, 4, 3, 3, generator=generator(), requires_grad=True)
    predicted, noise = (torch.randn(2, 4, 3, 3, generator=generator(seed)) for seed in (1, 2))
    predicted[0, 0, 0, 0] = float("nan")
    (found,) = torch.autograd.grad(distillation(latents, predicted, noise, 0.3), latents)
    expected = 0.3 * (predicted - noise)
    expected[0, 0, 0, 0] = 0.0
    torch.testing.assert_close(found, expected)


def test_zero123_asks_what_the_published_one_asks(zero123_folder: Path) -> None:
    """Its loss is that of a reference written out step by step with the stock classes: the token of
    embedding and camera numbers, the picture's latents beside the noisy ones and not scaled, zeros
    for both without the picture, guidance, weight and the trick of the target.
    """
    model = zero123(zero123_folder)
    subject, pose, shown = picture(), Pose(70.0, 15.0, 2.0), views()
    model.prepare(subject, 0)
    found = model.loss(shown, [pose], 0.4, generator(5))

    stock = model.model
    linear = model._projection
    encoder = CLIPVisionModelWithProjection.from_pretrained(zero123_folder / "image_encoder")
    assert subject.image is not None
    flat = subject.image[..., :3] * subject.image[..., 3:] + 1 - subject.image[..., 3:]
    chw = flat.permute(2, 0, 1)[None]
    seen = torch.nn.functional.interpolate(chw, (16, 16), mode="bicubic", antialias=True)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    with torch.no_grad():
        embedding = encoder(pixel_values=(seen.clamp(0, 1) - mean) / std).image_embeds
        camera = [math.radians(-15), math.sin(math.radians(70)), math.cos(math.radians(70)), 0.0]
        token = linear(torch.cat([embedding, torch.tensor([camera])], dim=1))[:, None]

        def encode(chw: Tensor) -> Tensor:
            sized = torch.nn.functional.interpolate(
                chw, (32, 32), mode="bilinear", align_corners=False, antialias=True
            )
            mode: Tensor = stock.vae.encode(2 * sized - 1).latent_dist.mode()
            return mode

        own = encode(chw)
        latents = 0.18215 * encode(shown.permute(0, 3, 1, 2))
        kept = stock.scheduler.alphas_cumprod[600]
        noise = torch.randn(latents.shape, generator=generator(5))
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        told = stock.unet(torch.cat([noisy, own], 1), 600, token).sample
        free = stock.unet(torch.cat([noisy, own * 0], 1), 600, token * 0).sample
        gradient = (1 - kept) * (free + 3.0 * (told - free) - noise)
    torch.testing.assert_close(found, 0.5 * gradient.square().sum(), rtol=1e-4, atol=1e-4)


def test_zero123_pulls_at_the_views(zero123_folder: Path) -> None:
    """The gradient reaches every pixel, whatever the size of the views, is the seed's, and depends
    on the pose and on the picture.
    """
    model = zero123(zero123_folder)

    def pull(pose: Pose, subject: Subject, side: int = 20) -> Tensor:
        model.prepare(subject, 0)
        shown = views(side=side).requires_grad_()
        loss = model.loss(shown, [pose], 0.5, generator())
        (gradient,) = torch.autograd.grad(loss, shown)
        return gradient

    first = pull(FRONT, picture())
    assert first.abs().sum(-1).min() > 0
    assert torch.equal(first, pull(FRONT, picture()))
    assert not torch.equal(first, pull(Pose(90.0, 0.0, 2.0), picture()))
    assert not torch.equal(first, pull(FRONT, picture(1)))
    assert pull(FRONT, picture(), 50).shape == (1, 50, 50, 3)


def test_stable_zero123_is_told_the_picture_s_own_angle(zero123_folder: Path) -> None:
    """In place of the change in radius stands the reference's angle from the vertical."""
    plain, stable = zero123(zero123_folder), zero123(zero123_folder, stable=True)
    for model in (plain, stable):
        model.prepare(picture(), 0)
    difference = (stable._tokens([FRONT]) - plain._tokens([FRONT]))[0, 0]
    torch.testing.assert_close(
        difference, plain._projection.weight[:, -1] * math.pi / 2, atol=1e-5, rtol=1e-4
    )


def test_zero123_imagines_views(zero123_folder: Path) -> None:
    """Sampled views have the asked number and range, and are the seed's."""
    model = zero123(zero123_folder)
    assert isinstance(model, Imagines)
    model.prepare(picture(), 0)
    poses = [Pose(90.0, 0.0, 2.0), Pose(180.0, 0.0, 2.0)]
    one, same = (model.imagine(poses, 3, generator(4)) for _ in range(2))
    assert one.shape == (2, tiny.SIZE, tiny.SIZE, 3)
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, same)


def test_the_linear_layer_has_two_names(tmp_path: Path) -> None:
    """``cc_projection`` is read too; without either, or of the wrong width, the error says so."""
    folder = tiny.save_zero123(tmp_path / "other", projection="cc_projection")
    model = zero123(folder)
    assert model._projection.in_features == 28
    save_file(
        {"weight": torch.zeros(32, 20)},
        folder / "cc_projection/diffusion_pytorch_model.safetensors",
    )
    with pytest.raises(WeightsError, match="takes 20 numbers, not 28"):
        zero123(folder)
    (folder / "cc_projection").rename(folder / "elsewhere")
    with pytest.raises(WeightsError, match="no folder clip_camera_projection"):
        zero123(folder)


def test_all_networks_are_named(
    zero123_folder: Path, sd_folder: Path, mvdream_folder: Path
) -> None:
    """Of each kind every network is listed, so that all of its memory can be moved away."""
    for folder, kind, count in (
        (zero123_folder, "zero123", 4),
        (sd_folder, "sd", 3),
        (mvdream_folder, "mvdream", 3),
    ):
        networks = load_guidance(folder, None, keys(kind), CPU).networks()
        assert len({id(network) for network in networks}) == count
        assert not any(p.requires_grad for network in networks for p in network.parameters())


def test_sd_reads_the_prompt(sd_folder: Path) -> None:
    """The loss has a gradient, depends on the prompt, and each side of the object has its words."""
    model = load_guidance(sd_folder, None, keys("sd"), CPU)
    assert not model.wants_image
    losses = []
    for text in ("a red ball", "a blue cube"):
        model.prepare(prompt(text), 0)
        shown = views(2).requires_grad_()
        loss = model.loss(shown, [FRONT, Pose(170.0, 0.0, 2.0)], 0.5, generator())
        (gradient,) = torch.autograd.grad(loss, shown)
        assert gradient.abs().max() > 0
        losses.append(loss.item())
    assert losses[0] != losses[1]
    poses = [Pose(a, 0, 2) for a in (10, -50, 90, 200, 359)] + [Pose(0, 80, 2)]
    assert [guidance_sd.side(pose) for pose in poses] == [0, 0, 1, 2, 0, 3]


def test_velocity_is_turned_into_noise(sd_folder: Path) -> None:
    """For a model that predicts velocity, noise is told from it by the definition."""
    model = load_guidance(sd_folder, None, keys("sd"), CPU)
    assert isinstance(model, guidance_sd.StableDiffusion)
    kept = 0.3
    signal, noise = (torch.randn(1, 4, 8, 8, generator=generator(seed)) for seed in (1, 2))
    noisy = kept**0.5 * signal + (1 - kept) ** 0.5 * noise
    velocity = kept**0.5 * noise - (1 - kept) ** 0.5 * signal
    model.model.scheduler.register_to_config(prediction_type="v_prediction")
    torch.testing.assert_close(model.model._as_noise(velocity, noisy, kept), noise)


def test_mvdream_s_tensors_find_their_places(mvdream_folder: Path) -> None:
    """Under the original's names, with its prefix or without, the U-Net is the one that was named,
    tensor by tensor; a missing or foreign tensor is refused.
    """
    expected = tiny.mv_unet().state_dict()
    plain = tiny.original_names(expected)
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in plain.items()}
    prefixed["first_stage_model.encoder.conv_in.weight"] = torch.zeros(1)
    for tensors in (plain, prefixed):
        found = guidance_mvdream.unet_of(tensors, tiny.SIZES, "here").state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    with pytest.raises(WeightsError, match="here: is not MVDream"):
        guidance_mvdream.unet_of(
            {name: t for name, t in plain.items() if "middle_block.1" not in name},
            tiny.SIZES,
            "here",
        )


def test_the_original_checkpoint_is_read(mvdream_folder: Path, tmp_path: Path) -> None:
    """A torch file under the original names, in place of the folder ``unet``, gives the same loss
    where its sizes are told.
    """
    folder = tmp_path / "original"
    folder.mkdir()
    for part in ("vae", "scheduler", "text_encoder", "tokenizer"):
        (folder / part).symlink_to(mvdream_folder / part)
    names = tiny.original_names(tiny.mv_unet().state_dict())
    torch.save(
        {f"model.diffusion_model.{name}": tensor for name, tensor in names.items()},
        folder / "sd-v2.1-base-4view.pt",
    )
    (folder / "config.json").write_text(json.dumps(tiny.SIZES), "utf-8")
    poses = [Pose(90.0 * i, 10.0, 2.0) for i in range(4)]
    losses = []
    for place in (mvdream_folder, folder):
        model = load_guidance(place, None, keys("mvdream"), CPU)
        model.prepare(prompt("a red ball"), 0)
        losses.append(model.loss(views(4), poses, 0.5, generator()).item())
    assert losses[0] == losses[1]


def test_mvdream_looks_at_all_views_together(mvdream_folder: Path) -> None:
    """A change in one view of a group changes what is predicted for the others; a change in another
    group does not.
    """
    model = load_guidance(mvdream_folder, None, keys("mvdream"), CPU)
    assert isinstance(model, guidance_mvdream.MVDream)
    assert model.group == 4
    unet = model.model.unet
    noisy = torch.randn(8, 4, 8, 8, generator=generator())
    text, cameras = torch.randn(8, 5, tiny.WIDTH), torch.randn(8, 16)
    changed = noisy.clone()
    changed[0] += 1.0
    with torch.no_grad():
        before, after = (
            unet(latents, 500, text, class_labels=cameras).sample for latents in (noisy, changed)
        )
    moved = (after - before).abs().amax(dim=(1, 2, 3))
    assert (moved[:4] > 1e-5).all()
    assert (moved[4:] < 1e-6).all()


def test_mvdream_is_told_cameras_and_prompt(mvdream_folder: Path) -> None:
    """The loss of a group has a gradient at each view and depends on poses and prompt."""
    model = load_guidance(mvdream_folder, None, keys("mvdream"), CPU)

    def loss(text: str, turned: float) -> float:
        model.prepare(prompt(text), 0)
        shown = views(4).requires_grad_()
        poses = [Pose(turned + 90.0 * i, 0.0, 2.0) for i in range(4)]
        value = model.loss(shown, poses, 0.5, generator())
        (gradient,) = torch.autograd.grad(value, shown)
        assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
        return value.item()

    assert len({loss("a ball", 0.0), loss("a ball", 30.0), loss("a cube", 0.0)}) == 3


@pytest.mark.parametrize(
    ("wanted", "capability", "expected"),
    [
        (torch.float16, (8, 6), torch.bfloat16),
        (torch.float16, (7, 5), torch.float16),
        (torch.float32, (8, 6), torch.float32),
        (torch.bfloat16, (9, 0), torch.bfloat16),
    ],
)
def test_the_vae_does_not_compute_gradients_in_float16_where_it_need_not(
    wanted: torch.dtype, capability: tuple[int, int], expected: torch.dtype
) -> None:
    """They overflow there; from Ampere on bfloat16 takes the same bytes."""
    assert vae_type(wanted, Card("a card", 1, 1, capability, 1)) == expected


def test_a_vae_of_another_type_than_the_unet_is_fed_in_its_own(zero123_folder: Path) -> None:
    """The loss is near that of single precision, and its gradient reaches the views."""
    exact = zero123(zero123_folder)
    mixed = zero123(zero123_folder)
    torch.nn.Module.to(mixed.model.vae, torch.bfloat16)
    subject, pose, shown = picture(), Pose(70.0, 15.0, 2.0), views()
    losses = []
    for model in (exact, mixed):
        model.prepare(subject, 0)
        leaf = shown.clone().requires_grad_()
        loss = model.loss(leaf, [pose], 0.4, generator(5))
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert bool(torch.isfinite(gradient).all())
        losses.append(float(loss.detach()))

    assert losses[1] == pytest.approx(losses[0], rel=0.05)
