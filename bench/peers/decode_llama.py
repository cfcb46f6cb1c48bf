"""Decoding with Llama-3.2-1B's shape and random weights in transformers and PEFT: beside bench/decode_llama.ts.

    python3 bench/peers/decode_llama.py [--quick] [--cpu]
"""
import os
import statistics
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is looked for on the network

import torch
from peft import FourierFTConfig, LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from records import arguments, begin, end_after, record

args = arguments()
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
if args.quick:
    shape = dict(vocab_size=512, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    batch, tokens, rounds = 4, 8, 1
else:
    shape = dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64)
    batch, tokens, rounds = 64, 32, 3
adapters = {
    "PEFT FourierFT": (FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=linears, init_weights=False), 8),
    "PEFT LoRA r = 16": (LoraConfig(r=16, target_modules=linears), tokens),
}


def base():
    torch.manual_seed(0)
    config = LlamaConfig(**shape, tie_word_embeddings=True, rope_theta=500000.0, max_position_embeddings=1024, eos_token_id=None)
    dtype = torch.float16 if args.cuda else torch.float32
    with torch.device(args.device):  # a billion random numbers take a CPU long
        return LlamaForCausalLM(config).to(args.device, dtype).eval()


def adapted(config):
    """PEFT draws the frequencies of each linear anew, a permutation of all its elements: linears of a size have the same."""
    draw, drawn = torch.randperm, {}

    def once(count, generator):
        if count not in drawn:
            drawn[count] = draw(count, generator=generator)
        return drawn[count]

    torch.randperm = once
    try:
        return get_peft_model(base(), config).to(args.device).eval()
    finally:
        torch.randperm = draw


@torch.no_grad()
def step_ms(model, count, new_tokens):
    """Milliseconds a step of decoding: generation of new tokens less that of one, a step each."""
    ids = torch.arange(3, 19, device=args.device).repeat(count, 1)

    def run(length):
        if args.cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        model.generate(input_ids=ids, max_new_tokens=length, min_new_tokens=length, do_sample=False, pad_token_id=0)
        if args.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    run(2)
    return 1000 * statistics.median((run(new_tokens) - run(1)) / (new_tokens - 1) for _ in range(rounds))


def report(row, column, count, ms):
    record("decode-llama-1b", row, f"{column}: a step", "ms", ms)
    record("decode-llama-1b", row, column, "tokens/s", 1000 * count / ms)


def main():
    begin(args, "transformers", "peft")
    end_after(seconds=120)
    plain = base()
    for count in (1, batch):
        report(f"batch {count}, base", "transformers", count, step_ms(plain, count, tokens))
    del plain
    for name, (config, new_tokens) in adapters.items():
        model = adapted(config)
        report("batch 1, an adapter", name, 1, step_ms(model, 1, new_tokens))
        del model


main()
