/**
 * float16 and bfloat16 as 16-bit patterns: conversions on the host, and WGSL that reads them from u32 words.
 *
 * @module
 */
import type { DType, TypedArray } from "./kernel.ts";

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);

/** The float32 value of every float16 pattern. Made on first use: 256 KiB. */
let halfTable: Float32Array | undefined;

function float16Table(): Float32Array {
  return halfTable ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** Widens float16 bits to float32, exactly. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const table = float16Table();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]];
  return out;
}

/** Widens bfloat16 bits to float32, exactly. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i] << 16;
  return new Float32Array(out.buffer);
}

/** Float elements of any storable float dtype as float32: a copy for 16-bit ones, the same array for float32. */
export function widen(data: TypedArray, dtype: DType): Float32Array {
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  if (!(data instanceof Float32Array)) throw new TypeError(`Cannot read ${dtype} elements as float32`);
  return data;
}

/** Rounds a float32 number to the nearest float16 (ties to even); overflow gives infinity, NaN stays NaN. */
function float16Bits(value: number): number {
  float32[0] = value;
  const bits = bits32[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // A subnormal half: a multiple of 2^-24, rounded by the exact float64 product.
    const scaled = Math.abs(float32[0]) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** Rounds float32 to float16 bits, nearest-even. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = float16Bits(values[i]);
  return halves;
}

/** Rounds float32 to bfloat16 bits, nearest-even; NaN stays NaN. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i], isNaN = (b & 0x7fffffff) > 0x7f800000;
    halves[i] = isNaN ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return halves;
}

/** Float32 numbers as the array that stores them in a float `dtype`: itself, or 16-bit patterns. */
export function narrow(values: Float32Array, dtype: DType): Float32Array | Uint16Array {
  if (dtype === "float16") return float32ToFloat16(values);
  return dtype === "bfloat16" ? float32ToBfloat16(values) : values;
}

/** WGSL element type of the `array<...>` that stores `dtype`: 16-bit floats come as u32 words of two. */
export function storageType(dtype: DType): string {
  return { float32: "f32", float16: "u32", bfloat16: "u32", uint32: "u32", int32: "i32" }[dtype];
}

/**
 * WGSL `fn <name>_at(i: u32) -> f32` that reads element `i` of the float buffer `name`, and
 * `fn <name>_pair(i: u32) -> vec2f` that reads elements 2i and 2i + 1.
 */
export function loader(name: string, dtype: DType): string {
  const pair = {
    float32: `vec2f(${name}[2 * i], ${name}[2 * i + 1])`,
    float16: `unpack2x16float(${name}[i])`,
    bfloat16: `bitcast<vec2f>(vec2u(${name}[i] << 16, ${name}[i] & 0xffff0000))`,
  }[dtype as "float32" | "float16" | "bfloat16"];
  const at = dtype === "float32"
    ? `return ${name}[i];`
    : `let p = ${name}_pair(i >> 1); return select(p.x, p.y, (i & 1) == 1);`;
  return `fn ${name}_pair(i: u32) -> vec2f { return ${pair}; }\nfn ${name}_at(i: u32) -> f32 { ${at} }`;
}
