/**
 * `fourierft merge`: a model folder with an adapter's dW added into its weights.
 *
 * @module
 */
import { loadAdapter } from "../adapters/peft.ts";
import { folderOptions, mergeFolder } from "../merge.ts";
import { fillFolder } from "../runtime/output.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { deviceArgs, jsonArgs, openNamedDevice, parseDevice, progress, tell } from "./open.ts";
import { counted } from "./words.ts";

/** See the module's documentation. */
export const merge = defineCommand({
  meta: {
    name: "merge",
    description: "Write a copy of a model folder with an adapter merged into its weights",
  },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    adapter: { type: "string", required: true, description: "PEFT adapter folder", valueHint: "DIR" },
    out: { type: "string", required: true, description: "New folder to write", valueHint: "DIR" },
    ...deviceArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Write a model that speaks as the adapter does",
      line: "merge --model examples/demo/base --adapter examples/demo/adapters/fourierft-kjv --out merged",
    },
  ],
  async run({ args }) {
    parseDevice(args);
    const model = await openNamedFolder(args.model);
    const adapter = await loadAdapter(await openNamedFolder(args.adapter), await folderOptions(model));
    await fillFolder(args.out, async (out) => {
      const device = await openNamedDevice(args);
      const bar = progress({ unit: "weights" });
      try {
        await mergeFolder(device, { model, adapter, out, onWeight: bar.update });
      } finally {
        bar.stop();
        device.destroy();
      }
    });
    const { modules, replacements } = adapter;
    const replaced = replacements.size > 0 ? `, ${counted(replacements.size, "parameter")} replaced` : "";
    tell("done", `${args.out}: ${modules.size} of the model's weights merged${replaced}`, {
      out: args.out,
      modules: modules.size,
      replaced: replacements.size,
    });
  },
});
