/**
 * Floats as they are: float32, float16 or bfloat16.
 *
 * @module
 */
import { loader, narrow, storageType } from "../half.ts";
import type { DType, WasmCall } from "../kernel.ts";
import {
  checkCount,
  checkSizes,
  type LineText,
  outputsOf,
  type ProductSizes,
  type QuadText,
  type TextSize,
  type WeightArrays,
  type WeightFormat,
  type WeightSteps,
} from "./format.ts";

/** How four elements are read where lines start at multiples of four: the quad `i` of a buffer. */
const wideQuad = {
  float32: (name: string): string => `return ${name}[i];`,
  float16: (name: string): string =>
    `return vec4f(unpack2x16float(${name}[i].x), unpack2x16float(${name}[i].y));`,
  bfloat16: (name: string): string =>
    `let p = ${name}[i];
  return bitcast<vec4f>(vec4u(p.x << 16, p.x & 0xffff0000, p.y << 16, p.y & 0xffff0000));`,
};

/** A quad in two words of 16-bit floats. */
const quadOfWords = {
  float16: (a: string, b: string): string => `vec4f(unpack2x16float(${a}), unpack2x16float(${b}))`,
  bfloat16: (a: string, b: string): string =>
    `bitcast<vec4f>(vec4u(${a} << 16, ${a} & 0xffff0000, ${b} << 16, ${b} & 0xffff0000))`,
};

/** A row-major matrix of floats in a buffer. */
export interface Floats {
  /** The binding's name. */
  readonly name: string;
  readonly dtype: DType;
  /** The first element, 0 if missing. */
  readonly base?: TextSize;
}

/** How a matrix of floats is read by quads. */
export function floatQuads({ name, dtype, base }: Floats, { role, length, padded }: LineText): QuadText {
  const start = base ? `${base.text} + ` : "";
  const functions = (begin: string, quad: string): string =>
    `fn ${role}_begin(line: u32) -> u32 { return ${begin}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  ${quad}
}`;
  // Whether four neighbours of a line are one element of the buffer.
  if (length.count % 4 === 0 && (base?.count ?? 0) % 4 === 0) {
    const outside = padded ? `if (4 * quad >= ${length.text}) { return vec4f(); }\n  ` : "";
    const load = wideQuad[dtype as keyof typeof wideQuad](name);
    return {
      types: [dtype === "float32" ? "vec4f" : "vec2u"],
      functions: functions(
        `(${start}line * ${length.text}) / 4`,
        `${outside}let i = begin + quad;\n  ${load}`,
      ),
    };
  }
  const each = `for (var k = 4 * quad; k < min(4 * quad + 4, ${length.text}); k++) { ` +
    `value[k % 4] = ${name}_at(begin + k); }`;
  return {
    types: [storageType(dtype)],
    functions: `${loader(name, dtype)}
${functions(`${start}line * ${length.text}`, `var value = vec4f();\n  ${each}\n  return value;`)}`,
  };
}

/** How rows that start at multiples of four are read: by 16 bytes where rows start at multiples of them. */
function wideSteps(inSize: number, dtype: DType): WeightSteps {
  const elements = dtype !== "float32" && inSize % 8 === 0 ? 8 : 4;
  const read = {
    functions: "",
    count: inSize / elements,
    begin: (column: string) => `${column} * (uniforms.in / ${elements})`,
    load: (begin: string, k: string) => `weight[${begin} + ${k}]`,
    steps: `uniforms.in / ${elements}`,
  };
  if (dtype === "float32") return { ...read, types: ["vec4f"], quads: [(loaded) => loaded] };
  const quad = quadOfWords[dtype as keyof typeof quadOfWords];
  const first = (p: string): string => quad(`${p}.x`, `${p}.y`);
  const second = (p: string): string => quad(`${p}.z`, `${p}.w`);
  return elements === 8
    ? { ...read, types: ["vec4u"], quads: [first, second] }
    : { ...read, types: ["vec2u"], quads: [first] };
}

function floatsOf({ weight }: WeightArrays<"weight">): Float32Array {
  if (weight instanceof Uint16Array) {
    throw new TypeError("Cannot read a dense weight of 16-bit patterns on a host: widen it to float32 first");
  }
  return weight as Float32Array;
}

/** From how many rows on it is faster to put the lines of x and of the weight side by side first. */
const fewestPlaced = 24;

/** Bits of the numbers that functions of the WASM module read, by their type; see kernels/assembly/bfloat16.ts. */
const wasmBits: Partial<Record<DType, number>> = { float32: 32, bfloat16: 16 };

/** Lines of the weight that are side by side at once: they stay in the second cache. */
const panelBytes = 96 * 1024;

function directWasm(
  { rows, in: inSize, out, accumulate }: ProductSizes,
  bias: "bias" | 0,
  bits: number,
): WasmCall {
  return {
    function: "linear",
    args: ["x", inSize, "weight", inSize, bits, bias, "y", out, rows, inSize, out, accumulate],
    items: outputsOf(out, rows > 2 && rows !== 4),
    work: rows * inSize * out,
  };
}

function placedWasm(
  { rows, in: inSize, out, accumulate }: ProductSizes,
  bias: "bias" | 0,
  bits: number,
): WasmCall {
  const bytesOfThree = 12 * 4 * Math.ceil(inSize / 4), threesOfX = Math.ceil(rows / 3);
  const threes = Math.max(1, Math.min(16, Math.floor(panelBytes / bytesOfThree)));
  return {
    before: [{
      function: "place_rows",
      args: ["x", "placed", rows, inSize],
      items: threesOfX,
      work: rows * inSize,
    }],
    function: "linear_rows",
    args: [
      ...["placed", "weight", bits, bias, "y", out, "panel", threes],
      ...[rows, inSize, out, accumulate],
    ],
    items: Math.ceil(out / 3),
    work: rows * inSize * out,
    scratch: { placed: threesOfX * bytesOfThree },
    each: { panel: threes * bytesOfThree },
  };
}

/** See the module's documentation. */
export const dense: WeightFormat<"weight"> = {
  name: "dense",
  doc: "floats as they are",
  block: 1,
  buffers: {
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(out, in), row-major" },
  },
  stepBytes: 16,
  rowElements: (inSize) => ({ weight: inSize }),
  check: checkSizes,
  quads: (line, { weight: dtype }) => floatQuads({ name: "weight", dtype }, line),
  steps: (inSize, { weight: dtype }) => inSize % 4 === 0 ? wideSteps(inSize, dtype) : undefined,
  pack(values, shape, { weight: dtype } = { weight: "float32" }) {
    checkCount(values, shape);
    return { weight: narrow(values, dtype) };
  },
  rows(weight, { out, in: inSize }, { begin = 0, end = out, into } = {}) {
    const rows = floatsOf(weight).subarray(begin * inSize, end * inSize);
    into?.set(rows);
    return into ?? rows;
  },
  floats: floatsOf,
  wasmWeight({ weight: dtype }) {
    const bits = wasmBits[dtype];
    return bits === undefined ? undefined : { args: ["weight", 0], bits };
  },
  wasm(sizes, bias, { weight: dtype }) {
    const bits = wasmBits[dtype];
    if (bits === undefined) return undefined;
    const call = sizes.rows < fewestPlaced ? directWasm : placedWasm;
    return { ...call(sizes, bias, bits), halves: ["weight"] };
  },
};
