import { lookup, partUniforms } from "./embedding/lookup.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

type Uniforms = keyof typeof partUniforms;

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  const { buffers, launch, rows } = lookup(format, { isPart: true });
  return defineKernel<string, Uniforms>({
    ...{ name, buffers, uniforms: partUniforms, launch },
    doc:
      `y[r, :] = W[ids[r] - first, :], with W (vocab, dim) of ${format.doc}. An id of first + vocab or more gives zeros, and ` +
      "one below first leaves its row as it is: the parts of a table, in order, make the rows of the whole",
    reference: rows,
    tolerance: 0,
  });
}

/** Rows of a part of a table by index, where no buffer holds the table. */
export const embeddingPart: OfFormats<"ids" | "y", Uniforms> = ofFormats("embedding_part", ofFormat);
