/**
 * What the kernels of SVFT have that every row shares: training's forward and backward.
 *
 * @module
 */
import type { TextSize } from "../formats/format.ts";
import {
  type Binding,
  type Dispatch,
  grid,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { product } from "../linear/cpu.ts";
import { floats, type Operand } from "../linear/product.ts";
import type { Along } from "../linear/tiled.ts";
import { patternView } from "./pattern.ts";

export const uniforms = {
  rows: "u32",
  in: "u32",
  out: "u32",
  /** Rows of V, and of the sparse matrix. */
  n: "u32",
  entries: "u32",
  /** Where the entries' values begin; the gate follows them. */
  offset: "u32",
} as const;

export type Words = Readonly<Record<keyof typeof uniforms, number>>;

/** A size of a call, and its WGSL. */
export const sizeOf = (words: Words) => (name: keyof Words): TextSize => ({
  count: words[name],
  text: `uniforms.${name}`,
});

/** A matrix of floats in a buffer. */
export const matrix = (
  name: string,
  along: Along,
  shape: Operand["shape"],
  base?: TextSize,
): Operand => ({ stored: floats({ name, base }), along, shape });

/** Where U begins among the factors. */
export const upBase = ({ n, in: inSize }: Words): TextSize => ({
  count: n * inSize,
  text: "uniforms.n * uniforms.in",
});

/** The entries' factor: sigma(gate). */
export const gateWgsl = "1 / (1 + exp(-values[uniforms.offset + uniforms.entries]))";

/** A dispatch of so many threads, whose text is given the index `i`. Arrays named `pattern` hold words. */
export function threads(
  { count, bindings, body }: {
    readonly count: number;
    readonly bindings: readonly Binding[];
    readonly body: string;
  },
  limits: Limits,
): Dispatch {
  const declared = bindings.map(({ name, access }, i) =>
    `@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: array<${
      name === "pattern" ? "u32" : "f32"
    }>;`
  );
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declared.join("\n")}

@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 64 + local;
${body}
}
`;
  return { wgsl, bindings, grid: grid(Math.ceil(count / 64), limits) };
}

/** sigma(gate) of a call. */
export function gateOf(values: ArrayLike<number>, { offset, entries }: Words): number {
  return 1 / (1 + Math.exp(-values[offset + entries]));
}

/** V x (rows, n), on a CPU. */
export function downOf(x: Float32Array, factors: Float32Array, { rows, in: inSize, n }: Words): Float32Array {
  const down = new Float32Array(rows * n);
  product({ x, weight: factors.subarray(0, n * inSize), y: down }, {
    ...{ rows, inSize, outSize: n, accumulate: false },
  });
  return down;
}

/** to[row] += factor value from[column] of each entry, for each row of numbers; turned, columns take from rows. */
export function sparseRows(
  { from, to, values, pattern }: {
    readonly from: ArrayLike<number>;
    readonly to: Float32Array | Float64Array;
    readonly values: ArrayLike<number>;
    readonly pattern: Uint32Array;
  },
  words: Words,
  turned = false,
): void {
  const { rows, n, entries, offset } = words,
    view = patternView(pattern, entries),
    gate = gateOf(values, words);
  const [targets, sources] = turned ? [view.columns, view.rows] : [view.rows, view.columns];
  const sums = new Float64Array(n);
  for (let r = 0; r < rows; r++) {
    sums.fill(0);
    for (let e = 0; e < entries; e++) {
      sums[targets[e]] += gate * values[offset + e] * from[r * n + sources[e]];
    }
    for (let i = 0; i < n; i++) to[r * n + i] = sums[i];
  }
}
