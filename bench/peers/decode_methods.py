"""What an adapter of each method adds to a decode step in PEFT: beside bench/decode_methods.ts.

    python3 bench/peers/decode_methods.py [--quick] [--cpu]

A batch has one adapter for all its rows: that is what PEFT has for most methods. On a CPU the shape is the demo model's.
With METHODS="IA3;HRA r = 8" only those rows are measured.
"""
import os
from decoding import adapted, base, linears, step_ms  # first: it keeps transformers off the network
import peft
from records import arguments, begin, end_after, log, record

args = arguments()
batch, tokens, rounds = (4, 4, 1) if args.quick else (64, 12, 2)
# The rows of bench/method_adapters.ts, with the same sizes; what is left out PEFT does not have.
configs = {
    "LoRA r = 16": lambda: peft.LoraConfig(r=16, target_modules=linears),
    "DoRA r = 16": lambda: peft.LoraConfig(r=16, use_dora=True, target_modules=linears),
    "IA3": lambda: peft.IA3Config(target_modules=linears, feedforward_modules=["down_proj"]),
    "VB-LoRA r = 4": lambda: peft.VBLoRAConfig(r=4, num_vectors=90, vector_length=32, target_modules=linears),
    "VeRA r = 64": lambda: peft.VeraConfig(r=64, target_modules=linears),
    "OFT blocks of 32": lambda: peft.OFTConfig(r=0, oft_block_size=32, use_cayley_neumann=True, target_modules=linears),
    "HRA r = 8": lambda: peft.HRAConfig(r=8, target_modules=linears),
    "RoAd 1": lambda: peft.RoadConfig(variant="road_1", group_size=16, target_modules=linears),
    "MiSS r = 64": lambda: peft.MissConfig(r=64, target_modules=linears),
    "DeLoRA r = 8": lambda: peft.DeloraConfig(r=8, delora_lambda=2, target_modules=linears),
    "BOFT blocks of 4": lambda: peft.BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=1, target_modules=linears),
    "AdaLoRA r = 12": lambda: peft.AdaLoraConfig(init_r=12, target_r=8, lora_alpha=12, total_step=10, target_modules=linears),
    "MiSS-bat r = 64": lambda: peft.MissConfig(r=64, init_weights="bat", target_modules=linears),
    "LoHa r = 8": lambda: peft.LoHaConfig(r=8, alpha=8, target_modules=linears),
    "LoKr r = 8": lambda: peft.LoKrConfig(r=8, alpha=8, target_modules=linears),
    "HiRA r = 32": lambda: peft.HiraConfig(r=32, target_modules=linears),
    "RandLoRA r = 32": lambda: peft.RandLoraConfig(r=32, save_projection=False, target_modules=linears),
    "SHiRA r = 32": lambda: peft.ShiraConfig(r=32, target_modules=linears),
    "C3A blocks of 128": lambda: peft.C3AConfig(block_size=128, target_modules=linears),
    "WaveFT n = 1000": lambda: peft.WaveFTConfig(n_frequency=1000, target_modules=linears),
    "TinyLoRA r = 2, u = 64": lambda: peft.TinyLoraConfig(r=2, u=64, target_modules=linears),
    "FourierFT n = 1000": lambda: peft.FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=linears),
}


def main():
    begin(args, "transformers", "peft")
    end_after(seconds=240 if args.cuda else 3000)
    counts = (1, batch)
    plain = base(args)
    bases = {count: step_ms(args, plain, count, new_tokens=tokens, rounds=rounds) for count in counts}
    del plain
    wanted = [row.strip() for row in os.environ.get("METHODS", "").split(";") if row.strip()]
    for row, config in configs.items():
        if wanted and row not in wanted:
            continue
        try:
            model = adapted(args, config())
            for count in counts:
                ms = step_ms(args, model, count, new_tokens=tokens, rounds=rounds)
                record("decode-methods", row, f"PEFT, batch {count}", "ms", ms)
                record("decode-methods", row, f"PEFT, batch {count} adds", "%", 100 * (ms / bases[count] - 1))
            del model
        except Exception as error:  # one that a version does not have leaves the others
            log(f"left out: {row}: {error}")


main()
