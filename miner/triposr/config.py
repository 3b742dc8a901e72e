"""Sizes of a TripoSR, as values; ``config_files`` reads and writes them.

The names of sections and keys are those of stabilityai/TripoSR. A few keys are ours (marked below):
they let a smaller relative use overlapping upsampling or a thinner feed-forward, and their defaults
are what the published model has. A key that is not known here is an error, because it would mean
that the weights were trained for a network other than the one that is built.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

DINO_VITB16 = "facebook/dino-vitb16"
"""The published image tokenizer, whose sizes are the defaults of ``VitConfig``."""


def _divides(name: str, divisor: int, whole_name: str, whole: int) -> None:
    if whole % divisor:
        raise ValueError(f"{name} {divisor} does not divide {whole_name} {whole}")


def _equal(name: str, value: int, wanted: int) -> None:
    if value != wanted:
        raise ValueError(f"{name} is {value}, the other sections make it {wanted}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VitConfig(_Section):
    """Sizes of the image tokenizer, under the names of its published JSON. Defaults: DINO ViT-B/16.

    Attributes:
        image_size: side in pixels for which the position embeddings were trained.
        hidden_act: only the erf form of GELU is known.
    """

    hidden_size: PositiveInt = 768
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    patch_size: PositiveInt = 16
    image_size: PositiveInt = 224
    num_channels: Literal[3] = 3
    layer_norm_eps: PositiveFloat = 1e-12
    qkv_bias: bool = True
    hidden_act: Literal["gelu"] = "gelu"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)
        _divides("patch_size", self.patch_size, "image_size", self.image_size)
        return self


class ImageTokenizerConfig(_Section):
    """Where the tokenizer came from: a name, kept because the published file has it."""

    pretrained_model_name_or_path: str = DINO_VITB16


class TriplaneConfig(_Section):
    """The learned triplane tokens: 3 x ``plane_size`` x ``plane_size`` of ``num_channels``."""

    plane_size: PositiveInt = 32
    num_channels: PositiveInt = 1024


class BackboneConfig(_Section):
    """The transformer from triplane tokens, attending to image tokens.

    Attributes:
        norm_num_groups: groups of the normalisation before the first block (not in the published
            file, where the default holds).
        feed_forward_mult: width of the feed-forward over that of the block (ours).
    """

    in_channels: PositiveInt = 1024
    num_attention_heads: PositiveInt = 16
    attention_head_dim: PositiveInt = 64
    num_layers: PositiveInt = 16
    cross_attention_dim: PositiveInt = 768
    norm_num_groups: PositiveInt = 32
    feed_forward_mult: PositiveInt = 4

    @property
    def inner_dim(self) -> int:
        """Channels inside the blocks."""
        return self.num_attention_heads * self.attention_head_dim

    @model_validator(mode="after")
    def _check(self) -> Self:
        _divides("norm_num_groups", self.norm_num_groups, "in_channels", self.in_channels)
        return self


class UpsamplerConfig(_Section):
    """The transposed convolution from tokens to planes; kernel, stride and padding are ours.

    Attributes:
        kernel_size: wider than the stride, it overlaps its neighbours and leaves no cell pattern.
    """

    in_channels: PositiveInt = 1024
    out_channels: PositiveInt = 40
    kernel_size: PositiveInt = 2
    stride: PositiveInt = 2
    padding: NonNegativeInt = 0

    def out_size(self, size: int) -> int:
        """Side of the planes made from ``size`` x ``size`` tokens."""
        return (size - 1) * self.stride - 2 * self.padding + self.kernel_size


class DecoderConfig(_Section):
    """The MLP from the three planes' features to density and colour.

    Attributes:
        n_hidden_layers: linear layers with an activation after them; one more makes the output.
    """

    in_channels: PositiveInt = 120
    n_neurons: PositiveInt = 64
    n_hidden_layers: PositiveInt = 9
    activation: Literal["silu"] = "silu"


class RendererConfig(_Section):
    """How features become a field, and the field a picture.

    Attributes:
        radius: half the side of the box that holds the field, in native units.
        density_bias: added to the raw density before its activation.
    """

    radius: PositiveFloat = 0.87
    feature_reduction: Literal["concat"] = "concat"
    density_activation: Literal["exp"] = "exp"
    density_bias: float = -1.0
    color_activation: Literal["sigmoid"] = "sigmoid"
    num_samples_per_ray: PositiveInt = 128


class TripoSRConfig(_Section):
    """Everything needed to build a TripoSR. The defaults are the published model.

    Attributes:
        cond_image_size: side in pixels of the square picture that is encoded.
        vit: sizes of the image tokenizer; a file of its own on disk.

    Raises:
        pydantic.ValidationError: sizes that do not fit one another; ``config_files`` translates it.
    """

    cond_image_size: PositiveInt = 512
    image_tokenizer: ImageTokenizerConfig = ImageTokenizerConfig()
    tokenizer: TriplaneConfig = TriplaneConfig()
    backbone: BackboneConfig = BackboneConfig()
    post_processor: UpsamplerConfig = UpsamplerConfig()
    decoder: DecoderConfig = DecoderConfig()
    renderer: RendererConfig = RendererConfig()
    vit: VitConfig = VitConfig()

    @property
    def plane_resolution(self) -> int:
        """Side R of the planes in scene codes [B,3,C,R,R]."""
        return self.post_processor.out_size(self.tokenizer.plane_size)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _equal("backbone.in_channels", self.backbone.in_channels, self.tokenizer.num_channels)
        _equal(
            "backbone.cross_attention_dim", self.backbone.cross_attention_dim, self.vit.hidden_size
        )
        _equal(
            "post_processor.in_channels", self.post_processor.in_channels, self.backbone.in_channels
        )
        _equal(
            "decoder.in_channels", self.decoder.in_channels, 3 * self.post_processor.out_channels
        )
        _divides("vit.patch_size", self.vit.patch_size, "cond_image_size", self.cond_image_size)
        if self.plane_resolution < 1:
            raise ValueError("post_processor.padding leaves no plane")
        return self
