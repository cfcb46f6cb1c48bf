"""llama.cpp by ctypes, with the libraries of npm's node-llama-cpp 3.22.1: no test needs it.

    python llama_cpp.py LIBRARIES quantize IN.gguf OUT.gguf FTYPE   # 0 float32, 2 Q4_0, 7 Q8_0, 15 Q4_K_M, 18 Q6_K
    python llama_cpp.py LIBRARIES logits MODEL.gguf "[1, 2, 3]"     # JSON: last_logits, and 12 greedy ids

LIBRARIES is the folder @node-llama-cpp/linux-x64/bins/linux-x64. A file in blocks is compared by its float32 copy
(FTYPE 0), since llama.cpp rounds what it multiplies blocks by to 8 bits. Its caches are float16: 3e-3 of a logit.
"""
import ctypes as C
import json
import sys
from pathlib import Path


class Params(C.Structure):
    """Larger than any struct of parameters: they are passed by value, and read from their beginning."""

    _fields_ = [("bytes", C.c_uint8 * 512)]


class Batch(C.Structure):
    _fields_ = [("count", C.c_int32)] + [(name, C.c_void_p) for name in ("token", "embd", "pos", "n", "seq", "logits")]


def load(folder):
    C.CDLL(str(folder / "libggml-base.so"), C.RTLD_GLOBAL)
    ggml = C.CDLL(str(folder / "libggml.v0.5.0.so"), C.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(C.c_char_p(f"{folder}/".encode()))
    llama = C.CDLL(str(folder / "libllama.v0.5.0.so"), C.RTLD_GLOBAL)
    for name in ("model_default_params", "context_default_params", "model_quantize_default_params"):
        getattr(llama, f"llama_{name}").restype = Params
    for name in ("model_load_from_file", "init_from_model", "model_get_vocab"):
        getattr(llama, f"llama_{name}").restype = C.c_void_p
    llama.llama_batch_get_one.restype = Batch
    llama.llama_get_logits_ith.restype = C.POINTER(C.c_float)
    llama.llama_backend_init()
    return llama


def quantize(llama, source, target, ftype):
    params = llama.llama_model_quantize_default_params()
    C.c_int32.from_buffer(params, 4).value = ftype
    # allow_requantize
    C.c_uint8.from_buffer(params, 16).value = 1
    if llama.llama_model_quantize(source.encode(), target.encode(), C.byref(params)) != 0:
        raise SystemExit(f"cannot quantize {source}")


def logits(llama, path, ids, steps=12):
    model = C.c_void_p(llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params()))
    params = llama.llama_context_default_params()
    C.c_uint32.from_buffer(params, 0).value = max(128, len(ids) + steps)
    context = C.c_void_p(llama.llama_init_from_model(model, params))
    # More threads than free cores wait for each other.
    llama.llama_set_n_threads(context, 1, 1)
    count = llama.llama_vocab_n_tokens(C.c_void_p(llama.llama_model_get_vocab(model)))
    first, greedy, todo = None, [], ids
    for _ in range(steps):
        tokens = (C.c_int32 * len(todo))(*todo)
        assert llama.llama_decode(context, llama.llama_batch_get_one(tokens, len(todo))) == 0
        row = llama.llama_get_logits_ith(context, -1)[:count]
        first = first or row
        todo = [max(range(count), key=row.__getitem__)]
        greedy += todo
    return {"last_logits": first, "greedy": greedy}


if __name__ == "__main__":
    library = load(Path(sys.argv[1]).resolve())
    if sys.argv[2] == "quantize":
        quantize(library, sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        print(json.dumps(logits(library, sys.argv[3], json.loads(sys.argv[4]))))
