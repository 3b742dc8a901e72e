"""The trainable Gaussians and the state of their optimiser, as values that stay in step.

Every function returns new values and leaves its arguments as they are. Rows are Gaussians: a row of
the parameters and the same row of both moments always belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from miner.geometry.gaussians import SH_C0, Gaussians

BETAS = (0.9, 0.999)
EPSILON = 1e-15
"""Adam's, as 3D Gaussian Splatting sets it: gradients of single Gaussians are tiny."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """N Gaussians before activation, degree 0; also one value of Adam's for each number of theirs.

    Attributes:
        means: [N,3] centres in scene units.
        log_scales: [N,3].
        quats: [N,4] ``wxyz``, any length.
        opacity_logits: [N].
        sh_dc: [N,3].
    """

    means: Tensor
    log_scales: Tensor
    quats: Tensor
    opacity_logits: Tensor
    sh_dc: Tensor

    def __len__(self) -> int:
        return len(self.means)

    def tensors(self) -> tuple[Tensor, ...]:
        """The five tensors, in the order of the fields."""
        return (self.means, self.log_scales, self.quats, self.opacity_logits, self.sh_dc)

    def map(self, function: Callable[[Tensor], Tensor]) -> Cloud:
        """The cloud of the function's results."""
        return Cloud(*(function(tensor) for tensor in self.tensors()))

    def leaf(self) -> Cloud:
        """The same numbers, cut from any graph, for which gradients can be asked."""
        return self.map(lambda tensor: tensor.detach().clone().requires_grad_())

    @property
    def scales(self) -> Tensor:
        """[N,3] standard deviations."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """[N] in (0,1)."""
        return self.opacity_logits.sigmoid()

    @property
    def colors(self) -> Tensor:
        """[N,3] RGB, nominally in [0,1]."""
        return 0.5 + SH_C0 * self.sh_dc


@dataclass(frozen=True, eq=False)
class Training:
    """Parameters with the moments of their optimiser (Kingma and Ba, "Adam", algorithm 1).

    Attributes:
        cloud: the parameters; no gradient.
        first, second: exponential averages of gradients and of their squares.
        steps: taken so far, the same for all rows: a new row's averages start at zero and are
            corrected as if they were old, so that it begins with small steps.
    """

    cloud: Cloud
    first: Cloud
    second: Cloud
    steps: int = 0

    def __len__(self) -> int:
        return len(self.cloud)


def begin(cloud: Cloud) -> Training:
    """A training that has not taken a step."""
    cloud = cloud.map(lambda tensor: tensor.detach().clone())
    return Training(cloud, cloud.map(torch.zeros_like), cloud.map(torch.zeros_like))


def take(training: Training, rows: Tensor) -> Training:
    """The rows with these indices, or where this mask is true."""
    return Training(
        training.cloud.map(lambda tensor: tensor[rows]),
        training.first.map(lambda tensor: tensor[rows]),
        training.second.map(lambda tensor: tensor[rows]),
        training.steps,
    )


def append(training: Training, cloud: Cloud) -> Training:
    """New rows at the end, with moments of zero."""
    zeros = cloud.map(torch.zeros_like)
    return Training(
        _joined(training.cloud, cloud),
        _joined(training.first, zeros),
        _joined(training.second, zeros),
        training.steps,
    )


def adam(training: Training, gradients: Cloud, rates: Sequence[float]) -> Training:
    """One step of Adam.

    Args:
        training: before it.
        gradients: by the cloud's tensors; what is not finite counts as zero.
        rates: one for each field of ``Cloud``, in their order.
    """
    steps = training.steps + 1
    moved, firsts, seconds = [], [], []
    rows = zip(
        training.cloud.tensors(),
        training.first.tensors(),
        training.second.tensors(),
        gradients.tensors(),
        rates,
        strict=True,
    )
    for value, old_first, old_second, raw, rate in rows:
        gradient = torch.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
        first = torch.lerp(old_first, gradient, 1 - BETAS[0])
        second = old_second * BETAS[1] + gradient.square() * (1 - BETAS[1])
        spread = (second / (1 - BETAS[1] ** steps)).sqrt() + EPSILON
        moved.append(value - rate / (1 - BETAS[0] ** steps) * first / spread)
        firsts.append(first)
        seconds.append(second)
    return Training(Cloud(*moved), Cloud(*firsts), Cloud(*seconds), steps)


def from_gaussians(gaussians: Gaussians, device: torch.device | str = "cpu") -> Cloud:
    """A cloud of a splat; harmonics beyond the constant one are left out.

    Logits are held within +-8: beyond, the sigmoid's slope is too flat to come back from.
    """
    arrays = (
        gaussians.means,
        gaussians.log_scales,
        gaussians.quats,
        np.clip(gaussians.opacity_logits, -8.0, 8.0),
        gaussians.sh_dc,
    )
    return Cloud(*(torch.tensor(array, device=device) for array in arrays))


def to_gaussians(cloud: Cloud) -> Gaussians:
    """The splat of a cloud, float32, with quaternions of length one."""
    unit = torch.nn.functional.normalize(cloud.quats.detach(), dim=-1)
    columns = [np.asarray(tensor.detach().float().cpu().numpy()) for tensor in cloud.tensors()]
    named = dict(zip([field.name for field in fields(Cloud)], columns, strict=True))
    named["quats"] = np.asarray(unit.float().cpu().numpy())
    return Gaussians(**named, sh_rest=np.zeros((len(cloud), 0, 3), np.float32))


def _joined(one: Cloud, other: Cloud) -> Cloud:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    return Cloud(*(torch.cat(pair) for pair in pairs))
