/**
 * `fourierft convert`: a model that an SVFT adapter was fused into, to the adapter.
 *
 * @module
 */
import { UsageError } from "./arguments.ts";
import { convertFused } from "../convert.ts";
import { fillFolder } from "../runtime/output.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { emit, jsonArgs, parseCount, parseNumber, progress, tell } from "./open.ts";

const patterns = ["banded", "random", "top_k"] as const;

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** See the module's documentation. */
export const convert = defineCommand({
  meta: {
    name: "convert",
    description: "Make an SVFT adapter of a fused model and its base",
  },
  args: {
    model: { type: "string", required: true, description: "Folder of the fused model", valueHint: "DIR" },
    base: { type: "string", required: true, description: "Folder of its base model", valueHint: "DIR" },
    out: { type: "string", required: true, description: "Adapter folder to write", valueHint: "DIR" },
    pattern: {
      type: "string",
      default: "banded",
      description: "Where M has entries",
      valueHint: "banded|random|top_k",
    },
    "off-diag": {
      type: "string",
      default: "0",
      description: "Diagonals on either side of M's",
      valueHint: "N",
    },
    vectors: { type: "boolean", description: "Write the singular vectors, too: quantised bases need them" },
    "max-residual": {
      type: "string",
      description: "Part of a change that M may leave; default: its rounding and 0.001",
      valueHint: "X",
    },
    ...jsonArgs,
  },
  examples: [
    {
      does: "Take an SVFT adapter out of a fused model",
      line: "convert --model fused --base base --out adapter",
    },
  ],
  async run({ args }) {
    const pattern = patterns.find((one) => one === args.pattern);
    if (!pattern) {
      throw new UsageError(`Cannot read --pattern "${args.pattern}": it must be ${patterns.join(", ")}`);
    }
    const offDiag = parseCount("off-diag", args["off-diag"]);
    const maxResidual = args["max-residual"] === undefined
      ? undefined
      : parseNumber("max-residual", args["max-residual"], { most: 1 });
    const [model, base] = [await openNamedFolder(args.model), await openNamedFolder(args.base)];
    await fillFolder(args.out, async (out) => {
      const bar = progress({ unit: "linears" });
      try {
        const files = await convertFused({
          ...{ model, base, pattern, offDiag, maxResidual },
          vectors: args.vectors,
          onWeight: bar.update,
          onModule: ({ path, entries, residual }) =>
            tell("module", `${path}: ${entries} entries leave ${residual.toPrecision(3)} of the change`, {
              path,
              entries,
              residual,
            }),
        });
        for (const [name, bytes] of files) await out.write(name, whole(bytes));
      } finally {
        bar.stop();
      }
    });
    emit("done", { out: args.out });
  },
});
