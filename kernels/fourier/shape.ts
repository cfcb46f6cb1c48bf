/**
 * What the dispatches of `fourier_linear` and `fourier_linears` have in common: where rows, records and entries are.
 *
 * @module
 */
import { index, type Place } from "../fft/layout.ts";
import type { TransformPlan } from "../fft/plan.ts";
import { elementType } from "../fft/real.ts";
import type { TwiddleTables } from "../fft/twiddles.ts";
import type { Round } from "../fft/wgsl.ts";
import type { Binding, UniformType } from "../kernel.ts";
import { noSlot, recordWords } from "../record.ts";

/** One of a launch's linears. */
export interface Segment {
  readonly plan: TransformPlan;
  /** Its place among the linears, and its first column in y. */
  readonly index: number;
  readonly start: number;
}

export interface Shape {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly rows: number;
  readonly input: TransformPlan;
  readonly segments: readonly Segment[];
  /** Columns of y. */
  readonly columns: number;
  readonly tables: TwiddleTables;
}

/** WGSL types of elements; those of x and y depend on the plans. */
export const types: Readonly<Record<string, string>> = {
  slots: "u32",
  records: "u32",
  tables: "u32",
  values: "f32",
  bins: "vec2f",
  twiddles: "vec2f",
};

/** A binding by its buffer's name. */
export const binding = (name: string): Binding => ({ name, access: name === "y" ? "read_write" : "read" });

/**
 * Statements that find the entries of linear `segment` in a row's adapter; where it has none, `none` is done and the
 * function left.
 */
export const findEntries = (none = ""): string => /* wgsl */ `
  let slot = slots[row];
  if (slot == ${noSlot}u) { ${none} return; }
  let record = ((uniforms.linear + segment) * uniforms.capacity + slot) * ${recordWords}u;
  let count = records[record + 2];
  if (count == 0) { ${none} return; }
  offsets_at = records[record];
  values_at = records[record + 1];
  let scale = bitcast<f32>(records[record + 3]);
`;

/**
 * Entries in a row's table: bin k's are offset(k) .. offset(k + 1) - 1, each a coefficient times what `spectrum` has of a
 * source bin of x's in a round.
 */
export const entryFunctions = (rounds: readonly Round[]): string => /* wgsl */ `
var<private> offsets_at: u32;
var<private> entries_at: u32;
var<private> values_at: u32;
fn offset(k: u32) -> u32 { return tables[offsets_at + k]; }
fn source(e: u32) -> u32 { return tables[entries_at + e]; }
fn coefficient(e: u32) -> f32 { return values[values_at + e]; }
${
  rounds.map(({ suffix }) =>
    `fn product${suffix}(source: u32, coefficient: f32) -> vec2f { return coefficient * spectrum${suffix}(source); }\n`
  ).join("")
}`;

/** Statement that adds an element of a segment's row to y of `type`, whose row and segment begin at element `y_at`. */
export function adder(plan: TransformPlan, type: string): (place: Place, value: string) => string {
  if (elementType(plan) === type) return (p, value) => `y[y_at + ${index(p)}] += scale * ${value};\n`;
  return (p, value) =>
    `{ let to = y_at + 2 * (${
      index(p)
    }); let pair = scale * ${value}; y[to] += pair.x; y[to + 1] += pair.y; }\n`;
}

/** WGSL expression of `y_at` for the segment that begins at column `start`. */
export function placeInY({ columns }: Pick<Shape, "columns">, type: string, start: string): string {
  const place = `row * ${columns}u + ${start}`;
  return type === "vec2f" ? `(${place}) / 2` : place;
}

/** WGSL type of y's elements: pairs where every row and segment begins with one. */
export function yType({ segments }: Shape, ...plans: readonly TransformPlan[]): string {
  const even = segments.every(({ plan }) => plan.length % 2 === 0);
  return even && plans.every((plan) => elementType(plan) === "vec2f") ? "vec2f" : "f32";
}
