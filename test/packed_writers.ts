/**
 * Weights as other programs quantise and store them, an element at a time as their formats are described, and the numbers
 * that these stand for.
 *
 * @module
 */
import { narrow, widen } from "../kernels/half.ts";
import type { HostTensor } from "../src/tensor.ts";
import type { TensorView } from "../src/safetensors/mod.ts";

/** The tensors in place of a linear's weight, and its numbers (out, in). */
export interface PackedLinear {
  readonly views: readonly TensorView[];
  readonly numbers: Float32Array;
}

/** Makes a linear's tensors of its weight (out, in). */
export type PackedWriter = (path: string, weight: HostTensor) => PackedLinear;

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const f32 = Math.fround;

/** A whole number's bits at a place of a list of 32-bit words. */
function put(words: Uint32Array, at: number, shift: number, value: number): void {
  words[at] = (words[at] | value << shift) >>> 0;
}

/** Scales as float16 has them, and zeros, of each output's groups. */
interface Groups {
  readonly bits: 4 | 8;
  readonly groupOf: readonly number[];
  readonly groups: number;
  readonly isSymmetric: boolean;
}

function grid({ data, shape: [out, inSize] }: HostTensor, { bits, groupOf, groups, isSymmetric }: Groups) {
  const most = 2 ** bits - 1, half = 2 ** (bits - 1);
  const scales = new Float32Array(groups * out), zeros = new Int32Array(groups * out);
  for (let o = 0; o < out; o++) {
    for (let g = 0; g < groups; g++) {
      const own = [...data.subarray(o * inSize, (o + 1) * inSize)].filter((_, k) => groupOf[k] === g);
      const least = Math.min(0, ...own), greatest = Math.max(0, ...own);
      const range = isSymmetric ? 2 * Math.max(-least, greatest) : greatest - least;
      const [scale] = widen(narrow(Float32Array.of(range / most), "float16"), "float16");
      scales[g * out + o] = scale;
      zeros[g * out + o] = isSymmetric ? half : Math.max(1, Math.round(-least / scale));
    }
  }
  const q = Int32Array.from(data, (value, i) => {
    const at = groupOf[i % inSize] * out + Math.floor(i / inSize);
    return Math.max(0, Math.min(most, Math.round(value / scales[at]) + zeros[at]));
  });
  const numbers = Float32Array.from(q, (value, i) => {
    const at = groupOf[i % inSize] * out + Math.floor(i / inSize);
    return scales[at] * (value - zeros[at]);
  });
  return { scales, zeros, q, numbers };
}

/** How a GPTQ file is. */
export interface GptqOptions {
  readonly bits: 4 | 8;
  /** -1 for one group. */
  readonly groupSize: number;
  readonly isSymmetric: boolean;
  /** Inputs go to groups as they please; without it `g_idx` is left out where `lists` is false. */
  readonly descAct?: boolean;
  readonly lists?: boolean;
  readonly version?: 1 | 2;
}

/** GPTQ's tensors. */
export function gptqWriter(
  { bits, groupSize, isSymmetric, descAct, lists, version = 1 }: GptqOptions,
): PackedWriter {
  return (path, weight) => {
    const [out, inSize] = weight.shape, each = 32 / bits, size = groupSize === -1 ? inSize : groupSize;
    const groupOf = Array.from(
      { length: inSize },
      (_, k) => Math.floor((descAct ? 7 * k % inSize : k) / size),
    );
    const groups = Math.ceil(inSize / size);
    const { scales, zeros, q, numbers } = grid(weight, { bits, groupOf, groups, isSymmetric });
    const qweight = new Uint32Array(inSize * out / each), qzeros = new Uint32Array(groups * out / each);
    for (let o = 0; o < out; o++) {
      for (let k = 0; k < inSize; k++) {
        put(qweight, Math.floor(k / each) * out + o, bits * (k % each), q[o * inSize + k]);
      }
      for (let g = 0; g < groups; g++) {
        const at = g * out + o, stored = zeros[at] - (version === 1 ? 1 : 0);
        put(qzeros, Math.floor(at / each), bits * (at % each), stored);
      }
    }
    const half = narrow(scales, "float16") as Uint16Array;
    return {
      numbers,
      views: [
        { name: `${path}.qweight`, dtype: "I32", shape: [inSize / each, out], bytes: bytesOf(qweight) },
        { name: `${path}.qzeros`, dtype: "I32", shape: [groups, out / each], bytes: bytesOf(qzeros) },
        { name: `${path}.scales`, dtype: "F16", shape: [groups, out], bytes: bytesOf(half) },
        ...(descAct || lists
          ? [{
            ...{ name: `${path}.g_idx`, dtype: "I32" as const, shape: [inSize] },
            bytes: bytesOf(Int32Array.from(groupOf)),
          }]
          : []),
      ],
    };
  };
}

/** AWQ's tensors of version gemm. */
export function awqWriter(groupSize: number): PackedWriter {
  // Where output i of eight goes in a word, by AutoAWQ's `order_map`.
  const nibble = [0, 4, 1, 5, 2, 6, 3, 7];
  return (path, weight) => {
    const [out, inSize] = weight.shape, groups = Math.ceil(inSize / groupSize);
    const groupOf = Array.from({ length: inSize }, (_, k) => Math.floor(k / groupSize));
    const { scales, zeros, q, numbers } = grid(weight, { bits: 4, groupOf, groups, isSymmetric: false });
    const qweight = new Uint32Array(inSize * out / 8), qzeros = new Uint32Array(groups * out / 8);
    for (let o = 0; o < out; o++) {
      const column = Math.floor(o / 8), shift = 4 * nibble[o % 8];
      for (let k = 0; k < inSize; k++) put(qweight, k * out / 8 + column, shift, q[o * inSize + k]);
      for (let g = 0; g < groups; g++) put(qzeros, g * out / 8 + column, shift, zeros[g * out + o]);
    }
    const half = narrow(scales, "float16") as Uint16Array;
    return {
      numbers,
      views: [
        { name: `${path}.qweight`, dtype: "I32", shape: [inSize, out / 8], bytes: bytesOf(qweight) },
        { name: `${path}.qzeros`, dtype: "I32", shape: [groups, out / 8], bytes: bytesOf(qzeros) },
        { name: `${path}.scales`, dtype: "F16", shape: [groups, out], bytes: bytesOf(half) },
      ],
    };
  };
}

const fp4 = [0, 0.0625, 8, 12, 4, 6, 2, 3, -0, -0.0625, -8, -12, -4, -6, -2, -3].map((x) => x / 12);

/** NF4's table, as bitsandbytes' `get_4bit_type` lists it. */
const nf4 = [
  ...[-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
  ...[-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725],
  ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941],
  ...[0.7229568362236023, 1.0],
];

const closest = (table: ArrayLike<number>, value: number): number => {
  let at = 0;
  for (let i = 1; i < table.length; i++) if (Math.abs(table[i] - value) < Math.abs(table[at] - value)) at = i;
  return at;
};

/** The tensors of bitsandbytes' 4 bits; `nested` has the scales in 8 bits. */
export function bnb4Writer(
  { type, size, nested }: { readonly type: "nf4" | "fp4"; readonly size: number; readonly nested: boolean },
): PackedWriter {
  return (path, { data, shape }) => {
    const table = Float32Array.from(type === "nf4" ? nf4 : fp4), blocks = Math.ceil(data.length / size);
    const most = Float32Array.from(
      { length: blocks },
      (_, b) => Math.max(...data.subarray(b * size, (b + 1) * size).map(Math.abs)),
    );
    const offset = f32(most.reduce((sum, value) => sum + value, 0) / blocks), nestedSize = 256;
    const map = Float32Array.from({ length: 256 }, (_, i) => (i - 127) / 128);
    const nestedMost = Float32Array.from(
      { length: Math.ceil(blocks / nestedSize) },
      (_, b) =>
        Math.max(...most.subarray(b * nestedSize, (b + 1) * nestedSize).map((m) => Math.abs(m - offset))),
    );
    const small = Uint8Array.from(
      most,
      (value, b) => closest(map, (value - offset) / nestedMost[Math.floor(b / nestedSize)]),
    );
    const scales = nested
      ? Float32Array.from(small, (q, b) => f32(map[q] * nestedMost[Math.floor(b / nestedSize)]) + offset)
      : most;
    const q = Uint8Array.from(data, (value, i) => closest(table, value / scales[Math.floor(i / size)]));
    const packed = Uint8Array.from(
      { length: Math.ceil(q.length / 2) },
      (_, i) => q[2 * i] << 4 | q[2 * i + 1],
    );
    const state = {
      ...{ quant_type: type, blocksize: size, dtype: "float16", shape },
      ...(nested ? { nested_blocksize: nestedSize, nested_dtype: "float32", nested_offset: offset } : {}),
    };
    const text = new TextEncoder().encode(JSON.stringify(state)), at = `${path}.weight`;
    const floats = (name: string, values: Float32Array): TensorView => ({
      ...{ name: `${at}.${name}`, dtype: "F32", shape: [values.length], bytes: bytesOf(values) },
    });
    return {
      numbers: Float32Array.from(q, (value, i) => table[value] * scales[Math.floor(i / size)]),
      views: [
        { name: at, dtype: "U8", shape: [packed.length, 1], bytes: packed },
        ...(nested
          ? [
            { name: `${at}.absmax`, dtype: "U8" as const, shape: [blocks], bytes: small },
            floats("nested_absmax", nestedMost),
            floats("nested_quant_map", map),
          ]
          : [floats("absmax", most)]),
        floats("quant_map", table),
        { name: `${at}.quant_state.bitsandbytes__${type}`, dtype: "U8", shape: [text.length], bytes: text },
      ],
    };
  };
}

/** The tensors of LLM.int8(). */
export function bnb8Writer(): PackedWriter {
  return (path, { data, shape: [out, inSize] }) => {
    const scb = Float32Array.from(
      { length: out },
      (_, o) => Math.max(...data.subarray(o * inSize, (o + 1) * inSize).map(Math.abs)),
    );
    const q = Int8Array.from(data, (value, i) => Math.round(127 * value / scb[Math.floor(i / inSize)]));
    return {
      numbers: Float32Array.from(q, (value, i) => value * f32(scb[Math.floor(i / inSize)] * f32(1 / 127))),
      views: [
        { name: `${path}.weight`, dtype: "I8", shape: [out, inSize], bytes: bytesOf(q) },
        { name: `${path}.SCB`, dtype: "F32", shape: [out], bytes: bytesOf(scb) },
        { name: `${path}.weight_format`, dtype: "U8", shape: [], bytes: Uint8Array.of(0) },
      ],
    };
  };
}
