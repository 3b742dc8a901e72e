"""Where settings come from, and how they refuse what they do not know."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from miner.errors import ConfigError
from miner.settings import (
    DaemonSettings,
    config_dir,
    let_gpu_segments_grow,
    let_idle_threads_sleep,
    load,
    load_settings,
    preset_names,
    read_toml,
    worker_environment,
)
from miner.settings.identity import SHARED, IdentitySettings
from miner.settings.loader import ALLOCATOR_VARIABLES


def preset_file(folder: Path, extra: str = "") -> str:
    """A minimal preset with something added to its first section."""
    path = folder / "mine.toml"
    path.write_text(
        f"[text_to_image]\nweights = 'mini/flux'\nsteps = 2\n{extra}\n"
        "[background]\nweights = 'mini/matting.onnx'\nmodel = 'u2net_custom'\n"
        "[reconstruct]\nweights = 'mini/triposr'\n"
    )
    return str(path)


def test_every_shipped_preset_is_valid() -> None:
    """Each file under config/presets loads, under its own name."""
    assert {"mini", "flux-schnell"} <= set(preset_names())
    for name in preset_names():
        assert load_settings(name, environ={}).preset.name == name


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each layer hides those below it, key by key."""
    path = preset_file(tmp_path)
    environ = {"MINER_TEXT_TO_IMAGE__STEPS": "4", "MINER_SURFACE__COUNT": "9000"}
    flags = {"surface": {"count": 8000}}

    from_file = load_settings(path, environ={}).preset
    from_environment = load_settings(path, environ=environ).preset
    from_flags = load_settings(path, flags, environ).preset

    assert (from_file.text_to_image.steps, from_file.surface.count) == (2, 40_000)
    assert (from_environment.text_to_image.steps, from_environment.surface.count) == (4, 9000)
    assert (from_flags.text_to_image.steps, from_flags.surface.count) == (4, 8000)


def test_a_flag_that_was_not_given_hides_nothing(tmp_path: Path) -> None:
    """None from the command line leaves what lies below."""
    environ = {"MINER_SURFACE__COUNT": "9000"}
    flags = {"surface": {"count": None}}

    assert load_settings(preset_file(tmp_path), flags, environ).preset.surface.count == 9000


def test_device_weights_and_preset_come_from_the_environment() -> None:
    """The three variables without a section are read, and a flag for the preset beats its own."""
    environ = {"MINER_PRESET": "flux-schnell", "MINER_DEVICE": "cpu", "MINER_WEIGHTS": "/w"}
    settings = load_settings(environ=environ)

    assert settings.preset.name == "flux-schnell"
    assert settings.device == "cpu"
    assert settings.weights == Path("/w")
    assert load_settings("mini", environ=environ).preset.name == "mini"


def test_weights_lie_in_the_data_folder_of_the_user() -> None:
    """XDG_DATA_HOME is used when absolute, as its specification says, and ignored otherwise."""
    here = load_settings(environ={"XDG_DATA_HOME": "/data"}).weights
    relative = load_settings(environ={"XDG_DATA_HOME": "data"}).weights

    assert here == Path("/data/splat-miner/weights")
    assert relative == Path.home() / ".local/share/splat-miner/weights"


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ("color = 1", "text_to_image.color"),
        ("size_px = 'big'", "text_to_image.size_px"),
        ("guidance_scale = nan", "text_to_image.guidance_scale"),
        ("template = 'no place for it'", "template"),
    ],
)
def test_unknown_keys_and_bad_values_are_named(tmp_path: Path, extra: str, key: str) -> None:
    """A preset with a wrong key or value stops the start with the key's name, in one line."""
    with pytest.raises(ConfigError) as caught:
        load_settings(preset_file(tmp_path, extra), environ={})

    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"MINER_PRESETS": "mini"},
        {"MINER_TEXT_TO_IMAGE__STEP": "3"},
        {"MINER_TEXT_TO_IMAGE__STEPS": "many"},
        {"MINER_DEVICE": "tpu"},
        {"MINER_WEIGHTS__X": "y"},
    ],
)
def test_a_mistyped_variable_is_an_error(environ: dict[str, str]) -> None:
    """A variable with our prefix that means nothing is refused rather than ignored."""
    with pytest.raises(ConfigError):
        load_settings(environ=environ)


def test_five_steps_are_too_many_for_the_distilled_model(tmp_path: Path) -> None:
    """FLUX takes 1 to 4 steps; other pipelines may take more."""
    with pytest.raises(ConfigError, match="1 to 4"):
        load_settings(preset_file(tmp_path), {"text_to_image": {"steps": 5}}, {})

    other = {"text_to_image": {"steps": 30, "pipeline": "StableDiffusionPipeline"}}
    assert load_settings(preset_file(tmp_path), other, {}).preset.text_to_image.steps == 30


@pytest.mark.parametrize("name", ["nope", "../mini", "missing.toml", ""])
def test_an_unknown_preset_is_named(name: str) -> None:
    """A preset that is not there is an error that names it or lists what there is."""
    with pytest.raises(ConfigError):
        load_settings(name or "''", environ={})


def test_a_preset_that_is_not_toml_is_named(tmp_path: Path) -> None:
    """Binary rubbish in place of a preset is one clear error."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"x\.toml"):
        load_settings(str(path), environ={})


def test_idle_threads_sleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy is set where there is none, and one that is there is left alone."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_idle_threads_sleep()
    kept = os.environ["OMP_WAIT_POLICY"]
    monkeypatch.delenv("OMP_WAIT_POLICY")
    let_idle_threads_sleep()

    assert kept == "ACTIVE"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_segments_grow_unless_the_allocator_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's own process has the allocator that workers have; what the operator says of
    it, by either name, is left alone."""
    older, newer = ALLOCATOR_VARIABLES
    monkeypatch.delenv(older, raising=False)
    monkeypatch.setenv(newer, "backend:native")
    let_gpu_segments_grow()
    kept = os.environ.get(older), os.environ[newer]
    monkeypatch.delenv(newer)
    let_gpu_segments_grow()
    of_worker = worker_environment(environ={})

    assert kept == (None, "backend:native")
    assert (os.environ.pop(older), os.environ[newer]) == (of_worker[older], of_worker[newer])


def documented() -> dict[str, dict[str, object]]:
    """The shipped file of settings, by section; "" holds the keys without one."""
    values = read_toml(config_dir() / "miner.toml")
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    return {"": {k: v for k, v in values.items() if k not in sections}, **sections}


def test_the_shipped_file_holds_the_defaults() -> None:
    """Reading config/miner.toml changes nothing: what it documents is what holds without it."""
    plain = load_settings(environ={})
    from_file = load_settings(environ={}, config=config_dir() / "miner.toml")

    assert from_file == plain


def test_the_shipped_file_names_every_key() -> None:
    """No setting is missing from config/miner.toml, and it names none that does not exist."""
    text = (config_dir() / "miner.toml").read_text(encoding="utf-8")
    for section, model in DaemonSettings.model_fields.items():
        keys = getattr(model.annotation, "model_fields", {})
        if section == "identity":
            keys = set(IdentitySettings.model_fields) - set(SHARED)
        assert f"[{section}]" in text or not keys
        for key in keys or [section]:
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), f"{section}.{key}"
        assert set(documented().get(section, {})) <= set(keys)


def test_a_value_knows_where_it_was_set(tmp_path: Path) -> None:
    """The origin of a key is its highest source."""
    path = tmp_path / "own.toml"
    path.write_text("[axon]\nport = 1\nhost = 'h'\n[surface]\ncount = 8000\n")
    environ = {"MINER_AXON__PORT": "2", "MINER_CONFIG": str(path)}
    loaded = load({"chain": {"network": "static:x"}}, environ)

    assert loaded.settings.daemon.axon.port == 2
    assert loaded.settings.preset.surface.count == 8000
    assert loaded.origin("axon", "port") == "environment"
    assert loaded.origin("axon", "host") == str(path)
    assert loaded.origin("chain", "network") == "command line"
    assert loaded.origin("api", "port") == "default"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[axon]\nprot = 1", "axon.prot"),
        ("[axom]\nport = 1", "axom"),
        ("[axon]\nport = 70000", "axon.port"),
        ("[worker]\ncount = 2\ngpus = ['0']", "gpus"),
        ("[surface]\ncount = 1", "surface.count"),
        ("preset = 3", "preset"),
        ("[queue]\nmax_depth = 'x'", "queue.max_depth"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    """One line names the file and the key that is wrong."""
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={}, config=path)

    assert str(path) in str(caught.value)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_in_the_environment_are_json() -> None:
    """A list is given as JSON, and what is not JSON is refused in one line."""
    given = load_settings(environ={"MINER_ADMISSION__ALLOW": '["a", "b"]'})

    assert given.daemon.admission.allow == ("a", "b")
    with pytest.raises(ConfigError):
        load_settings(environ={"MINER_ADMISSION__ALLOW": "a b"})


def test_the_state_lies_where_systemd_or_the_user_puts_it() -> None:
    """systemd's folder beats the user's, and a setting beats both."""
    systemd = {"STATE_DIRECTORY": "/var/lib/miner:/x", "XDG_STATE_HOME": "/state"}

    assert load_settings(environ=systemd).daemon.state_dir == Path("/var/lib/miner")
    user = load_settings(environ={"XDG_STATE_HOME": "/state"}).daemon
    assert user.state_dir == Path("/state/splat-miner")
    own = load_settings(environ={**systemd, "MINER_STATE_DIR": "/own"}).daemon
    assert own.state_dir == Path("/own")


def test_a_preset_on_a_base_says_only_what_differs(tmp_path: Path) -> None:
    """The rest is the base's; flags and the environment still lie above both."""
    path = tmp_path / "mine.toml"
    path.write_text("base = 'flux-schnell'\n[text_to_image]\nbatch_size = 2\n")
    own = load_settings(str(path), environ={}).preset
    base = load_settings("flux-schnell", environ={}).preset

    assert own.name == "mine"
    assert own.text_to_image == base.text_to_image.model_copy(update={"batch_size": 2})
    assert own.surface == base.surface
    flags = {"text_to_image": {"batch_size": 1}}
    assert load_settings(str(path), flags, {}).preset.text_to_image.batch_size == 1


@pytest.mark.parametrize("base", ["'nope'", "'gpu-8gb'", "1", "'../mini'", "['mini']"])
def test_a_base_is_a_shipped_preset_that_has_none(tmp_path: Path, base: str) -> None:
    """Anything else is named, so that there is no chain and no circle."""
    path = tmp_path / "mine.toml"
    path.write_text(f"base = {base}\n")
    with pytest.raises(ConfigError, match="base"):
        load_settings(str(path), environ={})


def test_wishes_of_the_memory_plan_are_checked(tmp_path: Path) -> None:
    """Single components by name; what a component cannot do is refused with its name."""
    environ = {"MINER_MEMORY__PRECISION": "nf4", "MINER_MEMORY__PRECISION_OF__VAE": "bf16"}
    memory = load_settings("mini", environ=environ).preset.memory

    assert (memory.precision, memory.precision_of) == ("nf4", {"vae": "bf16"})
    for values in (
        {"residency_of": {"vae": "streamed"}},
        {"residency_of": {"nose": "host"}},
        {"precision": "fp4"},
        {"precision_of": {"vae": "auto"}},
        {"limit_bytes": -1},
    ):
        with pytest.raises(ConfigError, match="memory"):
            load_settings("mini", {"memory": values}, {})


def test_compiled_kernels_outlast_a_restart() -> None:
    """They go below the folder that the service has for caches, not into a private /tmp; a folder
    that the environment names is kept."""
    cached = worker_environment(None, {"XDG_CACHE_HOME": "/var/cache/miner"})
    named = worker_environment(None, {"TORCHINDUCTOR_CACHE_DIR": "/fast"})

    assert cached["TORCHINDUCTOR_CACHE_DIR"] == "/var/cache/miner/splat-miner/kernels"
    assert named["TORCHINDUCTOR_CACHE_DIR"] == "/fast"
