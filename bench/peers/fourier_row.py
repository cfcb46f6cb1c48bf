"""What PEFT's FourierFT adds to one row of a 4096 x 4096 linear on a CPU: the number beside bench/cpu.ts. Needs torch, peft.

    python3 bench/peers/fourier_row.py
"""
import statistics
import time
import peft
import torch

d, n = 4096, 1000


@torch.no_grad()
def milliseconds(module, x):
    begin = time.perf_counter()
    module(x)
    return 1000 * (time.perf_counter() - begin)


base = torch.nn.Sequential(torch.nn.Linear(d, d, bias=False))
x = torch.randn(1, d)
plain = [milliseconds(base, x) for _ in range(20)]
adapted = peft.get_peft_model(base, peft.FourierFTConfig(n_frequency=n, target_modules=["0"]))
milliseconds(adapted, x)
runs = [milliseconds(adapted, x) for _ in range(20)]
print(f"torch {torch.__version__}, peft {peft.__version__}, {torch.get_num_threads()} threads")
print(f"base {statistics.median(plain):.2f} ms, with FourierFT {statistics.median(runs):.2f} ms")
