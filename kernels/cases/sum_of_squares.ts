import { nans, normals } from "../kernel.ts";
import { sumOfSquares } from "../sum_of_squares.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (count: number): CaseOf<typeof sumOfSquares> => ({
  name: `${count}`,
  uniforms: { count },
  make: (random) => ({ x: normals(count, random), sum: nans(1) }),
});

/** Cases of {@linkcode sumOfSquares}. */
export const sumOfSquaresCases: KernelCases = casesFor(sumOfSquares, {
  cases: [sized(1), sized(251), sized(256), sized(257), sized(65536), sized(65537), sized(200003)],
  benches: [{ ...sized(2 ** 22), bytes: 2 ** 24 }],
});
