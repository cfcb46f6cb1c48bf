"""What training PEFT's FourierFT and LoRA adds to one linear layer: the numbers beside bench/training_layer.ts.

    python3 bench/peers/peft_training_layer.py [--d 4096,8192] [--rows 512,4096] [--n-frequency 1000] [--r 16]

Forward and backward, the base weight frozen, the input's gradient asked for. Needs torch and peft.
"""
import argparse
import gc
import statistics
import time
import torch
from torch import nn
import peft
from peft import FourierFTConfig, LoraConfig, get_peft_model

cuda = torch.cuda.is_available()
device = "cuda" if cuda else "cpu"


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, d, bias=False)

    def forward(self, x):
        return self.linear(x)


def base(d):
    layer = Layer(d)
    layer.linear.weight.requires_grad_(False)
    return layer.to(device).train()


def adapted(d, config):
    return get_peft_model(base(d), config).to(device).train()


def timed_us(call):
    """Microseconds of one call: by CUDA events, or wall time on a CPU."""
    if not cuda:
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e6
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) * 1000


def measure(make, d, rows):
    """Median microseconds of forward + backward, and bytes allocated at the peak, the layer and its tensors included."""
    runs = 30 if cuda else 3
    gc.collect()  # a model wrapped before may be in cycles, and its memory must not be counted here
    if cuda:
        torch.cuda.empty_cache()
    torch.manual_seed(0)
    model = make()
    x = torch.randn(rows, d, device=device, requires_grad=True)
    dy = torch.randn(rows, d, device=device)

    def call():
        x.grad = None
        for p in model.parameters():
            p.grad = None
        model(x).backward(dy)

    for _ in range(5 if cuda else 1):
        call()
    peak = 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = [timed_us(call) for _ in range(runs)]
    if cuda:
        peak = torch.cuda.max_memory_allocated()
    return statistics.median(times), peak


def row(cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--d", default="4096,8192" if cuda else "256")
    parser.add_argument("--rows", default="512,4096" if cuda else "32")
    parser.add_argument("--n-frequency", type=int, default=1000)
    parser.add_argument("--r", type=int, default=16)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if cuda else "cpu, wall time"
    print(f"torch {torch.__version__}, peft {peft.__version__}, {name}")
    print(f"float32; allow_tf32 = {torch.backends.cuda.matmul.allow_tf32}, float32_matmul_precision = {torch.get_float32_matmul_precision()} (defaults); microseconds, MiB\n")
    row(["d", "T", "adapter", "base", "base + adapter", "adapter adds", "of base", "base peak MiB", "adapter adds MiB"])
    row(["--:", "--:", "---"] + 6 * ["--:"])
    for d in map(int, args.d.split(",")):
        adapters = {
            f"FourierFT n = {args.n_frequency}": FourierFTConfig(n_frequency=args.n_frequency, scaling=150.0, target_modules=["linear"], init_weights=False),
            f"LoRA r = {args.r}": LoraConfig(r=args.r, lora_alpha=args.r, target_modules=["linear"]),
        }
        for rows in map(int, args.rows.split(",")):
            plain_us, plain_peak = measure(lambda: base(d), d, rows)
            for label, config in adapters.items():
                try:
                    us, peak = measure(lambda: adapted(d, config), d, rows)
                except torch.cuda.OutOfMemoryError as error:
                    row([d, rows, label, f"{plain_us:.1f}", "out of memory", "", "", f"{plain_peak / 2**20:.1f}", str(error).split(".")[0]])
                    continue
                memory = [f"{plain_peak / 2**20:.1f}", f"{(peak - plain_peak) / 2**20:.3f}"] if cuda else ["", ""]
                row([d, rows, label, f"{plain_us:.1f}", f"{us:.1f}", f"{us - plain_us:.1f}", f"{100 * (us - plain_us) / plain_us:.1f} %"] + memory)


main()
