/**
 * How a GPU multiplies by a quantised weight: few rows at the speed of memory, more in tiles.
 *
 * @module
 */
import { storageType } from "../half.ts";
import { type BufferSpec, type DType, grid, type Launch, type Limits, uniformStruct } from "../kernel.ts";
import { fewRows } from "../linear/launch.ts";
import { type Matvec, matvecThreads, matvecWgsl, rowBlock } from "../linear/matvec.ts";
import { type Operand, partialScratch, productLaunch, type Size } from "../linear/product.ts";
import { putBody, uniforms as denseUniforms, xDeclaration } from "../linear/wgsl.ts";
import type { Bits, QuantizedShape } from "./format.ts";
import { quadsOfWord, quantizedFunctions, type QuantizedText, wordAt } from "./wgsl.ts";

/** Uniform words of the kernels with a quantised weight: those of the dense ones, and the bits of an element. */
export const uniforms = { ...denseUniforms, bits: "u32" } as const;

/** The buffers of a quantised weight (out, in). */
export const weightBuffers = {
  words: {
    access: "read",
    dtypes: ["uint32"],
    doc: "(out, ceil(in / 32) * bits), row-major: see quantized/format.ts",
  },
  scales: { access: "read", dtypes: ["bfloat16", "float32"], doc: "(out, ceil(in / 32)), row-major" },
} as const satisfies Record<string, BufferSpec>;

export type Sizes = Readonly<Record<keyof typeof uniforms, number>>;

/**
 * The weight's shape as a call's uniforms have it.
 *
 * @throws RangeError for bits that the format does not have, and for an empty weight.
 */
export function shapeOf({ out, in: inSize, bits }: Pick<Sizes, "out" | "in" | "bits">): QuantizedShape {
  if (bits !== 8 && bits !== 4) {
    throw new RangeError(`Cannot multiply by a weight of ${bits} bits: it must have 8 or 4`);
  }
  if (out < 1 || inSize < 1) {
    throw new RangeError(`Cannot multiply by a weight of (${out}, ${inSize}): both sizes must be positive`);
  }
  return { out, in: inSize, bits };
}

/** A weight in buffers `words` and `scales`: its bits, and the element type of the scales. */
export interface Format {
  readonly bits: Bits;
  readonly scaleType: DType;
}

/** Such a weight as the operand of a product. */
export function weightOperand(format: Format): Pick<Operand, "name" | "dtype" | "quantized"> {
  return { name: "words", dtype: "uint32", quantized: { scales: "scales", ...format } };
}

/**
 * A step is one word of each of four rows: 4 or 8 elements, so that neighbouring threads read neighbouring words, and
 * neighbouring quads of x. The scale is put to the sum of the word's products.
 */
function matvec(
  format: Format,
  { bias, wide }: { readonly bias: boolean; readonly wide: boolean },
): Matvec {
  const text: QuantizedText = { words: "words", scales: "scales", ...format, length: "uniforms.in" };
  const quads = quadsOfWord[format.bits], elements = 4 * quads.length;
  const ofColumns = (expression: (column: string) => string): string =>
    ["x", "y", "z", "w"].map((i) => expression(`columns.${i}`)).join(", ");
  return {
    prelude: `${uniformStruct(uniforms)}
${xDeclaration(wide)}
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<${storageType(format.scaleType)}>;
${bias ? "@group(0) @binding(4) var<storage, read> bias: array<f32>;" : ""}
@group(0) @binding(${bias ? 5 : 4}) var<storage, read_write> y: array<f32>;
${quantizedFunctions(text)}

fn put(row: u32, column: u32, value: f32) {
  if (row >= uniforms.rows || column >= uniforms.out) { return; }
  ${putBody(bias)}
}`,
    steps: `(uniforms.in + ${elements - 1}) / ${elements}`,
    load: `let packed = vec4u(${ofColumns((column) => wordAt(text, column, "k"))});
    let scale = vec4f(${ofColumns((column) => `words_scale(${column}, k / ${32 / elements})`)});
${
      quads.map((quad, i) =>
        `    let weights${i} = mat4x4f(${["x", "y", "z", "w"].map((j) => quad(`packed.${j}`)).join(", ")});`
      ).join("\n")
    }`,
    part: (row) =>
      `scale * (${
        quads.map((_, i) => `x_quad(${row}, ${quads.length} * k + ${i}) * weights${i}`).join(" + ")
      })`,
  };
}

/** The launch of y = or += x W^T (+ bias). */
export function quantizedLinearLaunch(
  sizes: Sizes,
  { bias, scaleType }: { readonly bias: boolean; readonly scaleType: DType },
  limits: Limits,
): Launch {
  const format: Format = { bits: shapeOf(sizes).bits, scaleType };
  const { rows, in: inSize, out } = sizes;
  if (rows <= fewRows) {
    const block = rowBlock(rows);
    const wgsl = matvecWgsl(matvec(format, { bias, wide: inSize % 4 === 0 }), {
      block,
      threads: matvecThreads(inSize * format.bits / 8),
    });
    const read = ["x", "words", "scales", ...(bias ? ["bias"] : [])];
    const bindings = [
      ...read.map((name) => ({ name, access: "read" as const })),
      { name: "y", access: "read_write" as const },
    ];
    const groups = Math.ceil(rows / block) * Math.ceil(out / 4);
    return { dispatches: [{ wgsl, bindings, grid: grid(groups, limits) }] };
  }
  const inner: Size = { count: inSize, text: "uniforms.in" };
  const rowsSize: Size = { count: rows, text: "uniforms.rows" };
  const columns: Size = { count: out, text: "uniforms.out" };
  const made = productLaunch({
    uniforms,
    x: { name: "x", dtype: "float32", along: "inner", shape: [rowsSize, inner] },
    weight: { ...weightOperand(format), along: "inner", shape: [columns, inner] },
    y: { name: "y", put: putBody(bias) },
    rows: rowsSize,
    columns,
    inner,
    also: bias ? ["bias"] : [],
  }, limits);
  return { dispatches: made.dispatches, scratch: partialScratch([made]) };
}
