/**
 * `fourierft convert`: a model that an SVFT adapter was fused into, to the adapter.
 *
 * @module
 */
import { defineCommand } from "citty";
import { UsageError } from "./arguments.ts";
import { convertFused } from "../convert.ts";
import { fillFolder } from "../runtime/output.ts";
import { openNamedFolder } from "./folder.ts";
import { log, parseCount, parseNumber, progressBar } from "./open.ts";

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
    pattern: { type: "string", default: "banded", description: "banded, random or top_k", valueHint: "P" },
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
  },
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
      const bar = progressBar("linears");
      try {
        const files = await convertFused({
          ...{ model, base, pattern, offDiag, maxResidual },
          vectors: args.vectors,
          onWeight: bar.update,
          onModule: ({ path, entries, residual }) =>
            log(`${path}: ${entries} entries leave ${residual.toPrecision(3)} of the change`),
        });
        for (const [name, bytes] of files) await out.write(name, whole(bytes));
      } finally {
        bar.stop();
      }
    });
  },
});
