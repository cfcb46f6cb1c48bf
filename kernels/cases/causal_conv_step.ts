import { causalConvStep, noColumns } from "../causal_conv_step.ts";
import { float32ToFloat16 } from "../half.ts";
import { nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { mixedStretches, type Stretch, stretchRows } from "./stretches.ts";

interface Sizes {
  readonly stretches: readonly Stretch[];
  readonly dim: number;
  readonly width: number;
  readonly states: number;
  /** Whether x has factors before and after, in this order: before, after, x. */
  readonly gated?: boolean;
  /** Columns of a row behind those. */
  readonly behind?: number;
  readonly halves?: boolean;
}

function sized(
  { stretches, dim, width, states, gated = false, behind = 0, halves = false }: Sizes,
): CaseOf<typeof causalConvStep> {
  const { rows, stateIndex, positions } = stretchRows(stretches);
  const stride = (gated ? 3 : 1) * dim + behind;
  return {
    name: `${rows} rows of ${stretches.length} sequences, ${dim} columns, ${width} wide` +
      `${gated ? ", factors" : ""}${halves ? ", 16-bit weights" : ""}`,
    uniforms: {
      ...{ rows, dim, width, states, stride },
      at: gated ? 2 * dim : 0,
      before: gated ? 0 : noColumns,
      after: gated ? dim : noColumns,
    },
    ...(halves ? { dtypes: { weight: "float16" } } : {}),
    make(random) {
      const weight = normals(dim * width, random);
      return {
        x: normals(rows * stride, random),
        weight: halves ? float32ToFloat16(weight) : weight,
        bias: normals(dim, random),
        stateIndex,
        positions,
        state: normals(Math.max(1, states * (width - 1) * dim), random),
        y: nans(rows * dim),
      };
    },
  };
}

const alone = { rows: 1, position: 0, state: 0 };

/** Cases of {@linkcode causalConvStep}. */
export const causalConvStepCases: KernelCases = casesFor(causalConvStep, {
  cases: [
    sized({ stretches: [alone], dim: 1, width: 1, states: 1 }),
    sized({ stretches: mixedStretches, dim: 7, width: 3, states: 5, gated: true }),
    sized({ stretches: mixedStretches, dim: 65, width: 4, states: 5, behind: 3 }),
    sized({ stretches: mixedStretches, dim: 64, width: 12, states: 5 }),
    sized({ stretches: [{ rows: 5, position: 2, state: 1 }], dim: 8, width: 3, states: 2, halves: true }),
  ],
  benches: [
    {
      ...sized({
        stretches: Array.from({ length: 16 }, (_, state) => ({ rows: 1, position: 99, state })),
        ...{ dim: 2048, width: 3, states: 16, gated: true },
      }),
      bytes: 4 * 2048 * (16 * (4 + 2 * 2) + 4),
    },
    {
      ...sized({
        ...{ stretches: [{ rows: 256, position: 0, state: 0 }], dim: 2048, width: 3, states: 1, gated: true },
      }),
      bytes: 4 * 2048 * 256 * 4,
    },
  ],
});
