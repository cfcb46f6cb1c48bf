import { normals } from "../kernel.ts";
import { loraProduct } from "../lora_product.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(size: Omit<CaseOf<typeof loraProduct>["uniforms"], "scale">): CaseOf<typeof loraProduct> {
  const { rows, in: inSize, out, rank, offset } = size;
  return {
    name: `${rows} rows, ${inSize} to ${out}, rank ${rank} at ${offset}`,
    uniforms: { ...size, scale: 0.5 },
    make: (random) => ({
      x: normals(rows * inSize, random),
      values: normals(offset + rank * (inSize + out) + 3, random, 1 / Math.sqrt(inSize)),
      y: normals(rows * out, random),
    }),
  };
}

/** Cases of {@linkcode loraProduct}. */
export const loraProductCases: KernelCases = casesFor(loraProduct, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, rank: 1, offset: 0 }),
    sized({ rows: 7, in: 31, out: 37, rank: 35, offset: 5 }),
    sized({ rows: 65, in: 64, out: 68, rank: 8, offset: 4 }),
    sized({ rows: 3, in: 600, out: 516, rank: 65, offset: 8 }),
  ],
  benches: [{
    ...sized({ rows: 2048, in: 4096, out: 4096, rank: 16, offset: 0 }),
    bytes: 4 * (2048 * 3 * 4096 + 16 * 8192),
    flops: 2 * 2048 * 16 * 2 * 4096,
  }],
});
