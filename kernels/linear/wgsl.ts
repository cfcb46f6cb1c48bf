/**
 * WGSL shared by the linear kernels: uniforms, stores of y, and what a product for few rows declares.
 *
 * @module
 */
import type { WeightSteps } from "../formats/format.ts";
import { uniformStruct } from "../kernel.ts";

/** Uniform words of the linear kernels. */
export const uniforms = { rows: "u32", in: "u32", out: "u32", accumulate: "u32" } as const;

/** `x_quad(row, quad)` of the buffer `x`, binding 1: four elements of a row, zeros past its end. */
function xDeclaration(inSize: number): string {
  const type = inSize % 4 === 0 ? "vec4f" : "f32";
  const body = inSize % 4 === 0
    ? `if (quad >= uniforms.in / 4) { return vec4f(); }
  return x[row * (uniforms.in / 4) + quad];`
    : `var value = vec4f();
  for (var k = 4 * quad; k < min(4 * quad + 4, uniforms.in); k++) { value[k % 4] = x[row * uniforms.in + k]; }
  return value;`;
  return `@group(0) @binding(1) var<storage, read> x: array<${type}>;
fn x_quad(row: u32, quad: u32) -> vec4f {
  ${body}
}`;
}

/** The store of y: adds the bias and what y holds. */
export function putBody(bias: boolean): string {
  return `let i = row * uniforms.out + column;
  var sum = value${bias ? " + bias[column]" : ""};
  if (uniforms.accumulate != 0) { sum += y[i]; }
  y[i] = sum;`;
}

/** The same for four columns of a y of quads. */
export function putQuadBody(bias: boolean): string {
  const four = [0, 1, 2, 3].map((i) => `bias[column + ${i}]`).join(", ");
  return `let i = (row * uniforms.out + column) / 4;
  var sum = value${bias ? ` + vec4f(${four})` : ""};
  if (uniforms.accumulate != 0) { sum += y[i]; }
  y[i] = sum;`;
}

/** What a product for few rows declares: uniforms, bindings from x to y, and `put(row, column, value)`. */
export function matvecPrelude(
  { names, steps: { types, functions }, bias, inSize }: {
    /** The weight's buffers. */
    readonly names: readonly string[];
    readonly steps: WeightSteps;
    readonly bias: boolean;
    readonly inSize: number;
  },
): string {
  const read = [...names, ...(bias ? ["bias"] : [])], readTypes = [...types, "f32"];
  return `${uniformStruct(uniforms)}
${xDeclaration(inSize)}
${
    read.map((name, i) => `@group(0) @binding(${i + 2}) var<storage, read> ${name}: array<${readTypes[i]}>;`)
      .join("\n")
  }
@group(0) @binding(${read.length + 2}) var<storage, read_write> y: array<f32>;

fn put(row: u32, column: u32, value: f32) {
  if (row >= uniforms.rows || column >= uniforms.out) { return; }
  ${putBody(bias)}
}${functions && `\n${functions}`}`;
}
