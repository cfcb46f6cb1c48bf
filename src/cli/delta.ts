/**
 * `fourierft delta`: one module's dW as a safetensors file.
 *
 * @module
 */
import { deltaOf } from "../adapters/apply.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { NotFoundError } from "../errors.ts";
import { fromTensor, writeSafetensors } from "../safetensors/mod.ts";
import { writeNamedFile } from "../runtime/output.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { baseOfModule } from "./base.ts";
import { nearestPaths } from "./nearest.ts";
import { deviceArgs, jsonArgs, openNamedDevice, tell } from "./open.ts";
import { readOptions, shapeArgs, shapeOfModule } from "./shape.ts";
import { counted } from "./words.ts";

/** See the module's documentation. */
export const delta = defineCommand({
  meta: {
    name: "delta",
    description: "Write one module's dW (tensor delta_weight, float32) to a safetensors file",
  },
  args: {
    adapter: { type: "string", required: true, description: "PEFT adapter folder", valueHint: "DIR" },
    module: {
      type: "string",
      required: true,
      description: "Module path, e.g. model.layers.0.self_attn.q_proj",
      valueHint: "MODULE",
    },
    ...shapeArgs,
    out: { type: "string", required: true, description: "File to write", valueHint: "FILE" },
    ...deviceArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Write one module's dW",
      line:
        "delta --adapter examples/demo/adapters/fourierft-kjv --module model.layers.0.self_attn.q_proj --model examples/demo/base --out delta.safetensors",
    },
  ],
  async run({ args }) {
    const { method, modules } = await loadAdapter(
      await openNamedFolder(args.adapter),
      await readOptions(args.model),
    );
    const module = modules.get(args.module);
    if (!module) {
      throw new NotFoundError(
        `Cannot find module "${args.module}" in the adapter: of its ${
          counted(modules.size, "module")
        } the nearest are ${nearestPaths(args.module, [...modules.keys()]).join(", ")}`,
      );
    }
    const shape = await shapeOfModule({ path: args.module, module }, args);
    const device = await openNamedDevice(args);
    try {
      const base = await baseOfModule(device, { method, module, path: args.module }, args.model);
      const weight = await deltaOf(device, { path: args.module, method, module, shape, base });
      await writeNamedFile(args.out, writeSafetensors([fromTensor("delta_weight", weight)]));
      tell("done", `${args.out}: delta_weight (${shape.out}, ${shape.in}), float32`, {
        out: args.out,
        shape: [shape.out, shape.in],
      });
    } finally {
      device.destroy();
    }
  },
});
