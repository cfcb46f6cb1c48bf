"""What peers' scripts print: JSON, one object a line; `deno task bench:... --python PATH` takes them in.

The first line says the versions and the clock, every other one is a measurement: see bench/measurement.ts.
"""
import argparse
import importlib.metadata
import json
import os
import statistics
import sys
import threading
import time
import torch

# Packages print to standard output, too: what they say goes to standard error.
_out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def arguments():
    """--quick: small sizes, few runs. --cpu: on the CPU, even where there is a GPU. --rows: a regular expression. --rounds: repetitions, where a
    peer has some."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--rounds", type=int)
    args = parser.parse_args()
    args.cuda = torch.cuda.is_available() and not args.cpu
    args.device = "cuda" if args.cuda else "cpu"
    return args


def begin(args, *packages, clock=None):
    """Prints the first line. Float32 is float32: no TF32. The clock is CUDA events on a GPU where none is named."""
    torch.backends.cuda.matmul.allow_tf32 = False
    versions = {"torch": torch.__version__, **{name: importlib.metadata.version(name) for name in packages}}
    if args.cuda:
        versions["GPU"] = torch.cuda.get_device_name()
    else:
        versions["threads"] = str(torch.get_num_threads())
    print(json.dumps({"versions": versions, "clock": clock or ("CUDA events" if args.cuda else "wall time")}), file=_out, flush=True)


def record(table, row, column, unit, median, **rest):
    print(json.dumps({"table": table, "row": row, "column": column, "unit": unit, "median": median, **rest}), file=_out, flush=True)


def end_after(seconds):
    """Ends the process then, wherever it is: what it has printed counts."""

    def end():
        log(f"ended after {seconds} s: what is missing was not measured")
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def times_us(args, call, runs):
    """Microseconds of each of `runs` calls: by CUDA events, or wall time on a CPU."""
    for _ in range(1 if args.quick or not args.cuda else 5):
        call()
    times = []
    for _ in range(runs):
        if not args.cuda:
            start = time.perf_counter()
            call()
            times.append((time.perf_counter() - start) * 1e6)
            continue
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) * 1000)
    return times


def summary(times):
    return {"median": statistics.median(times), "minimum": min(times), "slowest": max(times), "runs": len(times)}


def log(text):
    print(text, file=sys.stderr, flush=True)
