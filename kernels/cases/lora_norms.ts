import { nans, normals } from "../kernel.ts";
import { loraNorms } from "../lora_norms.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

type Words = CaseOf<typeof loraNorms>["uniforms"];

interface Size extends Omit<Words, "scale"> {
  readonly in: number;
}

/** The products and squares of a random weight and its factors: numbers of anything else would be no norms. */
function sized({ in: inSize, ...words }: Size): CaseOf<typeof loraNorms> {
  const { out, rank, offset, stride, column } = words;
  return {
    name: `${out} of ${stride} rows, rank ${rank}`,
    uniforms: { ...words, scale: 0.5 },
    make(random) {
      const a = normals(rank * inSize, random), weight = normals(stride * inSize, random);
      const dot = (x: Float32Array, i: number, y: Float32Array, j: number): number => {
        let sum = 0;
        for (let k = 0; k < inSize; k++) sum += x[i * inSize + k] * y[j * inSize + k];
        return sum;
      };
      const table = (rows: number, columns: number, at: (i: number, j: number) => number): Float32Array =>
        Float32Array.from({ length: rows * columns }, (_, n) => at(Math.floor(n / columns), n % columns));
      return {
        values: normals(offset + out * rank, random, 1 / Math.sqrt(rank)),
        products: table(rank, stride, (i, j) => dot(a, i, weight, j)),
        gram: table(rank, rank, (i, j) => dot(a, i, a, j)),
        squares: table(1, out, (_, row) => dot(weight, column + row, weight, column + row)),
        norms: nans(out),
      };
    },
  };
}

/** Cases of {@linkcode loraNorms}. */
export const loraNormsCases: KernelCases = casesFor(loraNorms, {
  cases: [
    sized({ in: 3, out: 1, rank: 1, offset: 0, stride: 1, column: 0 }),
    sized({ in: 40, out: 65, rank: 7, offset: 3, stride: 100, column: 31 }),
    sized({ in: 130, out: 64, rank: 33, offset: 8, stride: 64, column: 0 }),
  ],
});
