"""What bench/cpu.ts asks torch, transformers and PEFT, one measurement a line: a name goes in, a figure comes out.

    python3 bench/peers/cpu.py THREADS          # the first line says what it is, and the names that it knows
    python3 bench/peers/cpu.py THREADS MODEL    # the first token of MODEL, an adapter of the demo or "smol", and the memory taken
"""
import json
import os
import re
import sys
import time
import torch
import peft
from peft import FourierFTConfig, LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

# Packages print to standard output, too: what they say goes to standard error.
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
threads = int(sys.argv[1])
torch.set_num_threads(threads)
torch.manual_seed(0)
base, batch, context = "examples/demo/base", 8, 128
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def demo(adapter=None):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return (PeftModel.from_pretrained(model, f"examples/demo/adapters/{adapter}") if adapter else model).eval()


def smol():
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        head_dim=64, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=512,
    )
    return LlamaForCausalLM(config).float().eval()


def generated(model, ids, count):
    """New tokens of each row, and seconds. Decoding ends after 3 s on a busy machine."""
    begin = time.perf_counter()
    made = model.generate(
        input_ids=ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0, max_time=3.0
    )
    return made.shape[1] - ids.shape[1], time.perf_counter() - begin


@torch.no_grad()
def decode(model, ids, count):
    """Tokens a second of all rows, after the first new ones."""
    _, first = generated(model, ids, 1)
    new, seconds = generated(model, ids, count)
    return len(ids) * (new - 1) / (seconds - first)


@torch.no_grad()
def read(model, count):
    begin = time.perf_counter()
    model(input_ids=torch.arange(1, count + 1)[None], logits_to_keep=1)
    return count / (time.perf_counter() - begin)


def trained(config):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config).train()
    own = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=1e-3)
    ids = torch.randint(0, 4096, (batch, context))

    def step():
        begin = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(own, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - begin

    return step


def delta(size):
    linear = torch.nn.Sequential(torch.nn.Linear(size, size, bias=False))
    model = get_peft_model(linear, FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=["0"]))
    adapted = model.base_model.model[0]

    @torch.no_grad()
    def made():
        begin = time.perf_counter()
        adapted.get_delta_weight("default")
        return 1000 * (time.perf_counter() - begin)

    return made


if len(sys.argv) > 2:
    model = smol() if sys.argv[2] == "smol" else demo(sys.argv[2])
    generated(model, torch.arange(1, 6)[None], 1)
    with open("/proc/self/status") as status:
        print(int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) / 1024, file=out, flush=True)
    sys.exit()

one, eight = torch.arange(1, 6)[None], torch.arange(1, 9)[:, None] + torch.arange(5)
plain, fourier, lora, large = demo(), demo("fourierft-kjv"), demo("lora-kjv"), smol()
fourier_step = trained(FourierFTConfig(n_frequency=1000, scaling=150.0, task_type="CAUSAL_LM", target_modules=linears))
lora_step = trained(LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM", target_modules=linears))
measures = {
    "demo model, decoding, tokens/s": lambda: decode(plain, one, 100),
    "demo model, decoding, FourierFT on seven linears, tokens/s": lambda: decode(fourier, one, 40),
    "demo model, decoding, LoRA r = 8, tokens/s": lambda: decode(lora, one, 100),
    "demo model, a prompt of 256, tokens/s": lambda: read(plain, 256),
    "demo model, a prompt of 256, FourierFT on seven linears, tokens/s": lambda: read(fourier, 256),
    "demo model, batch of 8, tokens/s": lambda: decode(plain, eight, 50),
    "SmolLM2-135M's shape, decoding, tokens/s": lambda: decode(large, one, 30),
    "SmolLM2-135M's shape, a prompt of 256, tokens/s": lambda: read(large, 256),
    "SmolLM2-135M's shape, batch of 8, tokens/s": lambda: decode(large, eight, 10),
    "demo model, training step of 8 x 128, FourierFT, s": fourier_step,
    "demo model, training step of 8 x 128, LoRA r = 8, s": lora_step,
    "dW of 1024 x 1024, FourierFT n = 1000, ms": delta(1024),
    "dW of 4096 x 4096, FourierFT n = 1000, ms": delta(4096),
}
versions = {"torch": torch.__version__, "PEFT": peft.__version__}
print(json.dumps({"versions": versions, "names": list(measures)}), file=out, flush=True)
for line in sys.stdin:
    print(json.dumps(measures[json.loads(line)]()), file=out, flush=True)
