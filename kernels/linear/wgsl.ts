/**
 * WGSL shared by the linear kernels: declarations, loads of four elements at a time, and stores.
 *
 * @module
 */
import { type DType, uniformStruct } from "../kernel.ts";
import { loader, storageType } from "../half.ts";

/** Uniform words of the linear kernels. */
export const uniforms = { rows: "u32", in: "u32", out: "u32", accumulate: "u32" } as const;

/** What the text of a linear kernel depends on. */
export interface Variant {
  readonly weight: DType;
  readonly bias: boolean;
  /** Whether rows start at multiples of four elements. */
  readonly wide: boolean;
}

/** How four elements are read where lines start at multiples of four: the quad at `weight[i]`. */
export const wideWeight = {
  float32: "return weight[i];",
  float16: "return vec4f(unpack2x16float(weight[i].x), unpack2x16float(weight[i].y));",
  bfloat16: `let p = weight[i];
  return bitcast<vec4f>(vec4u(p.x << 16, p.x & 0xffff0000, p.y << 16, p.y & 0xffff0000));`,
};

/** `fn <name>_quad(row, quad)`: elements 4 quad to 4 quad + 3 of a row, zeros past its end. */
function quadFunction(name: string, body: string): string {
  return `fn ${name}_quad(row: u32, quad: u32) -> vec4f {\n  ${body}\n}`;
}

const wideQuad = (name: string, load: string): string =>
  quadFunction(
    name,
    `let quads = uniforms.in / 4;
  if (quad >= quads) { return vec4f(); }
  let i = row * quads + quad;
  ${load}`,
  );

const narrowQuad = (name: string, load: string): string =>
  quadFunction(
    name,
    `var value = vec4f();
  let begin = row * uniforms.in;
  for (var k = 4 * quad; k < min(4 * quad + 4, uniforms.in); k++) {
    let i = begin + k;
    value[k % 4] = ${load};
  }
  return value;`,
  );

function declarations({ weight, wide }: Variant): string {
  if (!wide) {
    return `${xDeclaration(wide)}
@group(0) @binding(2) var<storage, read> weight: array<${storageType(weight)}>;
${loader("weight", weight)}
${narrowQuad("weight", "weight_at(i)")}`;
  }
  return `${xDeclaration(wide)}
@group(0) @binding(2) var<storage, read> weight: array<${weight === "float32" ? "vec4f" : "vec2u"}>;
${wideQuad("weight", wideWeight[weight as keyof typeof wideWeight])}`;
}

/** `x_quad(row, quad)` of the buffer `x`, binding 1. */
export function xDeclaration(wide: boolean): string {
  return `@group(0) @binding(1) var<storage, read> x: array<${wide ? "vec4f" : "f32"}>;
${wide ? wideQuad("x", "return x[i];") : narrowQuad("x", "x[i]")}`;
}

/** The store of y: adds the bias and what y holds. */
export function putBody(bias: boolean): string {
  return `let i = row * uniforms.out + column;
  var sum = value${bias ? " + bias[column]" : ""};
  if (uniforms.accumulate != 0) { sum += y[i]; }
  y[i] = sum;`;
}

/** Bindings, `x_quad`, `weight_quad`, and `put(row, column, value)`, which adds the bias and what y holds. */
export function prelude(variant: Variant): string {
  const { bias } = variant;
  return `${uniformStruct(uniforms)}
${declarations(variant)}
${bias ? "@group(0) @binding(3) var<storage, read> bias: array<f32>;" : ""}
@group(0) @binding(${bias ? 4 : 3}) var<storage, read_write> y: array<f32>;

fn put(row: u32, column: u32, value: f32) {
  if (row >= uniforms.rows || column >= uniforms.out) { return; }
  ${putBody(bias)}
}`;
}
