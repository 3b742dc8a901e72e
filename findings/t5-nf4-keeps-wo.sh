#!/bin/sh
# transformers: T5 loaded with load_in_4bit keeps a fifth of its weights in 16 bits.
#
# One would guess: BitsAndBytesConfig(load_in_4bit=True) makes all linear layers of a text encoder small, so that FLUX's
# T5-XXL, 4.76 G parameters, takes about 2.9 GB (4.63 G of them in linear layers at 0.5625 bytes).
# So it is: T5 names its last feed-forward layer, "wo", as one to be kept in fp32, and what is kept is left out of the
# quantisation as well. The 24 layers of T5-XXL hold 1.01 G weights: 22 % of the linear ones, 2.0 GB in bf16. The model
# takes 4.3 GB, and nothing is said.
#
# The layers are counted on a small T5 with random weights on the CPU, the bytes at full size on torch's meta device.
# Needs Python 3.11; installs into a temporary folder. Fails if the behaviour changes.
set -eu
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
python3 -m venv "$box/venv"
"$box/venv/bin/python" -m pip install -q --disable-pip-version-check \
    torch==2.13.0 transformers==5.24.0 accelerate==1.15.0 bitsandbytes==0.50.2 2> "$box/pip.log" \
    || { cat "$box/pip.log" >&2; exit 2; }
"$box/venv/bin/python" - "$box" <<'PYTHON' 2> "$box/err" || { cat "$box/err" >&2; exit 1; }
import collections
import sys

import bitsandbytes
import torch
import transformers
from transformers import BitsAndBytesConfig, T5Config, T5EncoderModel

transformers.utils.logging.disable_progress_bar()
print("transformers", transformers.__version__, "bitsandbytes", bitsandbytes.__version__)
small = T5Config(
    vocab_size=256, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
    feed_forward_proj="gated-gelu",
)
folder = sys.argv[1] + "/t5"
T5EncoderModel(small).to(torch.bfloat16).save_pretrained(folder)
config = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
)
network = T5EncoderModel.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=config)
kinds = collections.defaultdict(set)
for name, parameter in network.named_parameters():
    if parameter.ndim == 2 and "embed" not in name and "shared" not in name and "bias" not in name:
        kinds[name.split(".")[-2]].add(f"{type(parameter).__name__} {parameter.dtype}")
for name, found in sorted(kinds.items()):
    print(f"  {name:5}", *sorted(found))

full = T5Config(
    d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
)
with torch.device("meta"):
    xxl = T5EncoderModel(full)
linear = {n: m.weight.numel() for n, m in xxl.named_modules() if isinstance(m, torch.nn.Linear)}
wo = sum(size for name, size in linear.items() if name.endswith("wo"))
rest = sum(p.numel() for p in xxl.parameters()) - sum(linear.values())
guess = 0.5625 * sum(linear.values()) + 2 * rest
so = 0.5625 * (sum(linear.values()) - wo) + 2 * (rest + wo)
print(f"T5-XXL: {sum(linear.values()) / 1e9:.2f} G linear weights, {wo / 1e9:.2f} G of them in wo")
print(f"guessed {guess / 1e9:.1f} GB, with wo in bf16 {so / 1e9:.1f} GB")

small_now = {name for name, found in kinds.items() if all("Params4bit" in one for one in found)}
as_described = "wo" in kinds and "wo" not in small_now and {"q", "k", "v", "o", "wi_0", "wi_1"} <= small_now
sys.exit(0 if as_described else 1)
PYTHON
