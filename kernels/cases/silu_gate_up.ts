import { nans, normals } from "../kernel.ts";
import { siluGateUp } from "../silu_gate_up.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, scale = 1): CaseOf<typeof siluGateUp> {
  return {
    name: `${rows} rows of ${dim}, gates of about ${scale}`,
    uniforms: { rows, dim },
    make: (random) => ({
      gateUp: normals(2 * rows * dim, random).map((value, i) => i % (2 * dim) < dim ? scale * value : value),
      y: nans(rows * dim),
    }),
  };
}

/** Cases of {@linkcode siluGateUp}. */
export const siluGateUpCases: KernelCases = casesFor(siluGateUp, {
  cases: [sized(1, 1), sized(3, 251), sized(2, 256, 4), sized(5, 257, 100)],
  benches: [{ ...sized(256, 14336), bytes: 3 * 256 * 14336 * 4 }],
});
