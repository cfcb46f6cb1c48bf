import { geluGateUp } from "../gelu_gate_up.ts";
import { geluNewGateUp } from "../gelu_new_gate_up.ts";
import { nans, normals } from "../kernel.ts";
import { reluGateUp } from "../relu_gate_up.ts";
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

/** Cases of gates on rows that one product made. */
export const gateUpCases: readonly KernelCases[] = [siluGateUp, geluGateUp, geluNewGateUp, reluGateUp].map((
  kernel,
) =>
  casesFor(kernel, {
    cases: [sized(1, 1), sized(3, 251), sized(2, 256, 4), sized(5, 257, 100)],
    benches: [{ ...sized(256, 14336), bytes: 3 * 256 * 14336 * 4 }],
  })
);
