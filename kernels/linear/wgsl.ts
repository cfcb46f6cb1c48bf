/**
 * WGSL shared by the linear kernels: uniforms, stores of y, and how a dense weight is read for few rows.
 *
 * @module
 */
import { type DType, uniformStruct } from "../kernel.ts";
import { loader, storageType } from "../half.ts";
import type { Matvec } from "./matvec.ts";

/** Uniform words of the linear kernels. */
export const uniforms = { rows: "u32", in: "u32", out: "u32", accumulate: "u32" } as const;

/** How four elements are read where lines start at multiples of four: the quad at `weight[i]`. */
export const wideWeight = {
  float32: "return weight[i];",
  float16: "return vec4f(unpack2x16float(weight[i].x), unpack2x16float(weight[i].y));",
  bfloat16: `let p = weight[i];
  return bitcast<vec4f>(vec4u(p.x << 16, p.x & 0xffff0000, p.y << 16, p.y & 0xffff0000));`,
};

/** A quad in two words of 16-bit floats. */
const quadOfWords = {
  float16: (a: string, b: string): string => `vec4f(unpack2x16float(${a}), unpack2x16float(${b}))`,
  bfloat16: (a: string, b: string): string =>
    `bitcast<vec4f>(vec4u(${a} << 16, ${a} & 0xffff0000, ${b} << 16, ${b} & 0xffff0000))`,
};

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

/** Bindings of a product for few rows, from x to y, and `put(row, column, value)`. */
export function matvecPrelude(
  { names, types, bias, inSize }: {
    /** Buffers between x and the bias, and their element types. */
    readonly names: readonly string[];
    readonly types: readonly string[];
    readonly bias: boolean;
    readonly inSize: number;
  },
): string {
  const read = [...names, ...(bias ? ["bias"] : [])], readTypes = [...types, "f32"];
  return `${xDeclaration(inSize)}
${
    read.map((name, i) => `@group(0) @binding(${i + 2}) var<storage, read> ${name}: array<${readTypes[i]}>;`)
      .join("\n")
  }
@group(0) @binding(${read.length + 2}) var<storage, read_write> y: array<f32>;

fn put(row: u32, column: u32, value: f32) {
  if (row >= uniforms.rows || column >= uniforms.out) { return; }
  ${putBody(bias)}
}`;
}

/** How many elements of a dense weight's row one load takes: 16 bytes where rows start at multiples of them. */
export function elementsOfStep(dtype: DType, inSize: number): number {
  return dtype !== "float32" && inSize % 8 === 0 ? 8 : 4;
}

/** How a dense weight whose rows start at multiples of four is read, in steps of {@linkcode elementsOfStep}. */
export function wideMatvec(
  dtype: DType,
  inSize: number,
): Omit<Matvec, "prelude"> & { readonly type: string } {
  const elements = elementsOfStep(dtype, inSize);
  const read = {
    begin: (column: string) => `${column} * (uniforms.in / ${elements})`,
    load: (begin: string, k: string) => `weight[${begin} + ${k}]`,
    steps: `uniforms.in / ${elements}`,
  };
  if (dtype === "float32") return { ...read, type: "vec4f", quads: [(loaded) => loaded] };
  const quad = quadOfWords[dtype as keyof typeof quadOfWords];
  const first = (p: string): string => quad(`${p}.x`, `${p}.y`),
    second = (p: string): string => quad(`${p}.z`, `${p}.w`);
  return elements === 8
    ? { ...read, type: "vec4u", quads: [first, second] }
    : { ...read, type: "vec2u", quads: [first] };
}

/** How a dense weight is read for few rows. */
export function denseMatvec(dtype: DType, { inSize, bias }: { inSize: number; bias: boolean }): Matvec {
  const prelude = (type: string): string =>
    `${uniformStruct(uniforms)}\n${matvecPrelude({ names: ["weight"], types: [type], bias, inSize })}`;
  if (inSize % 4 === 0) {
    const { type, ...read } = wideMatvec(dtype, inSize);
    return { ...read, prelude: prelude(type) };
  }
  return {
    prelude: `${prelude(storageType(dtype))}
${loader("weight", dtype)}
fn weight_quad(begin: u32, quad: u32) -> vec4f {
  var value = vec4f();
  for (var k = 4 * quad; k < min(4 * quad + 4, uniforms.in); k++) { value[k % 4] = weight_at(begin + k); }
  return value;
}`,
    begin: (column) => `${column} * uniforms.in`,
    load: (begin, k) => `weight_quad(${begin}, ${k})`,
    steps: "(uniforms.in + 3) / 4",
    quads: [(loaded) => loaded],
  };
}
