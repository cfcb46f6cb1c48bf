"""A checkpoint of ETHER's or SVFT's authors to an adapter folder.

    python checkpoint_to_safetensors.py lit_model_ether_finetuned.pth OUT --htype ether --nb 4
    python checkpoint_to_safetensors.py svft.pth OUT --pattern banded --off-diag 2

Needs torch and safetensors. The checkpoint is read with weights_only, so that it cannot run code. What an adapter folder cannot
say is refused by name.

SVFT: torch.save(model.state_dict(), "svft.pth") before the model is fused. ETHER: the file that finetune/ether.py of
ether-instruct writes; its modules get the names of Hugging Face's Llama.
"""
import argparse
import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

SVFT = ("u", "v", "s_pre", "s", "gate", "s_row", "s_col", "s_pre_row", "s_pre_col")
LIT = {
    "attn.proj": "self_attn.o_proj",
    "mlp.fc_1": "mlp.gate_proj",
    "mlp.fc_2": "mlp.up_proj",
    "mlp.proj": "mlp.down_proj",
}


def refuse(why):
    raise SystemExit(f"Cannot convert the checkpoint: {why}")


def svft(state, args):
    tensors = {}
    for name, t in state.items():
        found = re.fullmatch(r"(?:module\.)?(.+\.svft_layer\.(\w+))", name)
        if not found:
            continue
        if found[2] not in SVFT:
            refuse(f'"{name}" is no tensor of SVFT')
        tensors[found[1]] = t
    config = {"pattern": args.pattern, "off_diag": args.off_diag, "rank": args.rank, "fill_orthonormal": False}
    return {"peft_type": "SVFT", **config}, tensors


def ether(state, args):
    tensors, flipped = {}, set()
    for name, t in state.items():
        found = re.fullmatch(r"transformer\.h\.(\d+)\.(.+)\.ether_R([234]?)([qkv]?)", name)
        if not found:
            if "ether_" in name:
                refuse(f'"{name}" is of no linear of a Llama\'s layers')
            continue
        layer, module, number, part = found.groups()
        if module == "attn.attn" and part:
            # The authors reflect the outputs of q, k and v first: R and R2 are the left side, R3 and R4 the right.
            own = f"self_attn.{part}_proj"
            if args.htype == "etherplusHH":
                number = {"": "3", "2": "4", "3": "", "4": "2"}[number]
            else:
                flipped.add(f"{part}_proj")
            t = t[0]
        elif module in LIT and not part:
            own = LIT[module]
        else:
            refuse(f'"{name}" is of no linear of a Llama\'s layers')
        tensors[f"model.layers.{layer}.{own}.ether_R{number}"] = t
    if args.nb is None or args.htype is None:
        refuse("--nb and --htype of the run are needed")
    config = {"Htype": args.htype, "nb": args.nb, "flip_side": args.flip_side, "flip_modules": sorted(flipped)}
    return {"peft_type": "ETHER", **config}, tensors


def main():
    parser = argparse.ArgumentParser(description="A checkpoint of ETHER's or SVFT's authors to an adapter folder")
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--htype", choices=["ether", "etherplus", "etherplusHH"])
    parser.add_argument("--nb", type=int)
    parser.add_argument("--flip-side", action="store_true")
    parser.add_argument("--pattern", choices=["banded", "random", "top_k"], default="banded")
    parser.add_argument("--off-diag", type=int, default=0)
    parser.add_argument("--rank", type=int)
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    state = state.get("model", state.get("state_dict", state))
    convert = svft if any(".svft_layer." in name for name in state) else ether
    config, tensors = convert(state, args)
    if not tensors:
        refuse("it has no tensor of SVFT or ETHER")
    out = Path(args.out)
    out.mkdir(parents=True)
    save_file({name: t.detach().contiguous().clone() for name, t in tensors.items()}, out / "adapter_model.safetensors")
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{out}: {len(tensors)} tensors of {config['peft_type']}")


if __name__ == "__main__":
    main()
