/**
 * `fourierft quantize`: a model folder with its linears' weights in 8 or 4 bits.
 *
 * @module
 */
import { quantizeFolder } from "../quantize.ts";
import { fillFolder } from "../runtime/output.ts";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { jsonArgs, progress, tell } from "./open.ts";

/** See the module's documentation. */
export const quantize = defineCommand({
  meta: {
    name: "quantize",
    description: "Write a copy of a model folder with its linears' weights in 8 or 4 bits",
  },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    out: { type: "string", required: true, description: "New folder to write", valueHint: "DIR" },
    bits: { type: "string", required: true, description: "Bits of a weight", valueHint: "8|4" },
    ...jsonArgs,
  },
  examples: [
    {
      does: "Write a copy of 4 bits",
      line: "quantize --model examples/demo/base --out demo-int4 --bits 4",
    },
  ],
  async run({ args }) {
    if (args.bits !== "8" && args.bits !== "4") {
      throw new UsageError(`Cannot read --bits "${args.bits}": it must be 8 or 4`);
    }
    const model = await openNamedFolder(args.model);
    const to = args.bits === "8" ? "int8" : "int4", bar = progress({ unit: "tensors" });
    await fillFolder(args.out, (out) => quantizeFolder({ model, to, out, onWeight: bar.update }))
      .finally(() => bar.stop());
    tell("done", `${args.out}: the linears' weights have ${args.bits} bits`, {
      out: args.out,
      bits: Number(args.bits),
    });
  },
});
