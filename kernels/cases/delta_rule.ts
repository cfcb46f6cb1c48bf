import { deltaRule } from "../delta_rule.ts";
import { deltaRuleStep } from "../delta_rule_step.ts";
import { float32ToBfloat16 } from "../half.ts";
import { nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { rowsOf } from "./causal_conv.ts";
import { mixedStretches, type Stretch, stretchRows } from "./stretches.ts";

interface Heads {
  readonly keyHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Columns before those of beta and dt, which stand side by side. */
  readonly at?: number;
  readonly halves?: boolean;
}

const nameOf = ({ keyHeads, heads, keyDim, valueDim, halves }: Heads): string =>
  `${heads}/${keyHeads} heads of ${keyDim} and ${valueDim}${halves ? ", 16-bit decay" : ""}`;

/** Words and arrays that both kernels take. */
function shared({ at = 0, halves = false, ...sizes }: Heads, rows: number) {
  const { keyHeads, heads, keyDim, valueDim } = sizes, stride = at + 2 * heads;
  return {
    words: { rows, ...sizes, betaStride: stride, betaAt: at, dtStride: stride, dtAt: at + heads },
    ...(halves ? { dtypes: { decay: "bfloat16" } as const } : {}),
    make(random: () => number) {
      const gates = normals(rows * stride, random, 2), decay = normals(2 * heads, random);
      return {
        qkv: normals(rows * (2 * keyHeads * keyDim + heads * valueDim), random),
        beta: gates,
        dt: gates,
        decay: halves ? float32ToBfloat16(decay) : decay,
        y: nans(rows * heads * valueDim),
      };
    },
  };
}

function whole(lengths: readonly number[], sizes: Heads): CaseOf<typeof deltaRule> {
  const { first } = rowsOf(lengths), { words, make, dtypes } = shared(sizes, first.length);
  return {
    name: `rows ${lengths}, ${nameOf(sizes)}`,
    uniforms: words,
    ...(dtypes ? { dtypes } : {}),
    make: (random) => ({ ...make(random), first }),
  };
}

function steps(
  stretches: readonly Stretch[],
  { states, ...sizes }: Heads & { readonly states: number },
): CaseOf<typeof deltaRuleStep> {
  const { rows, stateIndex, positions } = stretchRows(stretches), { words, make } = shared(sizes, rows);
  const { heads, keyDim, valueDim } = sizes;
  return {
    name: `${rows} rows of ${stretches.length} sequences, ${nameOf(sizes)}`,
    uniforms: { ...words, states },
    make: (random) => ({
      ...make(random),
      stateIndex,
      positions,
      state: normals(states * heads * keyDim * valueDim, random),
    }),
  };
}

const one: Heads = { keyHeads: 1, heads: 1, keyDim: 1, valueDim: 1 };
const odd: Heads = { keyHeads: 1, heads: 3, keyDim: 7, valueDim: 17, at: 5 };
const usual: Heads = { keyHeads: 2, heads: 4, keyDim: 8, valueDim: 16 };
const large: Heads = { keyHeads: 16, heads: 16, keyDim: 128, valueDim: 128 };
const stateBytes = 4 * 16 * 128 * 128;

/** Cases of {@linkcode deltaRule}. */
export const deltaRuleCases: KernelCases = casesFor(deltaRule, {
  cases: [
    whole([1], one),
    whole([1, 5, 2], odd),
    whole([20], { ...usual, halves: true }),
    whole([3, 9], { ...usual, keyDim: 130, valueDim: 4 }),
  ],
  benches: [{ ...whole([256], large), bytes: 4 * 256 * (4 * 2048 + 32), flops: 256 * 16 * 128 * 128 * 8 }],
});

/** Cases of {@linkcode deltaRuleStep}. */
export const deltaRuleStepCases: KernelCases = casesFor(deltaRuleStep, {
  cases: [
    steps([{ rows: 1, position: 1, state: 0 }], { ...one, states: 1 }),
    steps(mixedStretches, { ...odd, states: 5 }),
    steps(mixedStretches, { ...usual, states: 5 }),
  ],
  benches: [
    {
      ...steps(Array.from({ length: 16 }, (_, state) => ({ rows: 1, position: 99, state })), {
        ...large,
        states: 16,
      }),
      bytes: 16 * (2 * stateBytes + 4 * 4 * 2048),
    },
    {
      ...steps([{ rows: 256, position: 0, state: 0 }], { ...large, states: 1 }),
      bytes: 2 * stateBytes + 256 * 4 * (4 * 2048 + 32),
      flops: 256 * 16 * 128 * 128 * 8,
    },
  ],
});
