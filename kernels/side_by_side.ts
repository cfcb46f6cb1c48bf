/**
 * How a kernel finds the adapters of outputs of up to three linears that stand side by side in y.
 *
 * @module
 */
import type { UniformType } from "./kernel.ts";
import type { ReadUnit } from "./parts.ts";
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

/** Outs of the linears that are there. */
export const outsOf = ({ out0, out1, out2 }: Pick<SideBySide, "out0" | "out1" | "out2">): readonly number[] =>
  [out0, out1, out2].filter((out) => out > 0);

/** Expressions for where a unit of y is, and the variable that it is in. */
export interface UnitPlace {
  readonly target: string;
  readonly unit: ReadUnit;
  readonly row: string;
  /** Which of the linears side by side makes it, how many outputs that has, and the unit's first output. */
  readonly number: string;
  readonly out: string;
  readonly output: string;
}

const place = {
  row: "place_row",
  number: "place_number",
  out: "place_out",
  output: "place_output",
} as const;

/** The statements of one unit, which is of one linear: its first element's place, then `text`. */
function placedText(
  outs: readonly number[],
  { at, target, unit }: { readonly at: string; readonly target: string; readonly unit: ReadUnit },
  text: (place: UnitPlace) => string,
): string {
  const ends = outs.map((_, i) => outs.slice(0, i + 1).reduce((all, out) => all + out, 0));
  const pick = (values: readonly number[]): string =>
    values.slice(1).reduce(
      (text, value, i) => `select(${text}, ${value}u, place_column >= ${ends[i]})`,
      `${values[0]}u`,
    );
  return `{
    let ${place.row} = (${at}) / ${ends.at(-1)};
    let place_column = (${at}) % ${ends.at(-1)};
    let ${place.number} = ${pick(outs.map((_, i) => i))};
    let ${place.out} = ${pick(outs)};
    let ${place.output} = place_column - ${pick([0, ...ends.slice(0, -1)])};
    ${text({ target, unit, ...place })}
  }`;
}

/**
 * WGSL statements that change `name`, the unit `i` of y (rows, sum of outs). A unit of four may lie across linears: then it is
 * changed number by number.
 */
export function unitText(
  outs: readonly number[],
  { name, i, unit }: { readonly name: string; readonly i: string; readonly unit: ReadUnit },
  text: (place: UnitPlace) => string,
): string {
  if (unit === "f32") return placedText(outs, { at: i, target: name, unit }, text);
  const at = `4 * (${i})`;
  if (outs.every((out) => out % 4 === 0)) return placedText(outs, { at, target: name, unit }, text);
  return [0, 1, 2, 3].map((lane) =>
    placedText(outs, { at: `${at} + ${lane}`, target: `${name}[${lane}]`, unit: "f32" }, text)
  ).join("\n  ");
}

/** An expression that reads a unit of neighbours from `at` on, of an array of f32 without alignment. */
export function loadUnit(array: string, at: string, unit: ReadUnit): string {
  if (unit === "f32") return `${array}[${at}]`;
  return `vec4f(${[0, 1, 2, 3].map((lane) => `${array}[${at} + ${lane}]`).join(", ")})`;
}
