#!/bin/sh
# diffusers: group offloading with a stream brings the buffers of a block to the device and never takes them back.
#
# One would guess: apply_group_offloading(..., use_stream=True) has one or two blocks on the device at a time, whatever their
# tensors are registered as; without a stream it does.
# So it is: with a stream, a group that goes away gets the host's copy of its parameters back, but the buffers inside its
# modules keep the device's. Layers that hold their weights as buffers, as layers with integer weights often do, pile up on the
# device block by block until the whole network is there. Nothing is said, and results are right.
#
# No card is needed: the library's own group is run on the CPU with a stream that does nothing, and a second copy of each tensor
# stands for the device's. Needs Python 3.11; installs into a temporary folder. Fails if the behaviour changes.
set -eu
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
python3 -m venv "$box/venv"
"$box/venv/bin/python" -m pip install -q --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 2> "$box/pip.log" \
    || { cat "$box/pip.log" >&2; exit 2; }
"$box/venv/bin/python" - <<'PYTHON'
import contextlib
import sys

import diffusers
import torch
from diffusers.hooks.group_offloading import ModuleGroup

print("diffusers", diffusers.__version__, "torch", torch.__version__)


class IntegerLinear(torch.nn.Module):
    """A layer whose weights are a buffer, with one small parameter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.zeros(256, 256, dtype=torch.int8))
        self.bias = torch.nn.Parameter(torch.zeros(256))


class Stream:
    """In the place of a device's stream and of torch's module for it."""

    def stream(self, _stream):
        return contextlib.nullcontext()

    def current_stream(self):
        return self

    def synchronize(self):
        pass


def left_on_device(with_stream):
    block, cpu = IntegerLinear(), torch.device("cpu")
    group = ModuleGroup([block], offload_device=cpu, onload_device=cpu, offload_leader=block)
    tensors = {"weight (buffer)": block.weight, "bias (parameter)": block.bias}
    if not with_stream:
        moved = []
        block.to = lambda device, non_blocking=False: moved.append(device)
        group.offload_()
        return [] if moved else list(tensors)  # the block is moved as a whole
    group.stream = group._torch_accelerator_module = Stream()
    group.low_cpu_mem_usage = True
    group.cpu_param_dict = group._init_cpu_param_dict()
    copies = {tensor: host.clone() for tensor, host in group.cpu_param_dict.items()}
    group._pinned_memory_tensors = lambda: contextlib.nullcontext(copies)
    group.onload_()
    group.offload_()
    return [name for name, t in tensors.items() if t.data_ptr() == copies[t].data_ptr()]


without, with_stream = left_on_device(False), left_on_device(True)
print("left on the device without a stream:", without or "nothing")
print("left on the device with a stream:", with_stream or "nothing")
sys.exit(0 if not without and with_stream == ["weight (buffer)"] else "behaviour has changed")
PYTHON
