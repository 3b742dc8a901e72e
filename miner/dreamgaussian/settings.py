"""Settings of a fit: what a file under ``config/dreamgaussian`` may say. No torch here.

Keys that DreamGaussian's published configurations have carry its names for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from miner.errors import ConfigError
from miner.settings import MIN_GAUSSIANS, Section, config_dir, read_toml


class GuidanceSettings(Section):
    """The model that says how views should look.

    Attributes:
        kind: ``zero123`` knows the picture; ``mvdream`` and ``sd`` know the prompt.
        weights: a folder in the diffusers layout, as ``gpu/weights.py`` finds it; for ``mvdream``
            also a folder with the original checkpoint's file.
        vae_weights: the VAE's folder where it is another one's; empty: inside ``weights``.
        size_px: side to which views are resized.
        guidance_scale: of classifier-free guidance; 1 asks the conditioned model alone.
        weight: of this loss (``lambda_sd``, ``lambda_zero123``); 0 does without the model.
        negative_prompt: what it is steered away from; prompts only.
        stable: the fourth number of the camera is the reference's polar angle (stable-zero123) in
            place of the change in radius.
        noise_range: most and least noisy time, as shares of the model's steps.
        dtype: ``auto`` is float16 on CUDA and float32 on the CPU.
    """

    kind: Literal["zero123", "mvdream", "sd"] = "zero123"
    weights: str
    vae_weights: str = ""
    size_px: int = Field(default=256, ge=16, le=1024)
    guidance_scale: float = Field(default=5.0, ge=0, le=200)
    weight: float = Field(default=1.0, ge=0)
    negative_prompt: str = ""
    stable: bool = False
    noise_range: tuple[float, float] = (0.98, 0.02)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="after")
    def _check(self) -> GuidanceSettings:
        most, least = self.noise_range
        if not 1.0 >= most >= least >= 0.0:
            raise ValueError("noise_range: two shares, the larger first")
        return self


class StartSettings(Section):
    """Where the Gaussians begin when no splat is given to start from.

    Attributes:
        kind: ``ball`` is random; ``silhouette`` fills the picture's outline, as deep as wide.
        num_pts: how many.
        radius: of the ball.
        opacity: of each, in (0,1).
        size: standard deviation over the distance of the nearest others.
        depth: of the silhouette, over its width.
        max_given: of a splat given to start from, at most so many are taken.
    """

    kind: Literal["ball", "silhouette"] = "ball"
    num_pts: int = Field(default=5_000, ge=8, le=200_000)
    radius: float = Field(default=0.5, gt=0, le=10)
    opacity: float = Field(default=0.1, gt=0, lt=1)
    size: float = Field(default=1.0, gt=0.05, le=4)
    depth: float = Field(default=1.0, gt=0, le=4)
    max_given: int = Field(default=100_000, ge=8)


class ViewSettings(Section):
    """From where the guidance looks, and how large the pictures are.

    Attributes:
        batch_size: views in one iteration (groups of four for ``mvdream``).
        radius, fovy: distance in scene units and vertical field of view in degrees.
        min_elevation, max_elevation: degrees, positive above the reference.
        sizes_px: side of a view, growing ...
        size_from: ... from these shares of the iterations on.
        reference_size_px: side of the known view.
        reference_elevation: from where the picture was taken, degrees above the horizon.
        foreground_ratio: longer side of the object over the side of the framed picture.
        background: behind views, and behind the picture that the guidance is shown.
        invert_bg_prob: how often the background's opposite is taken instead.
    """

    batch_size: int = Field(default=1, ge=1, le=16)
    radius: float = Field(default=2.0, gt=0, le=100)
    fovy: float = Field(default=49.1, gt=1, lt=170)
    min_elevation: float = Field(default=-30.0, ge=-90, le=90)
    max_elevation: float = Field(default=30.0, ge=-90, le=90)
    sizes_px: tuple[int, ...] = (128, 256, 512)
    size_from: tuple[float, ...] = (0.0, 0.3, 0.6)
    reference_size_px: int = Field(default=256, ge=16, le=1024)
    reference_elevation: float = Field(default=0.0, ge=-89, le=89)
    foreground_ratio: float = Field(default=0.8, gt=0.1, le=1)
    background: str = "white"
    invert_bg_prob: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> ViewSettings:
        shares = self.size_from
        if len(shares) != len(self.sizes_px) or not shares or shares[0] != 0.0:
            raise ValueError("size_from: one share for each of sizes_px, the first 0")
        if list(shares) != sorted(shares):
            raise ValueError("size_from: must not fall")
        if not all(16 <= size <= 1024 for size in self.sizes_px):
            raise ValueError("sizes_px: each from 16 to 1024")
        if self.min_elevation > self.max_elevation:
            raise ValueError("min_elevation: is above max_elevation")
        return self


class RateSettings(Section):
    """Learning rates, for the logarithms, logits and harmonics that are trained.

    Attributes:
        position_lr_init, position_lr_final, position_lr_max_steps: falls exponentially from the
            first to the second over so many iterations.
        random_start_factor: the position's rate is so many times as high from a random start.
    """

    position_lr_init: float = Field(default=0.001, gt=0, le=1)
    position_lr_final: float = Field(default=0.00002, gt=0, le=1)
    position_lr_max_steps: int = Field(default=500, ge=1)
    random_start_factor: float = Field(default=10.0, gt=0)
    feature_lr: float = Field(default=0.01, ge=0, le=1)
    opacity_lr: float = Field(default=0.05, ge=0, le=1)
    scaling_lr: float = Field(default=0.005, ge=0, le=1)
    rotation_lr: float = Field(default=0.005, ge=0, le=1)


class DensitySettings(Section):
    """When Gaussians are added and taken away, and which.

    Attributes:
        density_start_iter, density_end_iter, densification_interval: in iterations.
        opacity_reset_interval: opacities are lowered so often; 0 never.
        densify_grad_threshold: mean length of the gradient by the place on the picture, measured
            in half pictures, above which a Gaussian is cloned or split.
        percent_dense: split where the largest scale exceeds this share of ``extent``, else clone.
        extent: size of the scene, for the two shares.
        prune_opacity: those with less go.
        max_scale_share: those larger than this share of ``extent`` go.
        max_screen_px: those that grew larger on the picture go; 0 keeps them.
        max_gaussians: nothing is added beyond so many.
    """

    density_start_iter: int = Field(default=100, ge=0)
    density_end_iter: int = Field(default=3_000, ge=0)
    densification_interval: int = Field(default=100, ge=1)
    opacity_reset_interval: int = Field(default=700, ge=0)
    densify_grad_threshold: float = Field(default=0.01, ge=0)
    percent_dense: float = Field(default=0.01, gt=0, le=1)
    extent: float = Field(default=4.0, gt=0)
    prune_opacity: float = Field(default=0.01, ge=0, lt=1)
    max_scale_share: float = Field(default=0.1, gt=0, le=1)
    max_screen_px: float = Field(default=0.0, ge=0)
    max_gaussians: int = Field(default=60_000, ge=MIN_GAUSSIANS)


class KnownView(Section):
    """A side from which the object is taken to look like the picture.

    Attributes:
        azimuth: degrees; 0 is the picture's own.
        mirrored: the picture's mirror image, as for the back of a symmetric object.
        rgb, mask: weights of the squared error of the colours and of the coverage.
    """

    azimuth: float = Field(default=0.0, ge=-360, le=360)
    mirrored: bool = False
    rgb: float = Field(default=10_000.0, ge=0)
    mask: float = Field(default=1_000.0, ge=0)


class LossSettings(Section):
    """What is known without asking, and what the guidance is asked once.

    Attributes:
        known: used in every iteration when there is a picture.
        warmup_rgb_loss: the known views' weight grows from 0 to 1 over the fit.
        within_outline: colours of known and imagined views are compared within the outline only,
            over a background drawn anew each time. What spills over the outline is then moved by
            the mask's error alone, and does not fade into the background's colour.
        imagined_views: that many views around the object are sampled from the guidance before the
            first iteration and then fitted like known ones; 0 does without. ``zero123`` only.
        imagined_per_step: how many of them an iteration looks at, in turn.
        imagined_steps: denoising steps of each.
        imagined_elevation: degrees above the reference.
        imagined_rgb, imagined_mask: weights of their errors.
    """

    known: tuple[KnownView, ...] = (KnownView(),)
    warmup_rgb_loss: bool = True
    within_outline: bool = False
    imagined_views: int = Field(default=0, ge=0, le=64)
    imagined_per_step: int = Field(default=1, ge=1, le=16)
    imagined_steps: int = Field(default=12, ge=1, le=200)
    imagined_elevation: float = Field(default=0.0, ge=-90, le=90)
    imagined_rgb: float = Field(default=5_000.0, ge=0)
    imagined_mask: float = Field(default=500.0, ge=0)


class OutputSettings(Section):
    """How the fitted Gaussians become a valid splat.

    Attributes:
        min_gaussians: large ones are split until there are so many.
        prune_opacity: those with less go first.
        max_scale_share: larger ones, over the longest side, go as well.
        stray_factor: a Gaussian whose neighbours are so many times as far away as is usual is
            dropped: a few strays would decide how large the object is taken to be. 0 keeps them.
    """

    min_gaussians: int = Field(default=8_000, ge=MIN_GAUSSIANS)
    prune_opacity: float = Field(default=0.01, ge=0, lt=1)
    max_scale_share: float = Field(default=0.15, gt=0, le=0.16)
    stray_factor: float = Field(default=6.0, ge=0)


class FitSettings(Section):
    """One complete configuration of a fit.

    Attributes:
        iters: iterations when there is time for all.
        min_iters: fewer than these are never done, whatever the deadline.
    """

    name: str = ""
    description: str = ""
    iters: int = Field(default=500, ge=1, le=100_000)
    min_iters: int = Field(default=5, ge=1)
    guidance: GuidanceSettings
    start: StartSettings = StartSettings()
    views: ViewSettings = ViewSettings()
    rates: RateSettings = RateSettings()
    density: DensitySettings = DensitySettings()
    losses: LossSettings = LossSettings()
    output: OutputSettings = OutputSettings()


def load_fit_settings(name: str) -> FitSettings:
    """The configuration of that name, or in the file at that absolute path.

    Raises:
        ConfigError: there is none, or it has an unknown key or a bad value; the text names it.
    """
    folder = config_dir() / "dreamgaussian"
    path = Path(name) if Path(name).is_absolute() else folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ConfigError(f"dreamgaussian: no configuration {name!r}; there are {known}")
    try:
        return FitSettings.model_validate({"name": path.stem, **read_toml(path)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key}: {first['msg']}") from error
