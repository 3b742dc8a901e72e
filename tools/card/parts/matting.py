"""Matting with onnxruntime: what really runs it, its time, and memory that torch does not see."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from miner.errors import BadOutput
from miner.pipeline.background import BackgroundRemover
from miner.settings import BackgroundSettings
from tools.card.bench import GIB, Bench
from tools.card.outcome import Outcome, Unmeasured
from tools.card.parts.machine import memory_of_process

PICTURES = 10
SIDE_PX, TINY_SIDE_PX = 1024, 320
"""Of IS-Net's picture, and of the one that rembg gives a network of one's own."""


def run(bench: Bench, out: Outcome) -> None:
    """Ten pictures; memory before and after by the driver's count, and of the process."""
    bench.tidy()
    before, here = bench.driver_used(), memory_of_process()
    remover = load(bench)
    out.add("runs on", remover.provider)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8))
    seconds = [bench.once(lambda: _cut(remover, picture)) for _ in range(_pictures(bench))]
    out.add("first picture", seconds[0], "s")
    out.add("later pictures, best", min(seconds[1:]), "s")
    after = bench.driver_used()
    grown = None if before is None or after is None else (after - before) / GIB
    out.add(f"on the card after {len(seconds)}", grown, "GiB")
    out.add(f"of the process after {len(seconds)}", (memory_of_process() - here) / GIB, "GiB")


def load(bench: Bench) -> BackgroundRemover:
    """The matting network with random weights."""
    file = bench.folder / "matting.onnx"
    if not file.exists():
        write_network(file, bench.tiny)
    model = "u2net_custom" if bench.tiny else "isnet-general-use"
    settings = BackgroundSettings(weights=str(file), model=model)
    return BackgroundRemover.load(file, settings, bench.device)


def write_network(file: Path, tiny: bool) -> None:
    """A network of IS-Net's shape, or for tiny sizes a few convolutions.

    Raises:
        Unmeasured: the package onnx, which writes it, is not installed.
    """
    try:
        if not tiny:
            import_module("tests.benchmarks.isnet_shaped").write_isnet_shaped(file)
            return
        from onnx import TensorProto, helper, numpy_helper, save  # noqa: PLC0415
    except ImportError as error:
        raise Unmeasured(f"{error.name} is not there to make a matting network") from error
    kernel = np.random.default_rng(0).standard_normal((1, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["raw"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["raw"], ["mask"]),
    ]
    shapes = [("picture", 3), ("mask", 1)]
    ends = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [1, channels, TINY_SIDE_PX, TINY_SIDE_PX]
        )
        for name, channels in shapes
    ]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "matting", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10  # what onnxruntime 1.31 reads
    save(model, file)


def _pictures(bench: Bench) -> int:
    return 2 if bench.tiny else PICTURES


def _cut(remover: BackgroundRemover, picture: Image.Image) -> None:
    with suppress(BadOutput):  # a random network's mask is no mask
        remover.cut_out(picture)
