/**
 * `fourierft merge`: a model folder with an adapter's dW added into its weights.
 *
 * @module
 */
import { defineCommand } from "citty";
import { loadAdapter } from "../adapters/peft.ts";
import { folderOptions, mergeFolder } from "../merge.ts";
import { fillFolder } from "../runtime/output.ts";
import { openNamedFolder } from "./folder.ts";
import { deviceArgs, log, openNamedDevice, parseDevice, progressBar } from "./open.ts";

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
  },
  async run({ args }) {
    parseDevice(args);
    const model = await openNamedFolder(args.model);
    const adapter = await loadAdapter(await openNamedFolder(args.adapter), await folderOptions(model));
    await fillFolder(args.out, async (out) => {
      const device = await openNamedDevice(args);
      const bar = progressBar("weights");
      try {
        await mergeFolder(device, { model, adapter, out, onWeight: bar.update });
      } finally {
        bar.stop();
        device.destroy();
      }
    });
    const { modules, replacements } = adapter;
    const replaced = replacements.size > 0 ? `, ${replacements.size} parameters replaced` : "";
    log(`${args.out}: ${modules.size} of the model's weights merged${replaced}`);
  },
});
