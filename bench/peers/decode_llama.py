"""Decoding with Llama-3.2-1B's shape and random weights in transformers and PEFT: beside bench/decode_llama.ts.

    python3 bench/peers/decode_llama.py [--quick] [--cpu]
"""
from decoding import adapted, base, linears, step_ms  # first: it keeps transformers off the network
from peft import FourierFTConfig, LoraConfig
from records import arguments, begin, end_after, record

args = arguments()
batch, tokens, rounds = (4, 8, 1) if args.quick else (64, 32, 3)
adapters = {
    "PEFT FourierFT": (FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=linears, init_weights=False), 8),
    "PEFT LoRA r = 16": (LoraConfig(r=16, target_modules=linears), tokens),
}


def report(row, column, count, ms):
    record("decode-llama-1b", row, f"{column}: a step", "ms", ms)
    record("decode-llama-1b", row, column, "tokens/s", 1000 * count / ms)


def main():
    begin(args, "transformers", "peft")
    end_after(seconds=120)
    plain = base(args)
    for count in (1, batch):
        report(f"batch {count}, base", "transformers", count, step_ms(args, plain, count, new_tokens=tokens, rounds=rounds))
    del plain
    for name, (config, new_tokens) in adapters.items():
        model = adapted(args, config)
        report("batch 1, an adapter", name, 1, step_ms(args, model, 1, new_tokens=new_tokens, rounds=rounds))
        del model


main()
