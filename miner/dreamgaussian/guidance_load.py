"""From the settings to a loaded guidance."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import logging as transformers_logging

from miner.dreamgaussian.guidance import Guidance
from miner.dreamgaussian.settings import GuidanceSettings
from miner.gpu.device import Device


def load_guidance(
    folder: Path, vae_folder: Path | None, settings: GuidanceSettings, device: Device
) -> Guidance:
    """The guidance that the settings name, from files on this machine.

    Args:
        folder: where ``settings.weights`` lies.
        vae_folder: where ``settings.vae_weights`` lies, if it is set.
        settings: what to load and how to use it.
        device: where to.

    Raises:
        WeightsError: a part is missing or is not what it should be.
    """
    transformers_logging.disable_progress_bar()
    # Imported here: each pulls in diffusers, which takes seconds.
    if settings.kind == "zero123":
        from miner.dreamgaussian.guidance_zero123 import Zero123  # noqa: PLC0415

        return Zero123.load(folder, vae_folder, settings, device)
    if settings.kind == "mvdream":
        from miner.dreamgaussian.guidance_mvdream import MVDream  # noqa: PLC0415

        return MVDream.load(folder, vae_folder, settings, device)
    from miner.dreamgaussian.guidance_sd import StableDiffusion  # noqa: PLC0415

    return StableDiffusion.load(folder, vae_folder, settings, device)
