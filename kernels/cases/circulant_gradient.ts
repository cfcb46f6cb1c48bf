import { circulantTable } from "../circulant/blocks.ts";
import type { GradientWords } from "../circulant/gradient.ts";
import { circulantGradient } from "../circulant_gradient.ts";
import { normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(size: Omit<GradientWords, "offset" | "scale">): CaseOf<typeof circulantGradient> {
  const { rows, in: inSize, out, block } = size, offset = 5;
  return {
    name: `${rows} rows, (${out}, ${inSize}) in blocks of ${block}`,
    uniforms: { ...size, offset, scale: 1 / Math.sqrt(rows * block) },
    make: (random) => ({
      x: normals(rows * inSize, random),
      dy: normals(rows * out, random),
      tables: circulantTable(block),
      gradient: normals(offset + out / block * inSize + 2, random),
    }),
  };
}

/** Cases of {@linkcode circulantGradient}. */
export const circulantGradientCases: KernelCases = casesFor(circulantGradient, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, block: 1 }),
    sized({ rows: 3, in: 6, out: 10, block: 2 }),
    sized({ rows: 5, in: 35, out: 14, block: 7 }),
    sized({ rows: 70, in: 24, out: 36, block: 12 }),
    sized({ rows: 2, in: 512, out: 768, block: 256 }),
    sized({ rows: 3, in: 2060, out: 1030, block: 1030 }),
    sized({ rows: 1, in: 1031, out: 1031, block: 1031 }),
  ],
  benches: [{ ...sized({ rows: 4096, in: 4096, out: 4096, block: 256 }), bytes: 8 * 4096 * 4096 }],
});
