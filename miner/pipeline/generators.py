"""The generators of one pipeline: loaded in their order, each where it waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from miner.errors import BadOutput, ConfigError, OutOfMemory, RequestError, StageError
from miner.gpu.device import Device
from miner.gpu.plan import MemoryPlan
from miner.gpu.weights import WeightStore
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.generator import (
    TRIPOSR,
    Call,
    Generator,
    GeneratorKind,
    Needs,
    Subject,
    find_generator,
)
from miner.pipeline.planned import planned_bytes
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.residence import Residence
from miner.settings import Preset, RollbackSettings
from miner.settings.memory import Residency

Loading = Callable[[str, str], AbstractContextManager[Path]]
"""Reads a reference (the second) as a timed stage (the first), and gives its path."""

log = logging.getLogger(__name__)


class Generators:
    """By name; the first is the one that a plan without a name means.

    Attributes:
        needs: what each makes its Gaussians of.
    """

    def __init__(
        self, residences: Mapping[str, Residence[Generator]], needs: Mapping[str, Needs]
    ) -> None:
        self.needs = needs
        self._residences = residences

    @classmethod
    def of(cls, reconstructor: Reconstructor, preset: Preset, device: Device) -> Generators:
        """A loaded TripoSR alone."""
        alone = ByTripoSR(reconstructor, preset.surface)
        residence: Residence[Generator] = Residence(lambda: alone, "resident", 0.0, device)
        return cls({TRIPOSR: residence}, {TRIPOSR: "picture"})

    @classmethod
    def load(
        cls,
        kinds: Mapping[str, GeneratorKind],
        preset: Preset,
        store: WeightStore,
        device: Device,
        loading: Loading,
        settings: RollbackSettings,
        plan: MemoryPlan | None = None,
    ) -> Generators:
        """Each where the plan has it wait; without one the first resident, others as set.

        Raises:
            WeightsError, DeviceError, OutOfMemory: as ``Pipeline.load``.
        """
        residences: dict[str, Residence[Generator]] = {}
        for name, kind in kinds.items():
            load = partial(kind.load, preset, store, device, partial(loading, name))
            residency: Residency = settings.residency if residences else "resident"
            if plan is not None and plan.uses(name):
                residency = plan.of(name).residency
            keep_seconds = settings.keep_seconds if residences else 0.0
            residences[name] = Residence(
                load,
                residency,
                keep_seconds,
                device,
                name=name,
                planned_bytes=planned_bytes(plan, name),
            )
        return cls(residences, {name: kind.needs(preset) for name, kind in kinds.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, the first one in front."""
        return tuple(self._residences)

    def stays(self, name: str) -> bool:
        """Whether the generator is on the device at any time, also while others work there."""
        return name in self._residences and self._residences[name].residency == "resident"

    def bring(self, name: str) -> Generator:
        """The generator, on the device."""
        return self._residences[name].bring()

    def homes(self) -> Iterable[Residence[Generator]]:
        """Where each waits."""
        return self._residences.values()

    def put_around(self, name: str, wrap: Callable[[str, Generator], Generator]) -> None:
        """Has something stand in front of a generator."""
        self._residences[name].put_around(partial(wrap, name))

    def used(self, name: str) -> None:
        """A job with it ended."""
        self._residences[name].used()

    def warm_up(self, subject: Subject, call: Call, besides: str) -> None:
        """The first small work of generators that stay on the device and have such a thing.

        One that waits elsewhere is not brought for it. A failure leaves the generator as it is: its
        first job will show whether it can work.

        Args:
            subject: what a job before it was about.
            call: of that job.
            besides: the generator that did that job, and is warm.

        Raises:
            OutOfMemory: memory ran out, so the plan does not fit.
        """
        for name, residence in self._residences.items():
            if name == besides or residence.residency != "resident":
                continue
            first = getattr(residence.bring(), "warm_up", None)
            if first is None:
                continue
            try:
                first(subject, call)
            except OutOfMemory:
                raise
            except (StageError, RequestError) as error:
                level = logging.INFO if isinstance(error, BadOutput) else logging.WARNING
                log.log(level, "the first work of %s: %s", name, error)
            finally:
                residence.used()

    def rest(self) -> None:
        """Takes away what was not used for long; to be called between jobs."""
        for residence in self._residences.values():
            residence.rest()


def kinds_for(preset: Preset, settings: RollbackSettings | None) -> dict[str, GeneratorKind]:
    """Kinds by name: the primary, and the one to roll back to where the preset offers it.

    Raises:
        ConfigError: there is no generator of a name, or the primary is not offered.
    """
    if settings is None:
        return {TRIPOSR: find_generator(TRIPOSR)}
    primary = find_generator(settings.primary)
    if not primary.offered(preset):
        raise ConfigError(f"preset {preset.name} does not say how to run {settings.primary}")
    kinds = {settings.primary: primary}
    if settings.generator:
        other = find_generator(settings.generator)
        if other.offered(preset):
            kinds[settings.generator] = other
    return kinds
