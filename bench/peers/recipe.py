"""What PEFT's methods come to with the steps, batches and learning rates of bench/recipe.ts: the column beside its own.

    python3 bench/peers/recipe.py [--quick] [--cpu]

The bench writes the batches and the runs to dist/bench/recipe.json and recipe.u32, and so must be run before.
"""
import json
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is looked for on the network

import numpy
import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, get_peft_model
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
from records import arguments, begin, end_after, log, record

args = arguments()
folder = "dist/bench"
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Fields of a file that are no settings of a new adapter.
not_settings = {"peft_type", "base_model_name_or_path", "inference_mode", "peft_version", "auto_mapping", "revision", "task_type"}


def read_plan():
    with open(f"{folder}/recipe.json", encoding="utf-8") as file:
        plan = json.load(file)
    count = plan["steps"] + plan["heldOutBatches"]
    words = numpy.fromfile(f"{folder}/recipe.u32", dtype=numpy.int32)  # a target of none is -1
    batches = torch.from_numpy(words.astype(numpy.int64)).view(count, 2, plan["batchSize"], plan["contextLength"]).to(args.device)
    return plan, batches[: plan["steps"]], batches[plan["steps"] :]


def loss_of(model, batch, reduction):
    tokens, targets = batch
    logits = model(input_ids=tokens).logits.float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=reduction)


@torch.no_grad()
def perplexity(model, held_out):
    model.eval()
    total = sum(loss_of(model, batch, "sum").item() for batch in held_out)
    model.train()
    return float(torch.tensor(total / (held_out[:, 1] >= 0).sum().item()).exp())


def adapted(config):
    model = AutoModelForCausalLM.from_pretrained("examples/demo/base", dtype=torch.float32).to(args.device)
    fields = {name: value for name, value in config.items() if name not in not_settings}
    torch.manual_seed(0)
    peft_config = PEFT_TYPE_TO_CONFIG_MAPPING[config["peft_type"]](**fields, task_type="CAUSAL_LM")
    return get_peft_model(model, peft_config).to(args.device)


def train(model, plan, training, lr):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, plan["steps"])
    model.train()
    for batch in training:
        loss_of(model, batch, "mean").backward()
        torch.nn.utils.clip_grad_norm_(trained, plan["maxNorm"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def main():
    begin(args, "transformers", "peft")
    end_after(seconds=100)
    plan, training, held_out = read_plan()
    for run in plan["runs"]:
        try:
            start = time.perf_counter()
            model = adapted(run["config"])
            train(model, plan, training, run["lr"])
            found = perplexity(model, held_out)
            record("recipe", run["row"], "PEFT's perplexity", "", found)
            record("recipe", run["row"], "PEFT took", "s", time.perf_counter() - start)
            del model
        except Exception as error:  # one that a version does not have leaves the others
            log(f"left out: {run['row']}: {error}")


main()
