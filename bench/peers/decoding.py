"""Llama-3.2-1B's shape, or the demo model's on a CPU, with random weights in transformers, and the time of a decode step: for the peers of decode benches."""
import os
import statistics
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is looked for on the network

import torch
from peft import get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
small = dict(vocab_size=512, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
# bench/random_model.ts has the demo model's shape, too.
demo = dict(vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4)
llama1b = dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64)


def base(args):
    torch.manual_seed(0)
    shape = small if args.quick else llama1b if args.cuda else demo
    config = LlamaConfig(**shape, tie_word_embeddings=True, rope_theta=500000.0, max_position_embeddings=1024, eos_token_id=None)
    dtype = torch.float16 if args.cuda else torch.float32
    with torch.device(args.device):  # a billion random numbers take a CPU long
        return LlamaForCausalLM(config).to(args.device, dtype).eval()


def adapted(args, config):
    """PEFT draws the frequencies of each linear anew, a permutation of all its elements: linears of a size have the same."""
    draw, drawn = torch.randperm, {}

    def once(count, generator=None, **rest):
        if generator is None or rest:
            return draw(count, generator=generator, **rest)
        if count not in drawn:
            drawn[count] = draw(count, generator=generator)
        return drawn[count]

    torch.randperm = once
    try:
        return get_peft_model(base(args), config).to(args.device).eval()
    finally:
        torch.randperm = draw


@torch.no_grad()
def step_ms(args, model, count, *, new_tokens, rounds):
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
