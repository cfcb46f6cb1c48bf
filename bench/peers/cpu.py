"""What bench/cpu.ts asks torch, transformers and PEFT, one measurement a line: a name goes in, a figure comes out.

    python3 bench/peers/cpu.py THREADS

The first line that it prints says what it is, and the names that it knows.
"""
import json
import os
import sys
import time
import torch
import peft
import transformers
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


@torch.no_grad()
def decode(model, prompt, count):
    """Tokens a second after the first new one."""
    def seconds(new):
        begin = time.perf_counter()
        ids = torch.arange(1, prompt + 1)[None]
        model.generate(input_ids=ids, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
        return time.perf_counter() - begin

    first = seconds(1)
    return (count - 1) / (seconds(count) - first)


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
        return 60 / (time.perf_counter() - begin)

    return step


plain, fourier, lora, large = demo(), demo("fourierft-kjv"), demo("lora-kjv"), smol()
fourier_step = trained(FourierFTConfig(n_frequency=1000, scaling=150.0, task_type="CAUSAL_LM", target_modules=linears))
lora_step = trained(LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM", target_modules=linears))
measures = {
    "demo model, base (tokens/s)": lambda: decode(plain, 4, 100),
    "demo model, FourierFT on seven linears (tokens/s)": lambda: decode(fourier, 4, 40),
    "demo model, LoRA r = 8 (tokens/s)": lambda: decode(lora, 4, 100),
    "SmolLM2-135M's shape (tokens/s)": lambda: decode(large, 5, 30),
    "SmolLM2-135M's shape, a prompt of 128 (tokens/s)": lambda: read(large, 128),
    "training the demo model, FourierFT, 8 x 128 (steps/min)": fourier_step,
    "training the demo model, LoRA r = 8, 8 x 128 (steps/min)": lora_step,
}
packages = f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}"
print(json.dumps({"description": f"{packages}, {threads} threads", "names": list(measures)}), file=out, flush=True)
for line in sys.stdin:
    print(json.dumps(measures[json.loads(line)]()), file=out, flush=True)
