"""TripoSR: one picture to a triplane, and the field that the triplane holds.

The model of Tochilkin et al. 2024 (arXiv 2403.02151), written from the paper and the published
configuration, with the state-dict names of stabilityai/TripoSR. Points are in TripoSR's native
frame: x towards the camera that took the picture, y to its right, z up; the scene frame is
(X,Y,Z) = (y,z,x).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miner.geometry.cameras import Camera
from miner.triposr.checkpoint import read_weights, write_weights
from miner.triposr.config import TripoSRConfig
from miner.triposr.config_files import load_config, write_config
from miner.triposr.decoder import PointDecoder, activate_color, activate_density
from miner.triposr.field import TriplaneField
from miner.triposr.image_tokens import ImageTokenizer
from miner.triposr.transformer import Backbone
from miner.triposr.triplane import (
    TriplaneTokens,
    TriplaneUpsampler,
    sample_planes,
    to_plane_coordinates,
)
from miner.triposr.volume import render_rays, scene_to_native


class TripoSR(nn.Module):
    """The network, built with random weights ready to train; ``load`` reads published ones."""

    def __init__(self, config: TripoSRConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tokenizer = ImageTokenizer(config.vit)
        self.tokenizer = TriplaneTokens(config.tokenizer)
        self.backbone = Backbone(config.backbone)
        self.post_processor = TriplaneUpsampler(config.post_processor)
        self.decoder = PointDecoder(config.decoder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """The model in a folder of the published layout, in evaluation mode, parameters frozen.

        Nothing is initialised first, and tensors that need no conversion stay mapped from the file.
        Frozen parameters keep a query outside ``no_grad`` from recording itself; to go on training,
        call ``requires_grad_()``.

        Args:
            folder: holds ``config.yaml``, ``model.safetensors`` or ``model.ckpt``, and
                ``vit_config.json`` unless the image tokenizer is DINO ViT-B/16.
            device: where the weights go.
            dtype: what they are converted to, whatever the file holds.

        Raises:
            ConfigError: the configuration is missing, malformed or of another kind of model.
            WeightsError: the weights are missing, damaged, or not those of the configuration.
        """
        folder = Path(folder)
        with torch.device("meta"):
            model = cls(load_config(folder))
        state = read_weights(folder, model.state_dict())
        state = {name: tensor.to(device, dtype) for name, tensor in state.items()}
        model.load_state_dict(state, assign=True)
        return model.eval().requires_grad_(False)

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write ``config.yaml``, ``vit_config.json`` and ``model.safetensors`` for ``load``.

        Args:
            folder: made where it is missing; files in it are replaced.
            dtype: of the tensors on disk; float16 halves the file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, self.config)
        write_weights(folder, self.state_dict(), dtype)

    @property
    def radius(self) -> float:
        """Half the side of the box that holds the field, in native units."""
        return self.config.renderer.radius

    def encode(self, rgb: Tensor) -> Tensor:
        """Scene codes of pictures. Differentiable.

        Args:
            rgb: [B,H,W,3] float in [0,1], cut-outs composited on grey; of any size, square pictures
                keep their proportions.

        Returns:
            [B,3,C,R,R] in the model's dtype.
        """
        if rgb.ndim != 4 or rgb.shape[-1] != 3:
            raise ValueError(f"pictures are {list(rgb.shape)}, not [B,H,W,3]")
        tokens: Tensor = self.image_tokenizer(self.condition(rgb))
        triplane = self.tokenizer(len(rgb))
        planes = self.tokenizer.fold(self.backbone(triplane, tokens))
        codes: Tensor = self.post_processor(planes)
        return codes

    def condition(self, rgb: Tensor) -> Tensor:
        """Pictures [B,H,W,3] resized to [B,S,S,3], bilinear and antialiased."""
        size = self.config.cond_image_size
        if rgb.shape[1:3] == (size, size):
            return rgb
        resized = F.interpolate(
            rgb.float().permute(0, 3, 1, 2),
            (size, size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return resized.permute(0, 2, 3, 1)

    def decode_points(self, codes: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Raw field values of a batch, before activation. Differentiable; nothing is split.

        Args:
            codes: [B,3,C,R,R].
            xyz: [B,N,3] native, within the box.

        Returns:
            Raw density [B,N,1] and raw colour [B,N,3], float32.
        """
        features = sample_planes(codes, to_plane_coordinates(xyz, self.radius))
        raw: tuple[Tensor, Tensor] = self.decoder(features.flatten(1, 2).transpose(1, 2))
        return raw

    def query(self, codes: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """The field of one scene at points. Differentiable.

        Args:
            codes: [3,C,R,R], one element of what ``encode`` returns.
            xyz: [N,3] native, in [-radius,radius]^3.

        Returns:
            Activated density [N,1] and colour [N,3] in [0,1], float32.
        """
        density, color = self.decode_points(codes[None], xyz[None])
        bias = self.config.renderer.density_bias
        return activate_density(density[0], bias), activate_color(color[0])

    def field(self, codes: Tensor, chunk: int | None = None) -> TriplaneField:
        """The field of one scene, made ready for many points: what the surface and pictures read.

        Args:
            codes: [3,C,R,R], one element of what ``encode`` returns.
            chunk: points computed at a time; what suits the device when not given.
        """
        return TriplaneField(codes, self.decoder, self.config.renderer, chunk)

    @torch.no_grad()
    def render(self, codes: Tensor, camera: Camera) -> Tensor:
        """A picture of one scene by volume rendering, on white.

        Args:
            codes: [3,C,R,R], one element of what ``encode`` returns.
            camera: in the scene frame, distances in TripoSR's units.

        Returns:
            [H,W,3] float32 in [0,1] on the device of the codes.
        """
        origins, directions = (scene_to_native(rays) for rays in camera.rays(codes.device))
        samples = self.config.renderer.num_samples_per_ray
        colors = render_rays(
            self.field(codes), origins.reshape(-1, 3), directions.reshape(-1, 3), samples
        )
        return colors.reshape(camera.height, camera.width, 3)
