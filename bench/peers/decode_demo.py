"""Decode speed of the demo model in transformers and PEFT: the numbers beside bench/decode.ts.

    python3 bench/peers/decode_demo.py [--quick] [--cpu]
"""
import time
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from records import arguments, begin, record

args = arguments()
base = "examples/demo/base"
cases = (("base", None, 200), ("FourierFT, seven linears", "fourierft-kjv", 60), ("LoRA r = 8", "lora-kjv", 200))


def load(adapter=None):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(args.device).eval()
    return PeftModel.from_pretrained(model, f"examples/demo/adapters/{adapter}").eval() if adapter else model


@torch.no_grad()
def tokens_per_second(model, count):
    ids = torch.tensor([[0, 41, 78, 262, 2952]], device=args.device)
    start = time.perf_counter()
    model.generate(input_ids=ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    return count / (time.perf_counter() - start)


begin(args, "transformers", "peft")
for row, adapter, count in cases:
    model = load(adapter)
    tokens_per_second(model, 10)
    runs = sorted(tokens_per_second(model, 10 if args.quick else count) for _ in range(1 if args.quick else 5))
    record("decode-demo", row, "transformers and PEFT", "tokens/s", runs[len(runs) // 2], minimum=runs[0], runs=len(runs))
