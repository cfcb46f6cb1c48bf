"""What PEFT's FourierFT and LoRA add to a linear layer: the columns beside bench/fourier.ts and its sweep of T.

    python3 bench/peers/peft_fourierft.py [--quick] [--cpu]
"""
import statistics
import torch
from torch import nn
from peft import FourierFTConfig, LoraConfig, get_peft_model
from records import arguments, begin, record, summary, times_us

args = arguments()


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, d, bias=False)

    def forward(self, x):
        return self.linear(x)


def adapted(d, config):
    torch.manual_seed(0)
    return get_peft_model(Layer(d), config).to(args.device).eval()


def shapes():
    if args.quick:
        return [(256, (1, 8))]
    return [(4096, (1, 64, 512, 4096)), (8192, (1, 512, 4096))] if args.cuda else [(768, (1,)), (4096, (1, 16)), (8192, (1,))]


@torch.no_grad()
def main():
    begin(args, "peft")
    runs = 1 if args.quick else 30 if args.cuda else 5
    for d, token_counts in shapes():
        base = Layer(d).to(args.device).eval()
        fourier = adapted(d, FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=["linear"], init_weights=False))
        lora = adapted(d, LoraConfig(r=16, target_modules=["linear"]))
        for tokens in token_counts:
            x = torch.randn(tokens, d, device=args.device)
            row = f"{d} x {d}, T = {tokens}, 1 adapter"
            plain = statistics.median(times_us(args, lambda: base(x), runs))
            record("fourier", row, "the base in torch", "us", plain, runs=runs)
            for name, model in (("PEFT FourierFT adds", fourier), ("PEFT LoRA r = 16 adds", lora)):
                adds = statistics.median(times_us(args, lambda: model(x), runs)) - plain
                record("fourier", row, name, "us", adds, runs=runs)
                if d == 4096:
                    record("sweep-tokens", f"T = {tokens}", name, "us", adds, runs=runs, x=tokens)
        layer = fourier.base_model.model.linear
        record("fourier-delta", f"{d} x {d}", "PEFT", "us", **summary(times_us(args, lambda: layer.get_delta_weight("default"), runs)))
        del base, fourier, lora


main()
