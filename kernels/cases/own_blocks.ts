import { normals } from "../kernel.ts";
import { ownBlocks } from "../own_blocks.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(uniforms: CaseOf<typeof ownBlocks>["uniforms"]): CaseOf<typeof ownBlocks> {
  const { rows, width, blocks, kinds, weight } = uniforms;
  return {
    name: `${rows} x ${blocks} blocks of ${kinds} kinds x ${width}${weight ? ", of a weight" : ""}`,
    uniforms,
    make: (random) => ({ y: normals(rows * blocks * kinds * blocks * width, random) }),
  };
}

/** Cases of {@linkcode ownBlocks}. */
export const ownBlocksCases: KernelCases = casesFor(ownBlocks, {
  cases: [
    sized({ rows: 1, width: 1, blocks: 1, kinds: 1, weight: 0 }),
    sized({ rows: 7, width: 1, blocks: 3, kinds: 2, weight: 0 }),
    sized({ rows: 1, width: 20, blocks: 3, kinds: 2, weight: 1 }),
    sized({ rows: 1, width: 64, blocks: 4, kinds: 1, weight: 1 }),
  ],
});
