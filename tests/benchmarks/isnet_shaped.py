"""A network of IS-Net's shape and size with random weights, as ONNX.

Forty-four million parameters in eleven nested U-shaped blocks over a picture of 1024 px, six
outputs of full size of which the first is the mask. What it answers means nothing; what it takes in
time and memory is what the published network takes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 1024
FLAT = 0
"""In place of a depth: a block that widens its view by dilation and never shrinks the picture."""

ENCODER = [(7, 64, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256), (4, 256, 128, 512)] + [
    (FLAT, 512, 256, 512)
] * 2
"""Depth, channels in, within and out, from the finest to the coarsest."""
DECODER = [(FLAT, 1024, 256, 512), (4, 1024, 128, 256), (5, 512, 64, 128), (6, 256, 32, 64)]
DECODER.append((7, 128, 16, 64))
"""Likewise, from the coarsest to the finest."""


class _Builder:
    """Collects the nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.parameters = 0
        self._rng = np.random.default_rng(0)
        self._add_weight("twice", np.array([1, 1, 2, 2], np.float32))

    def add(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """A node of one output, whose name is returned."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, inward: int, outward: int, dilation: int = 1, stride: int = 1) -> str:
        """3 x 3, its batch normalisation folded into its weights."""
        deviation = np.sqrt(2 / (9 * inward))
        kernel = self._rng.standard_normal((outward, inward, 3, 3), np.float32) * deviation
        number = len(self.nodes)
        self._add_weight(f"w{number}", kernel.astype(np.float32))
        self._add_weight(f"b{number}", np.zeros(outward, np.float32))
        self.parameters += kernel.size + outward
        return self.add(
            "Conv",
            [x, f"w{number}", f"b{number}"],
            kernel_shape=[3, 3],
            pads=[dilation] * 4,
            dilations=[dilation] * 2,
            strides=[stride] * 2,
        )

    def conv_relu(self, x: str, inward: int, outward: int, dilation: int = 1) -> str:
        """The same, without its negative half."""
        return self.add("Relu", [self.conv(x, inward, outward, dilation)])

    def halve(self, x: str) -> str:
        """The largest of each 2 x 2."""
        return self.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def enlarge(self, x: str, times: int = 2) -> str:
        """Bilinear."""
        scales = "twice" if times == 2 else f"times{times}"
        if times != 2:
            self._add_weight(scales, np.array([1, 1, times, times], np.float32))
        return self.add("Resize", [x, "", scales], mode="linear")

    def join(self, first: str, second: str) -> str:
        """Channels of both."""
        return self.add("Concat", [first, second], axis=1)

    def block(self, x: str, depth: int, inward: int, within: int, outward: int) -> str:
        """A U-shaped block with a way around it."""
        around = self.conv_relu(x, inward, outward)
        steps = depth or 4
        levels = [self.conv_relu(around, outward, within)]
        for step in range(1, steps):
            shrinks = depth != FLAT and step < steps - 1
            dilation = (2 if step == steps - 1 else 1) if depth != FLAT else 2**step
            before = self.halve(levels[-1]) if shrinks else levels[-1]
            levels.append(self.conv_relu(before, within, within, dilation))
        y = levels.pop()
        while levels:
            step = len(levels)
            dilation = 2 ** (step - 1) if depth == FLAT else 1
            joined = self.join(y, levels.pop())
            y = self.conv_relu(joined, 2 * within, within if levels else outward, dilation)
            if levels and depth != FLAT:
                y = self.enlarge(y)
        return self.add("Add", [y, around])

    def _add_weight(self, name: str, values: np.ndarray) -> None:
        self.weights.append(numpy_helper.from_array(values, name))


def write_isnet_shaped(path: Path, side_px: int = SIDE_PX) -> int:
    """Writes the network and returns how many parameters it has.

    Args:
        path: of the file, about 180 MB.
        side_px: of its picture, a multiple of 64, which is what the deepest level is smaller by.
    """
    build = _Builder()
    x = build.conv("picture", 3, 64, stride=2)
    kept: list[str] = []
    for number, block in enumerate(ENCODER):
        x = build.block(build.halve(x) if number else x, *block)
        kept.append(x)
    kept.pop()
    sides = [(x, ENCODER[-1][-1])]
    for block in DECODER:
        x = build.block(build.join(build.enlarge(x), kept.pop()), *block)
        sides.append((x, block[-1]))
    outputs = []
    for level, (y, channels) in enumerate(reversed(sides)):
        mask = build.enlarge(build.conv(y, channels, 1), 2 ** (level + 1))
        outputs.append(build.add("Sigmoid", [mask]))
    shape = [1, 1, side_px, side_px]
    graph = helper.make_graph(
        build.nodes,
        "isnet_shaped",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, side_px, side_px])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        build.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, path)
    return build.parameters
