"""The package's shape: imports go down only, heavy libraries stay where they belong, no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "miner"

LAYERS: list[set[str]] = [
    {"errors"},
    {"job"},
    {"settings", "files", "geometry", "logs", "version", "readings"},
    {"gpu", "encoder", "rendering", "metrics", "executor", "service"},
    {"triposr", "dreamgaussian", "journal"},
    {"pipeline", "job_queue"},
    {"workers", "admission"},
    {"network", "ray_workers"},
    {"doctor"},
    {"app", "validator"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
"""Lowest first. A part imports itself and lower layers, and within a layer what SIDEWAYS allows."""

SIDEWAYS: set[tuple[str, str]] = set()

ONLY_IN: dict[str, set[str]] = {
    "diffusers": {
        "pipeline/painter_load.py",
        "pipeline/painter_networks.py",
        "pipeline/painter_synthetic.py",
        "dreamgaussian/guidance_latents.py",
        "dreamgaussian/guidance_mvdream.py",
    },
    "rembg": {"pipeline/background.py"},
    "gsplat": {"rendering/rasterize_cuda.py"},
    "huggingface_hub": {"gpu/fetch.py"},
    "bittensor": {"network/chain.py"},
    "bittensor_core": {"network/chain.py", "network/dendrite.py", "admission/signature.py"},
    "ray": {"ray_workers/actor.py", "ray_workers/bridge.py"},
    "aiosqlite": set(),
    "torch.multiprocessing": set(),
    "prometheus_client": {
        "metrics/instruments.py",
        "metrics/jobs.py",
        "metrics/part.py",
        "metrics/plan.py",
        "metrics/rollback.py",
        "metrics/servers.py",
        "metrics/service.py",
        "metrics/subnet.py",
        "metrics/workers.py",
        "network/health.py",
    },
}

WITHOUT_TORCH = [
    "miner.errors",
    "miner.settings",
    "miner.files",
    "miner.geometry.gaussians",
    "miner.encoder",
    "miner.encoder.convert",
    "miner.gpu.planner",
    "miner.gpu.measured",
    "miner.gpu.weights",
    "miner.gpu.fetch",
    "miner.pipeline.prompts",
    "miner.pipeline.aspects",
    "miner.pipeline.images",
    "miner.pipeline.quality",
    "miner.dreamgaussian.settings",
    "miner.job",
    "miner.executor",
    "miner.workers.engine",
    "miner.workers.worker",
    "miner.workers.local_executor",
    "miner.journal",
    "miner.job_queue",
    "miner.admission.gate",
    "miner.network.intake",
    "miner.app.daemon",
    "miner.network.api",
    "miner.network.picture_maker",
    "miner.network.control",
    "miner.commands.ctl",
    "miner.commands.doctor",
    "miner.doctor.examine",
    "miner.commands.outputs",
    "miner.commands.plan",
    "miner.commands.top",
    "miner.cli",
]
"""Also without diffusers, transformers, rembg and onnxruntime."""

TRAINING = "mini/training/"
"""Scripts that made the embedded weights; nothing imports them, they may import anything."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
RUN_TIME = {n: p for n, p in MODULES.items() if TRAINING not in p.as_posix() + "/"}


def imports(path: Path, lazy_too: bool = True) -> Iterator[str]:
    """Dotted names that a file imports; without ``lazy_too`` only those that happen on import."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES else base
        elif lazy_too or not (_is_function(node) or _is_type_checking(node)):
            nodes.extend(ast.iter_child_nodes(node))


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def part_of(module: str) -> str:
    """The top-level part of the package that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def layer_of(part: str) -> int:
    """How high a part lies."""
    return next(height for height, layer in enumerate(LAYERS) if part in layer)


@pytest.mark.parametrize("name", sorted(n for n in RUN_TIME if part_of(n) not in ("", "mini")))
def test_imports_go_down_only(name: str) -> None:
    """A module imports its own part of the package and lower layers, and nothing higher."""
    here = part_of(name)
    for imported in set(imports(RUN_TIME[name])):
        if not imported.startswith("miner."):
            assert imported != "miner", "the package's root is imported from inside it"
            continue
        there = part_of(imported)
        allowed = there == here or layer_of(there) < layer_of(here) or (here, there) in SIDEWAYS
        assert allowed, f"{name} imports {imported}"


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_libraries_stay_where_they_belong(library: str) -> None:
    """A heavy or foreign library is imported by the files named here, and by no other."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in RUN_TIME.values()
        if any(name.split(".")[0] == library for name in imports(path))
    }

    assert found <= ONLY_IN[library]


def test_there_are_no_cycles() -> None:
    """No module reaches itself by imports, not even by those inside functions."""
    graph = {
        name: {i for i in imports(path) if i in RUN_TIME and i != name}
        for name, path in RUN_TIME.items()
    }

    assert list(TopologicalSorter(graph).static_order())


def test_training_scripts_are_not_imported_at_run_time() -> None:
    """What made the embedded weights is not needed to use them."""
    users = [
        name
        for name, path in RUN_TIME.items()
        if any(i.startswith("miner.mini.training") for i in imports(path))
    ]

    assert users == []


def test_the_environment_has_one_reader() -> None:
    """``os.environ`` and ``os.getenv`` appear in settings/loader.py alone."""
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in RUN_TIME.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }

    assert readers == {"settings/loader.py"}


def test_light_modules_import_without_torch() -> None:
    """A fresh interpreter that imports the light modules has loaded none of the heavy libraries."""
    script = (
        f"import sys\nfor name in {WITHOUT_TORCH!r}: __import__(name)\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'rembg', 'onnxruntime', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
