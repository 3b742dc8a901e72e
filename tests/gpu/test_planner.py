"""The planner: what each card gets, and rules that hold for all cards."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.errors import DeviceError
from miner.gpu.capability import assume_installed
from miner.gpu.catalogue import load_catalogue
from miner.gpu.plan import Card, Component, MemoryPlan, Precision, Residency
from miner.gpu.planner import Planner, make_plan
from miner.gpu.usual_cards import USUAL_CARDS, preset_for
from miner.settings import (
    MemorySettings,
    Preset,
    RollbackSettings,
    load_settings,
    preset_names,
)

GIB = 1024**3
CATALOGUE = load_catalogue()
FLUX = load_settings("flux-schnell", environ={}).preset
PAINTING: tuple[Component, ...] = ("text_encoders", "transformer")

Capability = tuple[int, int] | None


def card(vram: float, capability: Capability = (8, 9), host: float = 64) -> Card:
    """A card of so many GiB, all free."""
    size = int(vram * GIB)
    return Card("a card", size, size, capability, int(host * GIB))


def plan(
    on: Card, preset: Preset = FLUX, memory: MemorySettings | None = None, **more: Residency
) -> MemoryPlan:
    """The plan with every library there."""
    return make_plan(on, preset, memory, catalogue=CATALOGUE, **more)


def places(made: MemoryPlan) -> dict[str, str]:
    """Precision and residency by component."""
    return {stage.component: f"{stage.precision} {stage.residency}" for stage in made.stages}


@pytest.mark.parametrize(
    ("vram", "capability", "host", "text", "transformer", "triposr"),
    [
        (141, (9, 0), 512, "bf16 resident", "bf16 resident", "fp32 resident"),
        (80, (8, 0), 128, "bf16 resident", "bf16 resident", "fp32 resident"),
        (48, (8, 9), 128, "bf16 resident", "bf16 resident", "fp32 resident"),
        (32, (12, 0), 64, "bf16 resident", "int8 resident", "fp32 resident"),
        (24, (8, 9), 64, "int8 resident", "int8 resident", "fp32 resident"),
        (24, (8, 6), 64, "int8 resident", "int8 resident", "fp32 resident"),
        (16, (8, 9), 32, "nf4 resident", "nf4 resident", "fp32 resident"),
        (12, (8, 9), 32, "nf4 host", "nf4 resident", "fp32 host"),
        (8, (8, 9), 64, "nf4 host", "nf4 host", "fp32 host"),
        (7, (8, 6), 24, "int8 host", "int8 streamed", "fp32 host"),
        (12, (8, 9), 3, "nf4 segmented", "nf4 resident", "fp32 segmented"),
    ],
)
def test_the_full_size_models_on_cards_of_each_size(
    vram: float, capability: Capability, host: float, text: str, transformer: str, triposr: str
) -> None:
    """Resident before quantised before waiting on the host before streamed before segmented."""
    made = plan(card(vram, capability, host))
    found = places(made)

    assert (found["text_encoders"], found["transformer"], found["triposr"]) == (
        text,
        transformer,
        triposr,
    )
    assert made.painter == "flux-schnell"
    assert made.peak_bytes <= made.limit_bytes
    assert made.warnings == ()


def test_a_card_of_12_gb_is_expected_near_one_of_24() -> None:
    """At most 1.3 times the time, by the estimates: what waits on the host comes from pinned memory
    and costs nothing to send away."""
    small, large = plan(card(12, host=32)).seconds, plan(card(24)).seconds
    assert small is not None
    assert large is not None
    assert large < small <= 1.3 * large


def test_a_small_card_in_a_small_machine_gets_a_smaller_painter() -> None:
    """Where FLUX fits in no way Stable Diffusion 1.5 paints, and a warning says why."""
    made = plan(card(4, (7, 5), 16))

    assert made.painter == "stable-diffusion-1.5"
    assert made.of("transformer").model == "Stable Diffusion 1.5"
    assert made.peak_bytes <= made.limit_bytes
    assert "flux-schnell fits in no way" in made.warnings[0]


def test_no_smaller_painter_where_that_is_not_allowed() -> None:
    """Then the plan is over its limit, and says so."""
    made = plan(card(4, (7, 5), 16), memory=MemorySettings(allow_smaller_painter=False))

    assert made.painter == "flux-schnell"
    assert made.peak_bytes > made.limit_bytes or made.warnings
    assert any("nothing fits" in text for text in made.warnings)


def test_the_embedded_preset_is_resident_in_single_precision() -> None:
    """The miniature gains nothing from fewer bits, on any device."""
    mini = load_settings("mini", environ={}).preset
    for on in (card(1, None, 1), card(2, (7, 5)), card(141, (9, 0))):
        assert set(places(plan(on, mini)).values()) == {"fp32 resident"}


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("on", USUAL_CARDS, ids=lambda on: on.name)
def test_every_shipped_preset_fits_every_usual_card(preset: str, on: Card) -> None:
    """No preset and no usual card lead to a plan over its limit, and all weights are known."""
    made = plan(on, load_settings(preset, environ={}).preset)

    assert made.peak_bytes <= made.limit_bytes
    assert not any("nothing is known" in text for text in made.warnings)


def test_a_card_before_ampere_computes_in_fp16_and_its_t5_in_fp32() -> None:
    """bf16 is not there, and T5 overflows in fp16; both are said."""
    made = plan(card(48, (7, 5), 128))

    assert places(made)["transformer"] == "fp16 resident"
    assert places(made)["text_encoders"] == "fp32 resident"
    assert "bf16: needs compute capability 8.0, this card has 7.5" in made.of("transformer").reason
    assert "fp16: this component cannot have it" in made.of("text_encoders").reason


@pytest.mark.parametrize(
    ("wanted", "capability", "got", "why"),
    [
        ("bf16", (7, 5), "fp16", "bf16: needs compute capability 8.0"),
        ("nf4", None, "int8", "nf4: bitsandbytes computes on CUDA only"),
        ("fp16", None, "bf16", "fp16: a CPU has no arithmetic"),
    ],
)
def test_what_a_card_cannot_do_falls_back_with_a_reason(
    wanted: Precision, capability: Capability, got: str, why: str
) -> None:
    """A precision that cannot be had becomes the nearest one, in the plan and in a warning."""
    memory = MemorySettings(precision_of={"transformer": wanted})
    made = plan(card(100, capability, 100), memory=memory)

    assert made.of("transformer").precision == got
    assert why in made.of("transformer").reason
    assert any(why in text for text in made.warnings)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("", "nf4 host"), ("bitsandbytes", "int8 streamed")],
)
def test_a_library_that_is_not_there_is_not_planned_with(missing: str, expected: str) -> None:
    """Without bitsandbytes nf4 is no choice, and 8 bits are streamed to a card of 8 GB."""
    made = make_plan(card(8), FLUX, installed=lambda name: name != missing)

    assert places(made)["transformer"] == expected


@pytest.mark.parametrize("on", USUAL_CARDS, ids=lambda on: on.name)
def test_fp8_is_never_chosen(on: Card) -> None:
    """It takes the bytes of int8 and is rougher; a wish for it is kept."""
    wish = MemorySettings(precision_of={"transformer": "fp8"})

    assert all(stage.precision != "fp8" for stage in plan(on).stages)
    if on.total_bytes >= 15 * GIB:
        assert plan(on, memory=wish).of("transformer").precision == "fp8"


def test_cards_of_8_gb_keep_flux() -> None:
    """What is really free on them holds FLUX in 4 bits, waiting on the host, matting on the CPU; in
    8 bits, streamed, where bitsandbytes is missing."""
    eight = [on for on in USUAL_CARDS if 7 * GIB < on.total_bytes < 8 * GIB]
    for on in eight:
        preset = load_settings(preset_for(on), environ={}).preset
        made = plan(on, preset)
        assert made.painter == "flux-schnell"
        assert places(made)["transformer"] == "nf4 host"
        assert places(made)["matting"] == "fp32 cpu"
        bare = make_plan(on, preset, installed=lambda name: name != "bitsandbytes")
        assert places(bare)["transformer"] == "int8 streamed"
    assert len(eight) == 2


def test_matting_goes_to_the_cpu_before_anything_is_streamed() -> None:
    """It takes a second there; a streamed transformer takes that at each step."""
    planner = Planner(FLUX, MemorySettings(), RollbackSettings(), assume_installed, CATALOGUE)
    order = [fit.rung.residency for _, fit in planner.candidates(card(8))]
    streamed = next(i for i, places in enumerate(order) if "streamed" in places.values())
    on_cpu = next(i for i, places in enumerate(order) if places["matting"] == "cpu")

    assert on_cpu < streamed
    assert all(places["matting"] == "cpu" for places in order if "streamed" in places.values())


def test_the_first_streamed_plan_has_the_fewest_bytes() -> None:
    """A step takes as long as its bytes travel."""
    planner = Planner(FLUX, MemorySettings(), RollbackSettings(), assume_installed, CATALOGUE)
    first = next(
        fit.rung
        for _, fit in planner.candidates(card(8))
        if fit.rung.residency["transformer"] == "streamed"
    )

    assert first.precision["transformer"] == "int8"


def test_what_a_library_keeps_is_counted_while_others_run() -> None:
    """onnxruntime's arena stays beside the painter, and the peak of 24 GB is below 20 GiB."""
    on = next(one for one in USUAL_CARDS if one.name == "RTX 4090")
    made = plan(on)
    matting = made.of("matting")
    without = sum(s.weight_bytes for s in made.stages if s.component != "matting")
    vae = made.of("vae")

    assert matting.kept_bytes >= 300_000_000
    assert matting.resident_bytes == matting.weight_bytes + matting.kept_bytes
    assert made.peak_bytes == without - vae.weight_bytes + vae.peak_bytes + matting.resident_bytes
    assert made.peak_bytes <= 20 * GIB


def test_quantised_t5_is_wide_where_there_is_no_bf16() -> None:
    """Before Ampere it computes in fp32, and its embedding takes four bytes a weight."""
    old, new = (plan(card(12, able)).of("text_encoders") for able in ((7, 5), (8, 6)))
    part = CATALOGUE["flux-schnell"].parts["text_encoders"]

    assert old.precision == new.precision == "nf4"
    assert old.weight_bytes - new.weight_bytes == 2 * (part.params - part.quantised)


def test_a_wish_for_all_holds_for_what_can_have_it() -> None:
    """nf4 for all is nf4 for the large networks; the others keep their own precision, silently."""
    made = plan(card(48), memory=MemorySettings(precision="nf4"))

    assert places(made)["transformer"] == places(made)["text_encoders"] == "nf4 resident"
    assert made.of("vae").precision == "bf16"
    assert made.of("transformer").reason.startswith("as set")
    assert made.warnings == ()


def test_a_dtype_of_the_preset_is_the_components_own_precision() -> None:
    """A preset that names float16 is planned in it where it fits."""
    preset = load_settings("flux-schnell", {"reconstruct": {"dtype": "bfloat16"}}, {}).preset

    assert places(plan(card(48), preset))["triposr"] == "bf16 resident"


def test_a_wish_that_does_not_fit_is_refused_with_a_reason() -> None:
    """All resident in fp32 on 12 GiB cannot be; the plan is made without the wish and says so."""
    memory = MemorySettings(precision="fp32", residency_of=dict.fromkeys(PAINTING, "resident"))
    made = plan(card(12), memory=memory)

    assert made.peak_bytes <= made.limit_bytes
    assert made.painter == "flux-schnell"
    assert "asked for does not fit" in made.warnings[0]


def test_host_and_device_are_one_memory_on_a_cpu() -> None:
    """Waiting on the host is being resident there, and a warning says so."""
    memory = MemorySettings(residency_of={"transformer": "host"})
    made = plan(card(128, None, 128), memory=memory)

    assert made.of("transformer").residency == "resident"
    assert any("same memory on a CPU" in text for text in made.warnings)


def test_the_rollback_generator_waits_where_its_settings_say() -> None:
    """At the nearest; where room is short it is farther away."""
    preset = load_settings("flux-schnell", {"dreamgaussian": {"config": "fast"}}, {}).preset

    assert plan(card(80), preset).of("dreamgaussian").residency == "resident"
    on_disk = plan(card(80), preset, rollback=RollbackSettings(residency="disk"))
    assert on_disk.of("dreamgaussian").residency == "disk"
    assert plan(card(16), preset).of("dreamgaussian").residency == "host"


def test_a_generator_alone_leaves_its_room_to_others() -> None:
    """What a worker does not hold is not planned for; alone, the other one is no reserve."""
    preset = load_settings("flux-schnell", {"dreamgaussian": {"config": "fast"}}, {}).preset
    both = RollbackSettings(residency="disk")
    first, other = (plan(card(80), preset, rollback=both.alone(name)) for name in both.names)

    assert first.uses("triposr")
    assert not first.uses("dreamgaussian")
    assert not other.uses("triposr")
    assert other.of("dreamgaussian").residency == "resident"
    assert first.peak_bytes < plan(card(80), preset).peak_bytes


def test_unknown_weights_count_as_nothing_and_are_named() -> None:
    """A model of the operator's own is planned as if it were small, with a warning."""
    preset = load_settings("flux-schnell", {"text_to_image": {"weights": "/my/own"}}, {}).preset
    made = plan(card(24), preset)

    assert made.of("transformer").weight_bytes == 0
    assert any("/my/own: nothing is known" in text for text in made.warnings)


def test_a_card_without_kernels_is_refused_with_what_to_install() -> None:
    """Below 7.5 torch's wheels compute nothing; the older build that does is named."""
    with pytest.raises(DeviceError, match=r"a card: .*6\.1.*CUDA 12\.6"):
        plan(card(11, (6, 1)))


def test_a_card_that_onnxruntime_has_no_kernels_for_mats_on_the_cpu() -> None:
    """Whatever the memory, and the plan says why."""
    made = plan(card(180, (10, 0), 512))

    assert places(made)["matting"] == "fp32 cpu"
    assert "no kernels" in made.of("matting").reason
    assert places(made)["transformer"] == "bf16 resident"


def test_what_knows_no_finite_fp16_computes_in_fp32() -> None:
    """A GTX 16xx makes NaN of UNet and VAE in fp16; another card of 7.5 does not."""
    preset = load_settings("gpu-4gb", environ={}).preset
    small = Card("NVIDIA GeForce GTX 1650", 4 * GIB, int(3.6 * GIB), (7, 5), 16 * GIB)
    other = Card("Tesla T4", 4 * GIB, int(3.6 * GIB), (7, 5), 16 * GIB)

    assert {places(plan(small, preset))[name].split()[0] for name in ("transformer", "vae")} == {
        "fp32"
    }
    assert places(plan(other, preset))["transformer"].split()[0] == "fp16"


def test_a_limit_is_kept_below_what_the_card_has() -> None:
    """limit_bytes plays a smaller card."""
    made = plan(card(141, (9, 0)), memory=MemorySettings(limit_bytes=12 * GIB))

    assert made.limit_bytes == 12 * GIB
    assert made.peak_bytes <= 12 * GIB


def test_a_plan_survives_json() -> None:
    """What the worker sends is what the daemon reads."""
    made = plan(card(4, (7, 5), 16))

    assert MemoryPlan.from_json(json.loads(json.dumps(made.as_json()))) == made


CAPABILITIES = st.sampled_from([None, (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)])
SIZES = st.floats(min_value=0.5, max_value=200)
PRESETS = st.sampled_from([load_settings(n, environ={}).preset for n in preset_names()])
WISHES = st.builds(
    MemorySettings,
    precision=st.sampled_from(["auto", "fp32", "fp16", "bf16", "fp8", "int8", "nf4"]),
    precision_of=st.dictionaries(
        st.sampled_from(PAINTING), st.sampled_from(["fp32", "bf16", "fp8", "int8", "nf4"])
    ),
    residency_of=st.dictionaries(
        st.sampled_from(PAINTING), st.sampled_from(["resident", "host", "streamed", "segmented"])
    ),
    allow_smaller_painter=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(vram=SIZES, host=SIZES, capability=CAPABILITIES, preset=PRESETS, memory=WISHES)
def test_never_over_the_limit_without_saying_so(
    vram: float, host: float, capability: Capability, preset: Preset, memory: MemorySettings
) -> None:
    """A plan fits both memories, or its warnings say that nothing does."""
    made = plan(card(vram, capability, host), preset, memory)
    waiting = sum(s.weight_bytes for s in made.stages if s.residency in ("host", "streamed", "cpu"))

    if made.peak_bytes > made.limit_bytes or waiting > made.card.host_bytes:
        assert any("nothing fits" in text for text in made.warnings)
    assert all(stage.reason and "\n" not in stage.reason for stage in made.stages)


@settings(max_examples=150, deadline=None)
@given(vram=SIZES, host=SIZES, more=st.floats(0, 100), capability=CAPABILITIES, memory=WISHES)
def test_more_memory_never_makes_a_plan_worse(
    vram: float, host: float, more: float, capability: Capability, memory: MemorySettings
) -> None:
    """The plan for a larger card or machine comes no later in the order of preference."""
    planner = Planner(FLUX, memory, RollbackSettings(), assume_installed, CATALOGUE)

    def place(on: Card) -> int:
        every = list(planner.candidates(on))
        fitting = (i for i, (setting, fit) in enumerate(every) if fit.has_room(setting))
        return next(fitting, len(every))

    here = place(card(vram, capability, host))
    assert place(card(vram + more, capability, host)) <= here
    assert place(card(vram, capability, host + more)) <= here


@settings(max_examples=150, deadline=None)
@given(vram=SIZES, host=SIZES, capability=CAPABILITIES, memory=WISHES)
def test_a_wish_is_kept_or_refused_with_a_reason(
    vram: float, host: float, capability: Capability, memory: MemorySettings
) -> None:
    """What the plan has instead of what was asked for stands in a warning."""
    made = plan(card(vram, capability, host), memory=memory)
    for name in PAINTING:
        stage = made.of(name)
        asked = memory.precision_of.get(name)
        if asked is not None and stage.precision != asked:
            assert made.warnings
        place = memory.residency_of.get(name)
        if place is not None and stage.residency != place:
            assert made.warnings


@settings(max_examples=100, deadline=None)
@given(vram=SIZES, host=SIZES, capability=CAPABILITIES)
def test_every_step_back_has_its_reason(vram: float, host: float, capability: Capability) -> None:
    """A component that is not resident in its own precision says what would not have fitted."""
    made = plan(card(vram, capability, host))
    for stage in made.stages:
        if stage.residency != "resident":
            reasons = ("would take", "no room", "no kernels")
            assert any(text in stage.reason for text in reasons)
        if stage.precision in ("fp8", "int8", "nf4"):
            assert stage.reason != "fits"
