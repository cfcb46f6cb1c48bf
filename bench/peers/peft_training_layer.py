"""What training PEFT's FourierFT and LoRA adds to one linear layer: the columns beside bench/training_layer.ts.

    python3 bench/peers/peft_training_layer.py [--quick] [--cpu]

Forward and backward, the base weight frozen, the input's gradient asked for.
"""
import gc
import statistics
import torch
from torch import nn
from peft import FourierFTConfig, LoraConfig, get_peft_model
from records import arguments, begin, log, record, times_us

args = arguments()
adapters = {
    "PEFT FourierFT n = 1000": FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=["linear"], init_weights=False),
    "PEFT LoRA r = 16": LoraConfig(r=16, lora_alpha=16, target_modules=["linear"]),
}


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, d, bias=False)

    def forward(self, x):
        return self.linear(x)


def base(d):
    layer = Layer(d)
    layer.linear.weight.requires_grad_(False)
    return layer.to(args.device).train()


def measure(make, d, rows):
    """Median microseconds of forward + backward, and bytes allocated at the peak, the layer and its tensors included."""
    runs = 30 if args.cuda else 1 if args.quick else 3
    gc.collect()  # a model wrapped before may be in cycles, and its memory must not be counted here
    if args.cuda:
        torch.cuda.empty_cache()
    torch.manual_seed(0)
    model = make()
    x = torch.randn(rows, d, device=args.device, requires_grad=True)
    dy = torch.randn(rows, d, device=args.device)

    def call():
        x.grad = None
        for p in model.parameters():
            p.grad = None
        model(x).backward(dy)

    call()
    if args.cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = times_us(args, call, runs)
    return statistics.median(times), torch.cuda.max_memory_allocated() if args.cuda else 0


def main():
    begin(args, "peft")
    for d in (4096, 8192) if args.cuda else (64,) if args.quick else (1024,):
        for rows in (512, 4096) if args.cuda else (8,) if args.quick else (64,):
            row = f"d = {d}, T = {rows}"
            plain_us, plain_peak = measure(lambda: base(d), d, rows)
            record("training", row, "the base in torch", "us", plain_us)
            for name, config in adapters.items():
                try:
                    us, peak = measure(lambda: get_peft_model(base(d), config).to(args.device).train(), d, rows)
                except torch.cuda.OutOfMemoryError as error:
                    log(f"left out: {row}, {name}: {error}")
                    continue
                record("training", row, f"{name}: both", "us", us - plain_us)
                if args.cuda:
                    record("training", row, f"{name}: peak", "MiB", (peak - plain_peak) / 2**20)


main()
