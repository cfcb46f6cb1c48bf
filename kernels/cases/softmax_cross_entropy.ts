import { nans, normals } from "../kernel.ts";
import { softmaxCrossEntropy } from "../softmax_cross_entropy.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, classes: number, scale = 1): CaseOf<typeof softmaxCrossEntropy> {
  return {
    name: `${rows} x ${classes}${scale === 1 ? "" : `, scale ${scale}`}`,
    uniforms: { rows, classes },
    make: (random) => ({
      logits: normals(rows * classes, random, scale),
      // The last of several rows has no target.
      targets: Uint32Array.from(
        { length: rows },
        (_, row) => row > 5 ? 0xffffffff : Math.floor(random() * classes),
      ),
      losses: nans(rows),
      dlogits: nans(rows * classes),
    }),
  };
}

/** Cases of {@linkcode softmaxCrossEntropy}. */
export const softmaxCrossEntropyCases: KernelCases = casesFor(softmaxCrossEntropy, {
  cases: [sized(1, 2), sized(7, 5, 100), sized(3, 64), sized(5, 197)],
  benches: [{ ...sized(256, 1000), bytes: 4 * 256 * 1000 * 2 }],
});
