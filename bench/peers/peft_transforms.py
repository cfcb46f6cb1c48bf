"""What PEFT's C3A, WaveFT, FourierFT, LoRA and DoRA add to a linear layer: the column beside bench/transforms.ts.

    python3 bench/peers/peft_transforms.py [--quick] [--cpu]
"""
import statistics
import torch
from torch import nn
from peft import C3AConfig, FourierFTConfig, LoraConfig, WaveFTConfig, get_peft_model
from records import arguments, begin, log, record, times_us

args = arguments()


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, d, bias=False)

    def forward(self, x):
        return self.linear(x)


def configs():
    """Adapters by the names of their rows, random in every number."""
    target = {"target_modules": ["linear"]}
    for b in [32] if args.quick else [64, 256, 1024]:
        yield f"C3A, b = {b}", C3AConfig(block_size=b, **target)
    for family in ("db1", "db4"):
        yield f"WaveFT, {family}, n = 2592", WaveFTConfig(n_frequency=2592, wavelet_family=family, init_weights=False, **target)
    yield "FourierFT, n = 1000", FourierFTConfig(n_frequency=1000, scaling=150.0, init_weights=False, **target)
    yield "LoRA, r = 16", LoraConfig(r=16, **target)
    yield "DoRA, r = 16", LoraConfig(r=16, use_dora=True, **target)


@torch.no_grad()
def main():
    begin(args, "peft")
    runs = 1 if args.quick else 30 if args.cuda else 5
    d, token_counts = (256, (1, 8)) if args.quick else (4096, (1, 64, 512, 4096) if args.cuda else (1, 64))
    base = Layer(d).to(args.device).eval()
    inputs = {tokens: torch.randn(tokens, d, device=args.device) for tokens in token_counts}
    plain = {tokens: statistics.median(times_us(args, lambda: base(x), runs)) for tokens, x in inputs.items()}
    for name, config in configs():
        torch.manual_seed(0)
        model = get_peft_model(Layer(d), config).to(args.device).eval()
        for tokens, x in inputs.items():
            try:
                adds = statistics.median(times_us(args, lambda: model(x), runs)) - plain[tokens]
            except torch.cuda.OutOfMemoryError as error:
                log(f"left out: {name}, T = {tokens}: {error}")
                continue
            record("transforms", f"{name}, T = {tokens}", "PEFT adds", "us", adds, runs=runs)
        del model


main()
