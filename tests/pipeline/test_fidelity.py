"""The comparison of a splat with its field looks at both from the same place."""

from __future__ import annotations

import torch

from miner.pipeline.fidelity import VIEWS_DEG, compare
from miner.pipeline.pipeline import Pipeline
from miner.settings import SurfaceKeys


def test_a_splat_resembles_its_own_field_most(tiny_pipeline: Pipeline) -> None:
    """Each view has its figure, and another field's splat, or a shifted one, fits worse."""
    stage = tiny_pipeline.reconstructor
    pictures = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0)).numpy()
    keys = SurfaceKeys(count=20_000, resolution=64, base_resolution=32, threshold=3.0)
    codes = [stage.encode(picture) for picture in pictures]
    gaussians, surface = stage.to_gaussians(codes[0], keys, 0)
    own = compare(stage.model, codes[0], gaussians, surface, size_px=48)
    moved = type(gaussians)(
        **{**gaussians.__dict__, "means": gaussians.means + torch.tensor([0.3, 0, 0]).numpy()}
    )
    shifted = compare(stage.model, codes[0], moved, surface, size_px=48)

    assert len(own.psnr_by_view_db) == len(VIEWS_DEG)
    assert own.size_px == 48
    assert own.psnr_db > shifted.psnr_db
