/**
 * How a kernel finds the adapters of outputs of up to three linears that stand side by side in y.
 *
 * @module
 */
import type { UniformType } from "./kernel.ts";
import { recordWords } from "./record.ts";

/** Sizes of the linears, 0 for one that is not there, and where their records are. */
export const sideBySide = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const satisfies Readonly<Record<string, UniformType>>;

/** Values of {@linkcode sideBySide}. */
export type SideBySide = Readonly<Record<keyof typeof sideBySide, number>>;

/** WGSL: `place_of` a column of y is the linear that makes the column, and which of the linear's outputs the column is. */
export const placeOf = /* wgsl */ `
struct Place { output: u32, linear: u32, out: u32 }

fn place_of(column: u32) -> Place {
  if (column < uniforms.out0) { return Place(column, uniforms.linear, uniforms.out0); }
  let second = column - uniforms.out0;
  if (second < uniforms.out1) { return Place(second, uniforms.linear + 1, uniforms.out1); }
  return Place(second - uniforms.out1, uniforms.linear + 2, uniforms.out2);
}
`;

/** A row's adapter of one linear, and the linear's first output in y. */
export interface AdaptedOutputs {
  readonly at: number;
  readonly out: number;
  /** The record's words. */
  readonly first: number;
  readonly count: number;
}

/** Every row's adapter of every linear, where there is one. */
export function* adaptedOutputs(
  { slots, records }: { readonly slots: ArrayLike<number>; readonly records: ArrayLike<number> },
  { rows, out0, out1, out2, linear, capacity }: SideBySide,
): Generator<AdaptedOutputs> {
  const outs = [out0, out1, out2].filter((out) => out > 0);
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let at = row * (out0 + out1 + out2);
    for (const [i, out] of outs.entries()) {
      const record = recordWords * ((linear + i) * capacity + slots[row]);
      const count = records[record + 2];
      if (count > 0) yield { at, out, first: records[record + 1], count };
      at += out;
    }
  }
}
