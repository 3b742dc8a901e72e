"""Values of a memory plan: which part of the work lies where, in which numbers, and why.

Only the values, without torch, so that every process can read them: ``planner`` chooses them, the
worker obeys them, and the daemon shows them. All sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from miner.errors import ConfigError
from miner.settings.memory import Component, Precision, Residency

__all__ = [
    "COMPONENTS",
    "PAINTER_COMPONENTS",
    "PRECISIONS",
    "RESIDENCIES",
    "Card",
    "Component",
    "MemoryPlan",
    "Precision",
    "Residency",
    "StagePlan",
]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RESIDENCIES: tuple[Residency, ...] = get_args(Residency)
COMPONENTS: tuple[Component, ...] = get_args(Component)
PAINTER_COMPONENTS: tuple[Component, ...] = ("text_encoders", "transformer", "vae")
"""The parts of the text-to-image model; they change together with it."""


@dataclass(frozen=True)
class Card:
    """What the models run on.

    Attributes:
        name: for a person.
        total_bytes: of the GPU; of the machine where there is none.
        free_bytes: of it, what can be had now.
        capability: CUDA compute capability; None is a CPU.
        host_bytes: what can be had of the machine's memory, for parts that wait there.
    """

    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None
    host_bytes: int

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU, with memory of its own."""
        return self.capability is not None


@dataclass(frozen=True)
class StagePlan:
    """The plan for one component.

    Attributes:
        model: which model plays this part, for a person and the log.
        weight_bytes: of its weights in this precision, wherever they lie.
        peak_bytes: on the device while it runs, its own weights (or the part of them that is there
            at a time) and its activations; without what others hold.
        seconds: expected for one prompt, an estimate; None where nothing is known.
        reason: why this precision and residency, in one line.
        kept_bytes: held on the device beside the weights while others run, by a library that does
            not give its working memory back.
    """

    component: Component
    model: str
    precision: Precision
    residency: Residency
    weight_bytes: int
    peak_bytes: int
    seconds: float | None
    reason: str
    kept_bytes: int = 0

    @property
    def resident_bytes(self) -> int:
        """What it holds on the device while others run."""
        return self.weight_bytes + self.kept_bytes if self.residency == "resident" else 0


@dataclass(frozen=True)
class MemoryPlan:
    """The plan for a card.

    Attributes:
        stages: one for each component in use, in the order of ``COMPONENTS``.
        painter: the weights of the text-to-image model chosen, as the preset names them.
        peak_bytes: most on the device at once.
        limit_bytes: what the plan was allowed; ``peak_bytes`` is above it only with a warning.
        warnings: what could not be had as asked, and why; one line each.
    """

    card: Card
    stages: tuple[StagePlan, ...]
    painter: str
    peak_bytes: int
    limit_bytes: int
    warnings: tuple[str, ...] = field(default=())

    def of(self, component: str) -> StagePlan:
        """The plan for ``component``.

        Raises:
            KeyError: the preset does not use it.
        """
        for stage in self.stages:
            if stage.component == component:
                return stage
        raise KeyError(component)

    def uses(self, component: str) -> bool:
        """Whether the preset uses ``component``."""
        return any(stage.component == component for stage in self.stages)

    @property
    def seconds(self) -> float | None:
        """Expected for one prompt by all stages that say, an estimate; None where none does."""
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if known else None

    def as_json(self) -> dict[str, Any]:
        """As plain values that ``from_json`` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MemoryPlan:
        """The plan that ``as_json`` wrote, also after a way through JSON text.

        Raises:
            ConfigError: the values are no plan.
        """
        try:
            card = dict(values["card"])
            capability = card.pop("capability")
            return cls(
                card=Card(**card, capability=tuple(capability) if capability else None),
                stages=tuple(StagePlan(**stage) for stage in values["stages"]),
                painter=values["painter"],
                peak_bytes=values["peak_bytes"],
                limit_bytes=values["limit_bytes"],
                warnings=tuple(values["warnings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"no memory plan: {error}") from error
