"""SmolLM2-135M's shape with random weights in transformers, decoding and reading a prompt: the numbers beside bench/cpu.ts. Needs torch, transformers.

    python3 bench/peers/decode_shape.py
"""
import statistics
import time
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

prompt_tokens, tokens = 5, 60
config = LlamaConfig(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
    head_dim=64, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=2048,
)
torch.manual_seed(0)


@torch.no_grad()
def tokens_per_second(model, count):
    ids = torch.arange(1, prompt_tokens + 1)[None]
    begin = time.perf_counter()
    model.generate(input_ids=ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    return count / (time.perf_counter() - begin)


@torch.no_grad()
def prompt_tokens_per_second(model, count):
    begin = time.perf_counter()
    model(input_ids=torch.arange(1, count + 1)[None], logits_to_keep=1)
    return count / (time.perf_counter() - begin)


print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads")
for dtype in (torch.float32, torch.bfloat16):
    model = LlamaForCausalLM(config).to(dtype).eval()
    tokens_per_second(model, 10)
    runs = [tokens_per_second(model, tokens) for _ in range(5)]
    reads = [prompt_tokens_per_second(model, 128) for _ in range(5)]
    for what, values in (("decoding", runs), ("a prompt of 128", reads)):
        print(f"{str(dtype):16s} {what:16s} {statistics.median(values):6.1f} tokens/s, best {max(values):.1f}")
