/**
 * Any product of two matrices as dispatches: operands along or across the index summed over, in parts of larger
 * buffers, with a store of the caller's. Where the tiles alone would leave a GPU idle, the sum is cut in slices
 * that a second dispatch adds in their order.
 *
 * @module
 */
import {
  type Binding,
  type Dispatch,
  type DType,
  grid,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { loader, storageType } from "../half.ts";
import { quadBody, quantizedFunctions, type QuantizedText } from "../quantized/wgsl.ts";
import { type Along, type Tile, tiledWgsl } from "./tiled.ts";
import { wideWeight } from "./wgsl.ts";

/** A size as a number, for the grid, and as WGSL, for the text, which then serves all sizes. */
export interface Size {
  readonly count: number;
  readonly text: string;
}

/** A row-major matrix in a buffer. */
export interface Operand {
  /** The binding's name. */
  readonly name: string;
  readonly dtype: DType;
  readonly along: Along;
  /** Lines, and elements of a line. */
  readonly shape: readonly [lines: Size, length: Size];
  /** First element in the buffer, 0 if missing. */
  readonly base?: Size;
  /** Of a quantised weight, whose words are the operand's buffer: the binding of its scales; it has no base. */
  readonly quantized?: Pick<QuantizedText, "scales" | "scaleType" | "bits">;
}

/** y (rows, columns) from x times weight, summed over `inner`. */
export interface Product {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly x: Operand;
  readonly weight: Operand;
  readonly y: {
    /** The binding's name; no operand may share its buffer. */
    readonly name: string;
    /** WGSL that stores `value` of `row` and `column`. */
    readonly put: string;
  };
  readonly rows: Size;
  readonly columns: Size;
  readonly inner: Size;
  /** float32 buffers that sizes and stores read. */
  readonly also?: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
}

/** Dispatches of a product, and the bytes of the scratch `partials` that they need. */
export interface ProductLaunch {
  readonly dispatches: readonly Dispatch[];
  readonly partialBytes: number;
}

/** Workgroups it takes to fill a large GPU, and the inner length below which a slice is not worth its sum. */
const manyGroups = 128;
const shortestSlice = 256;

/** What {@linkcode quadLoader} reads of a quantised operand. */
function quantizedText({ name, quantized, shape: [, length] }: Operand): QuantizedText | undefined {
  return quantized && { ...quantized, words: name, length: length.text };
}

/** `fn <role>_quad(line, quad)`: elements 4 quad to 4 quad + 3 of a line; zeros past its end and past the last line. */
function quadLoader(role: string, operand: Operand): string {
  const { name, dtype, shape: [lines, length], base } = operand;
  const outside = `if (line >= ${lines.text} || 4 * quad >= ${length.text}) { return vec4f(); }`;
  const packed = quantizedText(operand);
  if (packed) {
    return `${quantizedFunctions(packed)}
fn ${role}_quad(line: u32, quad: u32) -> vec4f {
  ${outside}
  ${quadBody(packed)}
}`;
  }
  const start = base ? `${base.text} + ` : "";
  if (length.count % 4 === 0 && (base?.count ?? 0) % 4 === 0) {
    const load = wideWeight[dtype as keyof typeof wideWeight].replaceAll("weight[", `${name}[`);
    return `fn ${role}_quad(line: u32, quad: u32) -> vec4f {
  ${outside}
  let i = (${start}line * ${length.text}) / 4 + quad;
  ${load}
}`;
  }
  return `${loader(name, dtype)}
fn ${role}_quad(line: u32, quad: u32) -> vec4f {
  ${outside}
  var value = vec4f();
  for (var k = 4 * quad; k < min(4 * quad + 4, ${length.text}); k++) {
    value[k % 4] = ${name}_at(${start}line * ${length.text} + k);
  }
  return value;
}`;
}

function elementType({ dtype, shape: [, length], base, quantized }: Operand): string {
  if (quantized) return "u32";
  const wide = length.count % 4 === 0 && (base?.count ?? 0) % 4 === 0;
  if (!wide) return storageType(dtype);
  return dtype === "float32" ? "vec4f" : "vec2u";
}

const declare = (names: readonly string[], types: readonly string[]): string =>
  names.map((name, i) => {
    const access = i === names.length - 1 ? "read_write" : "read";
    return `@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: array<${types[i]}>;`;
  }).join("\n");

const bind = (names: readonly string[]): Binding[] =>
  names.map((name, i) => ({ name, access: i === names.length - 1 ? "read_write" : "read" }));

const overrides = (constants: Readonly<Record<string, number>> = {}): string =>
  Object.keys(constants).map((name) => `override ${name}: u32;`).join("\n");

function putFunction({ rows, columns }: Product, store: string): string {
  return `fn put(row: u32, column: u32, value: f32) {
  if (row >= ${rows.text} || column >= ${columns.text}) { return; }
  ${store}
}`;
}

function sumSlices(product: Product, slices: number, limits: Limits): Dispatch {
  const { rows, columns, also = [], constants } = product;
  const names = ["partials", ...also, product.y.name];
  const wgsl = /* wgsl */ `
${uniformStruct(product.uniforms)}
${overrides(constants)}
${declare(names, names.map(() => "f32"))}
${putFunction(product, product.y.put)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let count = ${rows.text} * ${columns.text};
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= count) { return; }
  var sum = 0.0;
  for (var s = 0u; s < ${slices}; s++) { sum += partials[s * count + i]; }
  put(i / ${columns.text}, i % ${columns.text}, sum);
}
`;
  const groups = Math.ceil(rows.count * columns.count / 256);
  return { wgsl, bindings: bind(names), constants, grid: grid(groups, limits) };
}

/** The dispatches of a product; the caller's launch provides scratch `partials` of `partialBytes`, if any. */
export function productLaunch(product: Product, limits: Limits): ProductLaunch {
  const { x, weight, rows, columns, inner, also = [], constants } = product;
  const tiles = (tile: Tile): number => Math.ceil(rows.count / tile) * Math.ceil(columns.count / tile);
  const tile: Tile = tiles(128) >= manyGroups ? 128 : 64;
  const wanted = Math.min(manyGroups / tiles(tile), inner.count / shortestSlice);
  // A power of two, so that few texts serve all sizes.
  const slices = 2 ** Math.max(0, Math.floor(Math.log2(wanted)));
  const target = slices > 1 ? "partials" : product.y.name;
  const store = slices > 1
    ? `partials[(slice * (${rows.text}) + row) * ${columns.text} + column] = value;`
    : product.y.put;
  const scales = weight.quantized ? [weight.quantized] : [];
  const names = [x.name, weight.name, ...scales.map((q) => q.scales), ...also, target];
  const types = [
    elementType(x),
    elementType(weight),
    ...scales.map((q) => storageType(q.scaleType)),
    ...also.map(() => "f32"),
    "f32",
  ];
  const prelude = `${uniformStruct(product.uniforms)}
${overrides(constants)}
${declare(names, types)}
${quadLoader("x", x)}
${quadLoader("weight", weight)}
${putFunction(product, store)}`;
  const wgsl = tiledWgsl({
    tile,
    prelude,
    rows: rows.text,
    columns: columns.text,
    inner: inner.text,
    x: x.along,
    weight: weight.along,
    slices,
  });
  const main = { wgsl, bindings: bind(names), constants, grid: grid(slices * tiles(tile), limits) };
  if (slices === 1) return { dispatches: [main], partialBytes: 0 };
  return {
    dispatches: [main, sumSlices(product, slices, limits)],
    partialBytes: 4 * slices * rows.count * columns.count,
  };
}

/** Scratch of a launch made of products that run one after the other. */
export function partialScratch(launches: readonly ProductLaunch[]): Record<string, number> {
  const bytes = Math.max(0, ...launches.map((launch) => launch.partialBytes));
  return bytes > 0 ? { partials: bytes } : {};
}
