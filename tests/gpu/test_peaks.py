"""Peaks by component: measured around each use of a model, and set beside the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from miner.gpu.device import Device
from miner.gpu.measured import compare, peaks_of
from miner.pipeline.residence import Residence
from miner.settings.memory import Residency
from tests.fakes.cards import GIB, FakeCard, fake_card
from tests.pipeline.plans import plan


class Held:
    """A model that holds a GiB of a card while it is there."""

    def __init__(self, card: FakeCard) -> None:
        self._card = card
        card.meter.take(GIB)

    def park(self) -> None:
        self._card.meter.take(-GIB)

    def wake(self) -> None:
        self._card.meter.take(GIB)

    def run(self, activations: int) -> None:
        self._card.meter.take(activations)
        self._card.meter.take(-activations)


class Session:
    """A model whose memory torch does not see."""

    def __init__(self, card: FakeCard) -> None:
        self._card = card

    def park(self) -> None:
        """Nothing moves."""

    def wake(self) -> None:
        """Likewise."""

    def run(self, held: int) -> None:
        """Leaves so many bytes on the device."""
        self._card.beside.take(held - self._card.beside.now)


def home(card: FakeCard, name: str, residency: Residency) -> Residence[Held]:
    return Residence(lambda: Held(card), residency, 0.0, card, name=name)


def test_each_component_has_the_peak_of_its_own_runs() -> None:
    """With what others hold meanwhile; the most of all runs, and the most since the beginning."""
    card = fake_card()
    vae, triposr = home(card, "vae", "resident"), home(card, "triposr", "host")
    for activations in (2 * GIB, 5 * GIB, GIB):
        with vae.in_use() as model:
            model.run(activations)
    with triposr.in_use() as model:
        model.run(GIB)

    assert card.peak_readings() == {
        "gpu_peak": 6 * GIB,
        "gpu_peak_of_vae": 6 * GIB,
        "gpu_peak_of_triposr": 3 * GIB,
    }


def test_what_torch_does_not_see_is_read_of_the_device() -> None:
    """Matting's figure is torch's tensors and what the process holds outside torch after a run."""
    card = fake_card()
    card.meter.take(2 * GIB)
    matting = Residence(lambda: Session(card), "resident", 0.0, card, name="matting")
    for held in (3 * GIB, GIB):  # the first run keeps its memory, the next hands it back
        with matting.in_use() as model:
            model.run(held)

    assert card.peak_readings() == {"gpu_peak": 2 * GIB, "gpu_peak_of_matting": 5 * GIB}


def test_what_lies_outside_torch_counts_for_its_own_component_alone() -> None:
    """The others' figures stay those of torch's tensors, whatever else the device holds."""
    card = fake_card()
    card.beside.take(4 * GIB)
    with home(card, "vae", "resident").in_use():
        pass

    assert card.peak_readings()["gpu_peak_of_vae"] == GIB


def test_a_cpu_has_no_peaks() -> None:
    """A process's memory holds more than its models."""
    device = Device(torch.device("cpu"), "cpu")
    device.reset_peak()
    device.note_peak("vae")

    assert device.peak_readings() == device.memory() == device.peaks == {}


def test_readings_come_to_figures_beside_the_plan() -> None:
    """What was measured for a component is told without what the plan leaves to others."""
    one_gib: dict[str, Any] = {"weight_bytes": GIB, "peak_bytes": 2 * GIB}
    planned = plan(residency_of={"triposr": "host"})
    stages = tuple(replace(planned.of(name), **one_gib) for name in ("vae", "triposr"))
    memory = {"resident": 9, "gpu_peak": 5 * GIB}
    memory |= {"gpu_peak_of_vae": 3 * GIB, "gpu_peak_of_triposr": 2 * GIB}
    found = compare(replace(planned, stages=stages, peak_bytes=3 * GIB), peaks_of(memory))

    assert [(one.what, one.planned_bytes, one.measured_bytes, one.own_bytes) for one in found] == [
        ("all", 3 * GIB, 5 * GIB, 5 * GIB),
        ("vae", 2 * GIB, 3 * GIB, 3 * GIB),
        ("triposr", 3 * GIB, 2 * GIB, GIB),
    ]
