"""``miner service``: what it writes, what it refuses, and what it leaves alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from miner.admission.wallet import Surroundings, hotkey_path
from miner.cli import main
from miner.errors import ConfigError
from miner.service import machine, place
from miner.service.unit import Choices, render
from miner.settings import WalletSettings

UNIT = "etc/systemd/system/miner.service"


def settings(folder: Path, text: str) -> Choices:
    """Choices with a settings file of that text."""
    path = folder / "miner.toml"
    path.write_text(text)
    return replace(Choices(), config=path)


def test_show_prints_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """With --shipped it is, byte by byte, what ships."""
    assert main(["service", "show", "--shipped"]) == 0
    assert capsys.readouterr().out == render(Choices())


def test_show_takes_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The GPU, the account and the files are in the text, with this very program."""
    key = tmp_path / "key"
    status = main(["service", "show", "--gpu", "1", "--user", "miner", "--hotkey", str(key)])
    said = capsys.readouterr().out.splitlines()

    assert status == 0
    assert "Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1" in said
    assert "User=miner" in said
    assert f"LoadCredential=hotkey:{key}" in said
    assert any(x.startswith(f"ExecStart={machine.program()[0]}") for x in said)


def test_install_writes_the_unit_and_settings_once(tmp_path: Path) -> None:
    """The settings are written where there are none; both are for all to read."""
    first = list(place.install(Choices(), tmp_path))
    config = tmp_path / "etc/splat-miner/miner.toml"
    config.write_text("# mine\n")
    second = list(place.install(Choices(), tmp_path))

    assert [line.split()[0] for line in first] == ["wrote", "wrote"]
    assert len(second) == 1
    assert config.read_text() == "# mine\n"
    assert (tmp_path / UNIT).read_text() == render(Choices())
    assert oct((tmp_path / UNIT).stat().st_mode & 0o777) == "0o644"


def test_a_unit_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Neither overwritten nor removed."""
    unit = tmp_path / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\nDescription=another\n")
    with pytest.raises(ConfigError, match="not ours"):
        list(place.install(Choices(), tmp_path))
    with pytest.raises(ConfigError, match="not ours"):
        list(place.uninstall("miner.service", tmp_path))

    assert "another" in unit.read_text()


def test_uninstall_takes_the_unit_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings stay, and a second time there is nothing to do: one line, 78."""
    list(place.install(Choices(), tmp_path))
    assert main(["service", "uninstall", "--root", str(tmp_path)]) == 0
    assert not (tmp_path / UNIT).exists()
    assert (tmp_path / "etc/splat-miner/miner.toml").exists()
    capsys.readouterr()
    assert main(["service", "uninstall", "--root", str(tmp_path)]) == 78
    assert capsys.readouterr().err.count("\n") == 1


def test_the_settings_decide_about_key_and_drain(tmp_path: Path) -> None:
    """No credential where no intake signs, and as much time as the drain may take."""
    fitted = machine.fit(settings(tmp_path, 'intakes = ["http"]\n[queue]\ndrain_seconds = 30.0\n'))
    assert fitted.hotkey is None
    assert fitted.drain_seconds == 30.0


def test_each_identity_has_a_credential_of_its_own(tmp_path: Path) -> None:
    """The unit hands every hotkey of the settings over, under the name the daemon looks for."""
    text = '[[identity]]\nname = "main"\n[[identity]]\nname = "second"\n'
    fitted = machine.fit(settings(tmp_path, text))
    said = [x for x in render(fitted).splitlines() if x.startswith("LoadCredential")]

    assert said == [
        "LoadCredential=hotkey:/etc/splat-miner/hotkey",
        "LoadCredential=hotkey.second:/etc/splat-miner/hotkey.second",
    ]
    given = Surroundings(credentials=tmp_path)
    (tmp_path / "hotkey.second").touch()
    assert hotkey_path(WalletSettings(), given, "second") == tmp_path / "hotkey.second"
    assert hotkey_path(WalletSettings(), given) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[[identity]]\nname = "a"\nwallet.hotkey_file = "/etc/key"\n', "--hotkey"),
        ('state_dir = "/srv/state"\n', "state_dir"),
        ('[wallet]\nhotkey_file = "/etc/key"\n', "--hotkey"),
        ('[wallet]\nname = "mine"\n', "--hotkey"),
        ('weights = "/home/me/weights"\n', "weights"),
        ("[axom]\nport = 1\n", "axom"),
    ],
)
def test_settings_that_no_service_can_use_are_refused(
    tmp_path: Path, text: str, named: str
) -> None:
    """Before anything is written, with the key and what to do."""
    with pytest.raises(ConfigError, match=named):
        machine.fit(settings(tmp_path, text))


def test_a_gpu_of_the_unit_is_a_mask_of_the_settings(tmp_path: Path) -> None:
    """With --gpu 1 the service sees that one alone: ``worker.gpus`` counts within it."""
    unit = replace(settings(tmp_path, '[worker]\ngpus = ["1"]\n'), gpu="1")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=1"):
        machine.fit(unit)
    unit.config.write_text('[worker]\ngpus = ["0"]\n')
    assert machine.fit(unit).gpu == "1"


def test_a_program_that_the_service_cannot_see_is_refused(tmp_path: Path) -> None:
    """Home folders are hidden from it, and closed folders are closed."""
    there = replace(Choices(), program=("/usr/bin/env",))
    with pytest.raises(ConfigError, match="cannot see it"):
        machine.check(replace(there, program=("/root/venv/bin/miner",)))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="closed to the service's user"):
        machine.check(replace(there, config=closed / "miner.toml"))


def test_an_account_may_see_its_home() -> None:
    """With --user a program under /home is possible, and home folders are readable then."""
    checked = machine.check(replace(Choices(), program=("/home/me/bin/miner",), user="me"))
    assert checked.home_visible


def test_a_private_settings_file_is_refused() -> None:
    """The service's user must be able to read it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        path = Path(name) / "miner.toml"
        path.touch(0o600)
        choices = replace(Choices(), program=("/usr/bin/env",), config=path)
        with pytest.raises(ConfigError, match="may not read it"):
            machine.check(choices)
        path.chmod(0o644)
        assert machine.check(choices) == choices
