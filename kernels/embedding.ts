import { lookup, uniforms } from "./embedding/lookup.ts";
import { dense } from "./formats/dense.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

type Uniforms = keyof typeof uniforms;

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  const { buffers, launch, rows } = lookup(format, { isPart: false });
  return defineKernel<string, Uniforms>({
    ...{ name, buffers, uniforms, launch },
    doc: `y[r, :] = W[ids[r], :], with W (vocab, dim) of ${format.doc}; an id of vocab or more gives zeros`,
    reference: (arrays, words) => rows(arrays, { ...words, first: 0 }),
    wasm: format === dense
      ? ({ rows, dim, vocab }, types) => {
        const weight = dense.wasmWeight!({ weight: types.weight });
        return weight && {
          function: "embedding",
          args: ["ids", "weight", weight.bits, "y", dim, dim, vocab],
          items: rows,
          work: 2 * rows * dim,
          halves: ["weight"],
        };
      }
      : undefined,
    tolerance: 0,
  });
}

/** Rows of a table by index: token embeddings, or any row gather. */
export const embedding: OfFormats<"ids" | "y", Uniforms> = ofFormats("embedding", ofFormat);
