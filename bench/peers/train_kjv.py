"""Trains a FourierFT adapter of the demo model with PEFT: the numbers beside `fourierft train` on the same files.

    python3 bench/peers/train_kjv.py TRAIN.txt HELD_OUT.txt [STEPS [LR [WARM_UP_STEPS [MAX_NORM]]]]

MAX_NORM 0 is no clipping.

Files hold documents separated by form feeds, or are one document. Needs torch, transformers and peft.
"""
import sys
import time
import torch
from peft import FourierFTConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, get_cosine_schedule_with_warmup

train_file, held_file = sys.argv[1:3]
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 120
lr = float(sys.argv[4]) if len(sys.argv) > 4 else 0.2
warm_up = int(sys.argv[5]) if len(sys.argv) > 5 else 30
max_norm = float(sys.argv[6]) if len(sys.argv) > 6 else 1.0
batch, context = 32, 512
device = "cuda" if torch.cuda.is_available() else "cpu"
base = "examples/demo/base"
tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{base}/tokenizer.json")
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(device)
torch.manual_seed(0)
config = FourierFTConfig(
    n_frequency=1000, scaling=150.0, init_weights=True, task_type="CAUSAL_LM",
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
)
model = get_peft_model(model, config)


def sequences(path):
    ids = []
    for document in open(path, encoding="utf-8").read().split("\f"):
        if document.strip():
            ids += tokenizer(document)["input_ids"]
    count = (len(ids) - 1) // context
    return torch.tensor(ids[: count * context]).view(count, context)


train, held = sequences(train_file), sequences(held_file)


@torch.no_grad()
def perplexity():
    model.eval()
    total, count = 0.0, 0
    for i in range(0, len(held), batch):
        ids = held[i : i + batch].to(device)
        logits = model(input_ids=ids).logits[:, :-1].float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
        count += ids[:, 1:].numel()
    model.train()
    return float(torch.tensor(total / count).exp())


optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)
schedule = get_cosine_schedule_with_warmup(optimizer, warm_up, steps)
print(f"{torch.__version__} {torch.cuda.get_device_name() if device == 'cuda' else 'cpu'}; {len(train)} sequences; before: {perplexity():.2f}", flush=True)
order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
times = []
for step in range(steps):
    rows = order[torch.arange(step * batch, (step + 1) * batch) % len(order)]
    ids = train[rows].to(device)
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    if max_norm > 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()
    times.append(time.perf_counter() - begin)
times.sort()
print(f"PEFT FourierFT: {steps} steps at {lr}, {warm_up} of warm-up, norm {max_norm}, {1000 * times[len(times) // 2]:.1f} ms a step (median), held-out perplexity {perplexity():.2f}", flush=True)
