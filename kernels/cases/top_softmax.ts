import { nans, normals } from "../kernel.ts";
import { topSoftmax } from "../top_softmax.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(
  uniforms: CaseOf<typeof topSoftmax>["uniforms"],
  equal = false,
): CaseOf<typeof topSoftmax> {
  const { rows, vectors, top, offset } = uniforms;
  return {
    name: `${top} of ${rows} x ${vectors} at ${offset}${equal ? ", equal ones" : ""}`,
    uniforms,
    make(random) {
      const logits = normals(offset + rows * vectors + 3, random);
      return {
        logits: equal ? logits.map((value) => Math.round(value)) : logits,
        weights: nans(rows * vectors),
      };
    },
  };
}

/** Cases of {@linkcode topSoftmax}. */
export const topSoftmaxCases: KernelCases = casesFor(topSoftmax, {
  cases: [
    sized({ rows: 1, vectors: 1, top: 1, offset: 0 }),
    sized({ rows: 7, vectors: 3, top: 3, offset: 5 }),
    sized({ rows: 5, vectors: 257, top: 2, offset: 0 }),
    sized({ rows: 6, vectors: 130, top: 9, offset: 4 }, true),
  ],
  benches: [{
    ...sized({ rows: 128, vectors: 256, top: 2, offset: 0 }),
    bytes: 4 * 2 * 128 * 256,
  }],
});
