"""PEFT's column of bench/paper.ts: the same models, data, order, settings and steps, and no dropout.

    python3 bench/peers/paper.py [--quick] [--cpu] [--rows TEXT] [--rounds N]

A row is a table's name and a method's, as in `d2t lora-1`. The bench writes the batches of `d2t` and `kjv` to
dist/bench, and so must be run before with the same rows.
"""
import json
import os
import random
import re
import statistics
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is looked for on the network

import numpy
import peft
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import get_cosine_schedule_with_warmup
from records import arguments, begin, log, record

args = arguments()
own, others = "examples/paper", "dist/paper"
# As settings.ts has them.
tasks = {
    "books": dict(model="roberta-tiny", batch=64, epochs=3, labels=5),
    "year": dict(model="roberta-tiny", batch=32, epochs=8, labels=1),
    "digits": dict(model="vit-tiny", batch=50, epochs=8, labels=5),
    "kjv": dict(model="gpt2-tiny"),
    "d2t": dict(model="gpt2-tiny"),
}
F = torch.nn.functional


def folder_of(task):
    return own if task == "digits" else others


def load(task):
    """The base in float32 without dropout; a head is drawn anew."""
    spec = tasks[task]
    path = f"{folder_of(task)}/models/{spec['model']}"
    kind = {"books": "Sequence", "year": "Sequence", "digits": "Image"}.get(task)
    if kind is None:
        none = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, **none)
    none = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    auto = getattr(transformers, f"AutoModelFor{kind}Classification")
    more = dict(problem_type="regression") if task == "year" else {}
    model = auto.from_pretrained(path, dtype=torch.float32, num_labels=spec["labels"], ignore_mismatched_sizes=True, **none, **more)
    if task == "digits":
        torch.nn.init.trunc_normal_(model.classifier.weight, std=0.02)
        torch.nn.init.zeros_(model.classifier.bias)
    return model


def config_of(task, method, setting, model):
    name, _, size = method.partition("-")
    r = int(size or 0)
    linears = {n.split(".")[-1] for n, _ in model.named_modules()}
    if "labels" in tasks[task]:
        names = ["query", "value"] if "query" in linears else ["q_proj", "v_proj"]
        common = dict(target_modules=names, modules_to_save=["classifier"])
    else:
        common = dict(target_modules=["c_attn"], fan_in_fan_out=True)
    if name == "fourierft":
        return peft.FourierFTConfig(n_frequency=r, scaling=setting["scaling"], random_loc_seed=777, init_weights=True, **common)
    if name in ("lora", "dora"):
        return peft.LoraConfig(r=r, lora_alpha=2 * r, use_dora=name == "dora", **common)
    if name == "vera":
        return peft.VeraConfig(r=r, projection_prng_key=0, save_projection=False, **common)
    return peft.VBLoRAConfig(r=r, num_vectors=64, vector_length=32, topk=2, **common)


def adapted(task, method, setting, seed):
    """The model with its adapter; groups of what is trained, with their learning rates."""
    torch.manual_seed(1000 + seed)
    model = load(task)
    head_lr = setting.get("head_lr", 0.002)
    if method == "head":
        model.requires_grad_(False)
        model.classifier.requires_grad_(True)
        model.to(args.device)
        return model, [dict(params=list(model.classifier.parameters()), lr=head_lr)]
    model = peft.get_peft_model(model, config_of(task, method, setting, model)).to(args.device)
    for module in model.modules():  # PEFT copies the places to the device in each forward: they are kept there
        if type(module).__name__ == "FourierFTLinear":
            module.indices = {name: places.to(args.device) for name, places in module.indices.items()}
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [dict(params=[p for n, p in named if ".classifier." not in n], lr=setting.get("lr", 0.05))]
    head = [p for n, p in named if ".classifier." in n]
    return model, groups + ([dict(params=head, lr=head_lr)] if head else [])


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def ranks(values):
    """Equal values share the mean of their ranks."""
    _, place, count = numpy.unique(values, return_inverse=True, return_counts=True)
    return (numpy.cumsum(count) - (count - 1) / 2)[place]


class Labelled:
    """Passages or digits, in the order that Python's generator shuffles; the last tenth is not trained on."""

    def __init__(self, task):
        self.task, self.spec = task, tasks[task]
        if task == "digits":
            arrays = numpy.load(f"{own}/data/digits_adapt.npz")
            parts = [list(zip(arrays[f"x_{part}"], (arrays[f"y_{part}"].astype("int64") - 5).tolist())) for part in ("train", "test")]
        else:
            tokenizer = Tokenizer.from_file(f"{others}/models/roberta-tiny/tokenizer.json")
            tokenizer.no_padding()
            tokenizer.no_truncation()
            parts = []
            for part in ("train", "test"):
                rows = read_lines(f"{others}/data/{task}_{part}.jsonl")
                encoded = tokenizer.encode_batch([row["text"] for row in rows], add_special_tokens=False)
                parts.append([([0] + e.ids[:126] + [2], row["label"]) for e, row in zip(encoded, rows)])
        self.train, self.test = parts[0][: len(parts[0]) * 9 // 10], parts[1]

    def batches(self, seed):
        shuffler, size = random.Random(3000 + seed), self.spec["batch"]
        for _ in range(self.spec["epochs"]):
            order = list(range(len(self.train)))
            shuffler.shuffle(order)
            for at in range(0, len(order) - size + 1, size):
                yield [self.train[i] for i in order[at : at + size]]

    def steps(self):
        return self.spec["epochs"] * (len(self.train) // self.spec["batch"])

    def logits(self, model, rows):
        if self.task == "digits":
            images = torch.from_numpy(numpy.stack([x for x, _ in rows])).to(args.device).float()
            return model(pixel_values=((images / 255 - 0.5) / 0.5)[:, None].expand(-1, 3, -1, -1)).logits
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([x + [1] * (width - len(x)) for x, _ in rows], device=args.device)
        return model(input_ids=ids, attention_mask=(ids != 1).long()).logits

    def loss(self, model, rows):
        found = self.logits(model, rows)
        labels = torch.tensor([y for _, y in rows], device=args.device)
        return F.mse_loss(found[:, 0], labels.float()) if self.task == "year" else F.cross_entropy(found, labels)

    def measure(self, model):
        found = torch.cat([self.logits(model, self.test[at : at + 100]).float().cpu() for at in range(0, len(self.test), 100)])
        labels = torch.tensor([y for _, y in self.test])
        if self.task != "year":
            return dict(accuracy=(found.argmax(-1) == labels).float().mean().item())
        p, y = found[:, 0].double().numpy(), labels.double().numpy()
        corr = lambda a, b: float(numpy.corrcoef(a, b)[0, 1])
        return dict(mae=float(abs(p - y).mean()), pearson=corr(p, y), spearman=corr(ranks(p), ranks(y)))


class Texts:
    """The batches that the bench trained on and measured with."""

    def __init__(self, task):
        self.task = task

    def read(self, seed):
        with open(f"dist/bench/paper-{self.task}-{seed}.json", encoding="utf-8") as file:
            sizes = json.load(file)
        words = numpy.fromfile(f"dist/bench/paper-{self.task}-{seed}.u32", dtype=numpy.int32)  # a target of none is -1
        shape = (-1, 2, sizes["batchSize"], sizes["contextLength"])
        self.all, self.count = torch.from_numpy(words.astype(numpy.int64)).view(shape).to(args.device), sizes["steps"]

    def batches(self, seed):
        self.read(seed)
        return iter(self.all[: self.count])

    def steps(self):
        return self.count

    def loss(self, model, batch, reduction="mean"):
        tokens, targets = batch
        logits = model(input_ids=tokens).logits.float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=reduction)

    def measure(self, model):
        held_out = self.all[self.count :]
        total = sum(self.loss(model, batch, "sum").item() for batch in held_out)
        return dict(perplexity=float(numpy.exp(total / (held_out[:, 1] >= 0).sum().item())))


def bytes_of(model, method):
    with tempfile.TemporaryDirectory() as folder:
        if method == "head":
            save_file({n: p.detach().cpu() for n, p in model.named_parameters() if p.requires_grad}, f"{folder}/adapter_model.safetensors")
        else:
            model.save_pretrained(folder, save_embedding_layers=False)
        return os.path.getsize(f"{folder}/adapter_model.safetensors")


def run(data, task, method, setting, seed):
    model, groups = adapted(task, method, setting, seed)
    batches = data.batches(seed)
    steps = 2 if args.quick else data.steps()
    params = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.05 * steps), steps)
    model.train()
    ends = []
    for _, batch in zip(range(steps), batches):
        data.loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if args.cuda:
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
    model.eval()
    with torch.no_grad():
        test = data.measure(model)
    return dict(test=test, bytes=bytes_of(model, method), ms=1000 * (ends[-1] - ends[min(1, len(ends) - 1)]) / max(1, len(ends) - 2))


def main():
    begin(args, "transformers", "peft", clock="wall time")
    with open(f"{own}/peft.json", encoding="utf-8") as file:
        tables = json.load(file)
    for task, table in tables.items():
        if not os.path.exists(f"{folder_of(task)}/models/{tasks[task]['model']}"):
            continue
        data = None
        for method, theirs in table["methods"].items():
            if not re.search(args.rows, f"{task} {method}"):
                continue
            try:
                data = data or (Labelled(task) if "labels" in tasks[task] else Texts(task))
                runs = [run(data, task, method, theirs["setting"], seed) for seed in range(1 if args.quick else args.rounds or 3)]
            except Exception as error:  # the others go on
                log(f"left out: {task} {method}: {type(error).__name__}: {error}")
                continue
            for metric in runs[0]["test"]:
                values = [found["test"][metric] for found in runs]
                record(f"paper-{task}", method, f"{metric}, PEFT", "", statistics.median(values),
                       minimum=min(values), slowest=max(values), runs=len(runs))
            record(f"paper-{task}", method, "bytes, PEFT", "", runs[0]["bytes"])
            record(f"paper-{task}", method, "a step, PEFT", "ms", statistics.median(found["ms"] for found in runs))


main()
