"""What PEFT's FourierFT and LoRA add to a linear layer: the numbers beside bench/fourier.ts. Needs torch and peft.

Run by hand on the machine that ran bench/fourier.ts:  python3 bench/peers/peft_fourierft.py
"""
import sys
import statistics
import torch
from torch import nn
from peft import FourierFTConfig, LoraConfig, get_peft_model

cuda = torch.cuda.is_available()
device = "cuda" if cuda else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, d, bias=False)

    def forward(self, x):
        return self.linear(x)


def time_us(call, runs):
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        if cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) * 1000)
        else:
            import time
            begin = time.perf_counter()
            call()
            times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def adapted(d, config):
    torch.manual_seed(0)
    return get_peft_model(Layer(d), config).to(device).eval()


def main():
    runs = 30 if cuda else 5
    print(torch.__version__, torch.cuda.get_device_name() if cuda else "cpu", flush=True)
    shapes = [(4096, (1, 64, 512, 4096)), (8192, (1, 512, 4096))] if cuda else [(4096, (1,))]
    with torch.no_grad():
        for d, token_counts in shapes:
            base = Layer(d).to(device).eval()
            fourier = adapted(d, FourierFTConfig(n_frequency=1000, scaling=150.0, target_modules=["linear"], init_weights=False))
            lora = adapted(d, LoraConfig(r=16, target_modules=["linear"]))
            for tokens in token_counts:
                x = torch.randn(tokens, d, device=device)
                plain = time_us(lambda: base(x), runs)
                with_fourier = time_us(lambda: fourier(x), runs)
                with_lora = time_us(lambda: lora(x), runs)
                print(f"d = {d} T = {tokens}: base {plain:.1f} us, FourierFT adds {with_fourier - plain:.1f}, LoRA r=16 adds {with_lora - plain:.1f}", flush=True)
            layer = fourier.base_model.model.linear
            print(f"dW {d} x {d}: {time_us(lambda: layer.get_delta_weight('default'), runs):.1f} us", flush=True)
            del base, fourier, lora


main()
