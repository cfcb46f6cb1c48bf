import { normals } from "../kernel.ts";
import { topSoftmaxBackward } from "../top_softmax_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (rows: number, vectors: number, offset: number): CaseOf<typeof topSoftmaxBackward> => ({
  name: `${rows} x ${vectors} at ${offset}`,
  uniforms: { rows, vectors, offset },
  make: (random) => ({
    weights: Float32Array.from({ length: rows * vectors }, () => random() < 0.5 ? 0 : random()),
    dweights: normals(rows * vectors, random),
    gradient: normals(offset + rows * vectors + 3, random),
  }),
});

/** Cases of {@linkcode topSoftmaxBackward}. */
export const topSoftmaxBackwardCases: KernelCases = casesFor(topSoftmaxBackward, {
  cases: [sized(1, 1, 0), sized(7, 3, 5), sized(5, 257, 8)],
});
