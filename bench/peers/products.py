"""Dense products by torch.matmul (cuBLAS): the columns beside bench/products.ts.

    python3 bench/peers/products.py [--quick] [--cpu]
"""
import torch
from records import arguments, begin, record, summary, times_us

args = arguments()


def sizes():
    """rows, in, out, dtype, with the row's name in bench/products.ts."""
    if args.quick:
        return [(64, 64, 64, torch.float32), (1, 256, 256, torch.float32)]
    if not args.cuda:
        return [(512, 512, 512, torch.float32), (1, 4096, 4096, torch.float32)]
    f16 = torch.float16
    return [(4096, 4096, 4096, torch.float32), (4096, 4096, 4096, f16), (1, 4096, 4096, f16)] + [
        (rows, 8192, 28672, f16) for rows in (1, 8, 64)
    ] + [(1, 8192, 28672, torch.float32)]


@torch.no_grad()
def main():
    begin(args)
    for rows, inner, out, dtype in sizes():
        bytes_each = inner * out * dtype.itemsize
        # Weights in turn, so that none is found in a cache.
        count = 1 if args.quick else max(1, min(64, 2**28 // bytes_each))
        weights = [torch.randn(out, inner, device=args.device, dtype=dtype) for _ in range(count)]
        x = torch.randn(rows, inner, device=args.device, dtype=dtype)
        turn = iter(range(10**9))
        runs = 3 if args.quick else 30
        times = times_us(args, lambda: x @ weights[next(turn) % count].T, runs)
        row = f"linear, {rows} x {inner} by {out}, {str(dtype).removeprefix('torch.')}"
        measured = summary(times)
        record("products", row, "torch", "us", **measured)
        record("products", row, "torch's rate", "GFLOP/s", 2 * rows * inner * out / measured["median"] / 1e3)


main()
