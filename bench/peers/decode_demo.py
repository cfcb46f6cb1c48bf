"""Decode speed of the demo model in transformers and PEFT: the numbers beside bench/decode.ts. Needs torch, transformers, peft.

    python3 bench/peers/decode_demo.py
"""
import statistics
import time
import torch
import peft
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = "examples/demo/base"
tokens = 200


def load(adapter=None):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    return PeftModel.from_pretrained(model, f"examples/demo/adapters/{adapter}").eval() if adapter else model


@torch.no_grad()
def tokens_per_second(model, count):
    ids = torch.tensor([[0, 41, 78, 262, 2952]])
    begin = time.perf_counter()
    model.generate(input_ids=ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    return count / (time.perf_counter() - begin)


print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, {torch.get_num_threads()} threads")
for name, adapter, count in (("base", None, tokens), ("FourierFT, seven linears", "fourierft-kjv", 60), ("LoRA r = 8", "lora-kjv", tokens)):
    model = load(adapter)
    tokens_per_second(model, 10)
    runs = [tokens_per_second(model, count) for _ in range(5)]
    print(f"{name:28s} {statistics.median(runs):6.1f} tokens/s, best {max(runs):.1f}")
