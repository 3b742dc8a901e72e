"""Training and export of the small matting network that rembg runs as ``u2net_custom``.

``python -m miner.mini.training.matting DATA RUN --minutes 6`` trains; ``export`` writes ONNX.

rembg resizes any picture to 320 x 320 and normalises it by ImageNet's mean and spread; the network
averages that down to 80 x 80, where a U-Net of three levels decides, and scales its answer back up.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dataset import SIZE, load
from .loop import Loop
from .pictures import BACKGROUND

INPUT, INNER = 320, 80
WIDTH = 16
"""Channels at full resolution; the network has about two hundred thousand parameters."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class MattingNet(nn.Module):
    """Normalised pictures [B,3,320,320] to foreground probabilities [B,1,320,320]."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        w = (width, 2 * width, 3 * width, 4 * width)
        self.down = nn.ModuleList(
            [_block(3, w[0]), _block(w[0], w[1], 2), _block(w[1], w[2], 2), _block(w[2], w[3], 2)]
        )
        self.up = nn.ModuleList(
            [_block(w[3] + w[2], w[2]), _block(w[2] + w[1], w[1]), _block(w[1] + w[0], w[0])]
        )
        self.head = nn.Conv2d(w[0], 1, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Logits [B,1,80,80] of pictures [B,3,80,80] already averaged down."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, skips.pop()], 1))
        out: Tensor = self.head(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """The whole network as rembg calls it."""
        logits = self.logits(F.avg_pool2d(x, INPUT // INNER))
        return torch.sigmoid(
            F.interpolate(logits, scale_factor=float(INPUT // INNER), mode="bilinear")
        )


def backgrounds(b: int, generator: torch.Generator) -> Tensor:
    """[B,3,64,64]: half the world's own, the others plain colours and gradients of any colour."""
    corners = torch.rand(b, 3, 2, 2, generator=generator)
    flat = torch.rand(b, 1, 1, 1, generator=generator) < 0.5
    corners = torch.where(flat, corners[:, :, :1, :1], corners)
    own = torch.tensor(BACKGROUND)[None, :, None, None]
    is_own = torch.rand(b, 1, 1, 1, generator=generator) < 0.5
    corners = torch.where(is_own, own + 0.03 * (corners - 0.5), corners)
    return F.interpolate(corners, (SIZE, SIZE), mode="bilinear", align_corners=True)


def make_batch(rgba: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normalised pictures [B,3,80,80] and their masks [B,1,80,80] from RGBA uint8 [B,64,64,4]."""
    b = len(rgba)
    picture = rgba.float().permute(0, 3, 1, 2) / 255
    picture = torch.cat([picture[:, :3] * picture[:, 3:], picture[:, 3:]], 1)
    theta = torch.zeros(b, 2, 3)
    size = torch.rand(b, generator=generator) * 0.45 + 0.6
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / size
    theta[:, :, 2] = torch.rand(b, 2, generator=generator) * 0.3 - 0.15
    grid = F.affine_grid(theta, [b, 4, SIZE, SIZE], align_corners=False)
    picture = F.grid_sample(picture, grid, align_corners=False)
    alpha = picture[:, 3:]
    rgb = picture[:, :3] + backgrounds(b, generator) * (1 - alpha)
    blurred = F.avg_pool2d(F.pad(rgb, (1, 1, 1, 1), mode="replicate"), 3, 1)
    rgb = torch.lerp(rgb, blurred, torch.rand(b, 1, 1, 1, generator=generator))
    rgb = rgb + torch.randn(rgb.shape, generator=generator) * 0.03 * torch.rand(
        b, 1, 1, 1, generator=generator
    )
    rgb = F.interpolate(rgb.clamp(0, 1), (INNER, INNER), mode="bicubic").clamp(0, 1)
    rgb = rgb / rgb.amax((1, 2, 3), keepdim=True)  # as rembg does before it normalises
    mask = F.interpolate(alpha, (INNER, INNER), mode="bilinear")
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (MEAN, STD))
    return (rgb - mean) / std, mask


def train(data: Path, run: Path, minutes: float, seed: int) -> None:
    """Train until the run's own time is up."""
    torch.manual_seed(seed)
    net = MattingNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    loop = Loop(run, net, optimizer, minutes, 0.995)
    generator = torch.Generator().manual_seed(seed + loop.step)
    rgba = torch.from_numpy(load(data, skip=2, limit=40).rgba)
    for _ in loop:
        rows = torch.randint(0, len(rgba), (24,), generator=generator)
        x, mask = make_batch(rgba[rows], generator)
        loss = F.binary_cross_entropy_with_logits(net.logits(x), mask)
        loop.descend(loss)
        loop.log(100, loss=loss)


def export(run: Path, path: Path, width: int = WIDTH) -> None:
    """Write the averaged network as ONNX with a fixed input [1,3,320,320]."""
    net = MattingNet(width)
    net.load_state_dict(torch.load(run / "last.pt", weights_only=True)["average"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without onnxscript calls itself deprecated
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, 3, INPUT, INPUT),),
            str(path),
            input_names=["picture"],
            output_names=["mask"],
            dynamo=False,
        )


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    train(o.data, o.run, o.minutes, o.seed)


if __name__ == "__main__":
    main()
