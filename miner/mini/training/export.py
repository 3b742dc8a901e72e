"""Write what the runs have learnt into the package: the only step that touches committed files.

``python -m miner.mini.training.export RUNS [--into FOLDER]`` takes the averaged weights of
RUNS/tsr, RUNS/vae with RUNS/flow, RUNS/matting and RUNS/zero123, whichever are there, in half
precision.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from pathlib import Path

import torch
from torch import nn

from miner.gpu.weights import SUMS_NAME
from miner.triposr import TripoSR

from . import matting, zero123_model
from .dataset import load
from .flow import Flow, load_vae
from .flow import export as export_flux
from .pictures import paint_all
from .triposr import THRESHOLD, mini_config

SHARPNESS = 8.0
"""Of the exported field: views of it and of its splat then agree to 30 dB, 16 before."""

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


def averaged(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights in a checkpoint."""
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["average"]
    return state


@torch.no_grad()
def sharpen(model: TripoSR, factor: float) -> None:
    """Make the density fall ``factor`` times faster on both sides of the same isosurface.

    The occupancy's logit is the last layer's first output and a constant, so that scaling it scales
    one row. A soft edge is easier to learn; a sharp one is what a volume renderer has to see for
    its views to show the surface, and not a haze as wide as the training's softness.
    """
    last = [m for m in model.decoder.modules() if isinstance(m, nn.Linear)][-1]
    zero = math.log(THRESHOLD) - model.config.renderer.density_bias
    last.weight[0] *= factor
    last.bias[0] = (last.bias[0] - zero) * factor + zero


def export_triposr(run: Path, folder: Path) -> None:
    """A folder that ``TripoSR.load`` reads."""
    model = TripoSR(mini_config())
    model.load_state_dict(averaged(run / "last.pt"))
    sharpen(model, SHARPNESS)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder, dtype=torch.float16)


def export_flow(run: Path, vae_run: Path, data: Path, folder: Path) -> None:
    """A folder that ``FluxPipeline.from_pretrained`` reads."""
    flow = Flow()
    flow.load_state_dict(averaged(run / "last.pt"))
    pictures = paint_all(load(data, skip=2), 1)  # the same as in training: they fix the scale
    export_flux(flow, load_vae(vae_run, pictures), folder)


def export_zero123(run: Path, folder: Path) -> None:
    """A folder laid out as the published one; the VAE is the small FLUX's."""
    model = zero123_model.Zero123()
    model.load_state_dict(averaged(run / "last.pt"))
    zero123_model.save(model, folder)


def write_sums(folder: Path) -> None:
    """The checksums by which a start tells a damaged file, in the format of ``sha256sum``."""
    sums = folder / SUMS_NAME
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != sums)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    sums.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--into", type=Path, default=WEIGHTS)
    o = parser.parse_args()
    if (o.runs / "tsr" / "last.pt").exists():
        export_triposr(o.runs / "tsr", o.into / "triposr")
    if (o.runs / "flow" / "last.pt").exists():
        export_flow(o.runs / "flow", o.runs / "vae", o.runs / "data", o.into / "flux")
    if (o.runs / "matting" / "last.pt").exists():
        matting.export(o.runs / "matting", o.into / "matting.onnx")
    if (o.runs / "zero123" / "last.pt").exists():
        export_zero123(o.runs / "zero123", o.into / "zero123")
    write_sums(o.into)


if __name__ == "__main__":
    main()
