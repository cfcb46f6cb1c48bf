import { normals } from "../kernel.ts";
import { loraBackward } from "../lora_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(size: Omit<CaseOf<typeof loraBackward>["uniforms"], "scale">): CaseOf<typeof loraBackward> {
  const { rows, in: inSize, out, rank, offset } = size;
  return {
    name: `${rows} rows, ${inSize} to ${out}, rank ${rank} at ${offset}`,
    uniforms: { ...size, scale: 0.5 },
    make(random) {
      const count = offset + rank * (inSize + out) + 3;
      return {
        x: normals(rows * inSize, random),
        dy: normals(rows * out, random),
        values: normals(count, random, 1 / Math.sqrt(inSize)),
        gradient: normals(count, random),
        dx: normals(rows * inSize, random),
      };
    },
  };
}

/** Cases of {@linkcode loraBackward}. */
export const loraBackwardCases: KernelCases = casesFor(loraBackward, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, rank: 1, offset: 0 }),
    sized({ rows: 7, in: 31, out: 37, rank: 35, offset: 5 }),
    sized({ rows: 65, in: 64, out: 68, rank: 8, offset: 4 }),
    sized({ rows: 530, in: 20, out: 33, rank: 2, offset: 0 }),
    sized({ rows: 3, in: 600, out: 260, rank: 13, offset: 8 }),
  ],
  benches: [{
    ...sized({ rows: 2048, in: 4096, out: 4096, rank: 16, offset: 0 }),
    bytes: 4 * (2048 * 3 * 4096 + 2 * 16 * 8192),
    flops: 2 * 2048 * 16 * (3 * 4096 + 2 * 4096),
  }],
});
