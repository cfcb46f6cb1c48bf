/**
 * `fourierft quantize`: a model folder with its linears' weights in 8 or 4 bits.
 *
 * @module
 */
import { defineCommand } from "citty";
import { quantizeFolder } from "../quantize.ts";
import { fillFolder } from "../runtime/output.ts";
import { UsageError } from "./arguments.ts";
import { openNamedFolder } from "./folder.ts";
import { log, progressBar } from "./open.ts";

/** See the module's documentation. */
export const quantize = defineCommand({
  meta: {
    name: "quantize",
    description: "Write a copy of a model folder with its linears' weights in 8 or 4 bits",
  },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    out: { type: "string", required: true, description: "New folder to write", valueHint: "DIR" },
    bits: { type: "string", required: true, description: "8 or 4", valueHint: "N" },
  },
  async run({ args }) {
    if (args.bits !== "8" && args.bits !== "4") {
      throw new UsageError(`Cannot read --bits "${args.bits}": it must be 8 or 4`);
    }
    const model = await openNamedFolder(args.model);
    const to = args.bits === "8" ? "int8" : "int4", bar = progressBar("tensors");
    await fillFolder(args.out, (out) => quantizeFolder({ model, to, out, onWeight: bar.update }))
      .finally(() => bar.stop());
    log(`${args.out}: the linears' weights have ${args.bits} bits`);
  },
});
