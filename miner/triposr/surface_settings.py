"""The numbers of surface extraction and of the recipe that turns a surface into Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

from miner.errors import BadOption

MIN_GAUSSIANS = 7_000
"""The subnet refuses splats with fewer."""

MAX_GAUSSIANS = 500_000
"""What our codecs and viewers are tested with; far above what adds quality here."""


@dataclass(frozen=True)
class SurfaceSettings:
    """Where the surface lies, how finely it is sought, and how it is covered.

    Lengths in pixels mean pixels of the scorer's view, see ``discs.PIXEL``. The best inset of a
    view is about one of its own pixels: the default serves the scorer's 518 pixels and previews of
    256 nearly alike.

    Attributes:
        threshold: density of the isosurface, on the activated density, > 0.
        resolution: cells of the finest grid along each side of the box, ``base_resolution`` times
            a power of two.
        base_resolution: cells of the coarsest grid, all of whose points are asked.
        count: how many Gaussians are made.
        spread: tangential standard deviation over the mean spacing sqrt(area / count), where the
            surface is flat.
        flatness: standard deviation along the normal over the tangential one.
        inset_px: how far centres lie beneath the surface.
        opacity: of each Gaussian, in (0,1).
        newton_steps: corrections that carry samples of the mesh onto the isosurface.
        relax_rounds: rounds of mutual repulsion between the samples.
        island_share: parts of less than this share of the whole area are left out; 0 keeps all.
        drop_hidden: leave out what no camera around the object can see.

    Raises:
        BadOption: a number is out of its range; the text names it.
    """

    threshold: float = 25.0
    resolution: int = 256
    base_resolution: int = 64
    count: int = 40_000
    spread: float = 0.58
    flatness: float = 0.1
    inset_px: float = 1.5
    opacity: float = 0.99
    newton_steps: int = 2
    relax_rounds: int = 6
    island_share: float = 0.01
    drop_hidden: bool = True

    def __post_init__(self) -> None:
        if not MIN_GAUSSIANS <= self.count <= MAX_GAUSSIANS:
            raise BadOption(
                f"{self.count} Gaussians are not between {MIN_GAUSSIANS} and {MAX_GAUSSIANS}"
            )
        if self.base_resolution < 4 or not _is_doubled(self.base_resolution, self.resolution):
            raise BadOption(
                f"grid resolution {self.resolution} is not {self.base_resolution} "
                "(the base resolution, at least 4) times a power of two"
            )
        for name, low, high in (
            ("threshold", 0.0, 1e30),
            ("spread", 0.0, 10.0),
            ("flatness", 0.0, 1.0),
            ("inset_px", -1e-9, 100.0),
            ("opacity", 0.0, 1.0 - 1e-9),
            ("island_share", -1e-9, 0.5),
            ("newton_steps", -1, 100),
            ("relax_rounds", -1, 100),
        ):
            if not low < getattr(self, name) <= high:
                raise BadOption(f"{name} {getattr(self, name)} is out of its range")


def _is_doubled(base: int, resolution: int) -> bool:
    """Whether ``resolution`` is ``base`` doubled any number of times."""
    factor, rest = divmod(resolution, base)
    return factor >= 1 and rest == 0 and factor & (factor - 1) == 0
