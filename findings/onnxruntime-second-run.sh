#!/bin/sh
# onnxruntime: a session holds its working memory once after the first run, and twice from the second run on.
#
# One would guess: memory after one warm-up run of a fixed shape is what the session will hold.
# So it is: the first run fills the CPU arena buffer by buffer and records a plan; the second run allocates by that plan one
# block beside the buffers that the arena still keeps, and both stay for the session's life. A process sized after one
# warm-up run is wrong by the whole working memory. Without the memory pattern it stays at the first figure, without the
# arena (enable_cpu_mem_arena = False) nearly nothing is kept.
#
# The network is twelve convolutions with random weights, 512 px, made here. Needs Python 3.11 and 3 GB of memory; installs into
# a temporary folder. Fails if the behaviour changes.
set -eu
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
python3 -m venv "$box/venv"
"$box/venv/bin/python" -m pip install -q --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.0 2> "$box/pip.log" || { cat "$box/pip.log" >&2; exit 2; }
cat > "$box/run.py" <<'PYTHON'
import re
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH, DEPTH, SIDE = 32, 12, 512
how, path = sys.argv[1:]


def network():
    random = np.random.default_rng(0)
    nodes, weights, outputs, last, channels = [], [], [], "x", 3
    for number in range(DEPTH):
        weight = (random.standard_normal((WIDTH, channels, 3, 3)) * 0.05).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last, channels = f"r{number}", WIDTH
        outputs.append(last)
    nodes.append(helper.make_node("Concat", outputs, ["all"], axis=1))
    weight = (random.standard_normal((1, WIDTH * DEPTH, 1, 1)) * 0.05).astype(np.float32)
    weights.append(numpy_helper.from_array(weight, "w"))
    nodes.append(helper.make_node("Conv", ["all", "w"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "twelve",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, path)


def resident():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) >> 10


network()
options = onnxruntime.SessionOptions()
options.enable_cpu_mem_arena = how != "no_arena"
options.enable_mem_pattern = how != "no_pattern"
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
picture = np.ones((1, 3, SIDE, SIDE), np.float32)
seen = [resident()]
for _ in range(5):
    session.run(None, {"x": picture})
    seen.append(resident())
print(f"onnxruntime {onnxruntime.__version__}, {how}: MiB when loaded and after each of five runs:", *seen)
first, second, last = seen[1] - seen[0], seen[2] - seen[0], seen[5] - seen[0]
expected = {
    "default": second > 1.7 * first and last < 1.1 * second,
    "no_pattern": second < 1.1 * first and last < 1.1 * first,
    "no_arena": last < 100,
}
sys.exit(0 if expected[how] else "behaviour has changed")
PYTHON
for how in default no_pattern no_arena; do
    "$box/venv/bin/python" "$box/run.py" "$how" "$box/twelve.onnx"
done
