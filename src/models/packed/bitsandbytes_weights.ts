/**
 * The safetensors of bitsandbytes: NF4 and FP4, with their scales in 8 bits or not, and LLM.int8().
 *
 * Of 4 bits, `weight` has two numbers a byte, the first in its high half, row by row; an element is `quant_map[q]` times
 * `absmax` of its block. `weight.quant_state.bitsandbytes__nf4` (or `fp4`) is a JSON text of sizes. Where `absmax` is U8, it
 * is `nested_quant_map[absmax]` times `nested_absmax` of its block, plus `nested_offset`. All is computed in float32, each
 * step rounded; bitsandbytes rounds the result once more, to the dtype of its computation.
 *
 * Of 8 bits, `weight` is I8, and a row's scale is `SCB` / 127.
 *
 * @module
 */
import { nf4_32, q8_32 } from "../../../kernels/formats/mod.ts";
import { nf4Numbers } from "../../../kernels/formats/nf4_32.ts";
import { blockSize } from "../../../kernels/formats/q32/blocks.ts";
import type { LinearShape } from "../../adapters/method.ts";
import { type JsonObject, parseJsonObject } from "../../json.ts";
import { toFloat32 } from "../../safetensors/mod.ts";
import { tensor } from "../../tensor.ts";
import { denseWeight } from "../weights.ts";
import { checkShape, failWeight, type PackedWeight, type StoredTensors, type Unpacked } from "./packing.ts";

/** A tensor of a linear, by its name's end. */
interface Parts {
  readonly tensors: StoredTensors;
  readonly path: string;
}

async function floats({ tensors, path }: Parts, end: string): Promise<Float32Array> {
  const name = `${path}.${end}`;
  if (!tensors.names.has(name)) failWeight(path, `its tensor "${name}" is missing`);
  const view = await tensors.view(name);
  if (view.dtype !== "F32") failWeight(path, `its tensor "${name}" is ${view.dtype}, the rule is F32`);
  return toFloat32(view);
}

/** The scale of each block, as float32. */
async function scalesOf(parts: Parts, state: JsonObject, blocks: number): Promise<Float32Array> {
  const { tensors, path } = parts, name = `${path}.weight.absmax`;
  checkShape(tensors, { path, name, shape: [blocks] });
  if (tensors.info(name).dtype !== "U8") return await floats(parts, "weight.absmax");
  const { bytes } = await tensors.view(name);
  const { nested_blocksize: size, nested_offset: offset } = state;
  if (typeof size !== "number" || !(size >= 1) || typeof offset !== "number") {
    return failWeight(path, "its quant_state has no nested_blocksize and nested_offset for scales of 8 bits");
  }
  const map = await floats(parts, "weight.nested_quant_map"),
    most = await floats(parts, "weight.nested_absmax");
  if (map.length !== 256 || most.length !== Math.ceil(blocks / size)) {
    failWeight(path, "its nested_quant_map and nested_absmax do not fit its scales of 8 bits");
  }
  return Float32Array.from(
    bytes,
    (q, i) => Math.fround(map[q] * most[Math.floor(i / size)]) + Math.fround(offset),
  );
}

/** Four bytes of eight neighbours as a word of blocks of 4 bits: byte i has number i low, and i + 4 high. */
function wordAt(bytes: Uint8Array, at: number): number {
  const a = bytes[at], b = bytes[at + 1], c = bytes[at + 2], d = bytes[at + 3];
  return (a >> 4 | c & 240 | (a & 15 | (c & 15) << 4) << 8 | (b >> 4 | d & 240) << 16 |
    (b & 15 | (d & 15) << 4) << 24) >>> 0;
}

/** A weight of 4 bits. */
interface Nibbles {
  readonly shape: LinearShape;
  readonly bytes: Uint8Array;
  readonly map: Float32Array;
  readonly scales: Float32Array;
  /** Elements of a scale, which may go over several rows. */
  readonly size: number;
}

function unpackNibbles({ shape, bytes, map, scales, size }: Nibbles): Unpacked {
  const { out, in: inSize } = shape, count = out * inSize;
  const isNf4 = map.every((number, q) => number === nf4Numbers[q]);
  const hasBlocks = inSize % blockSize === 0 && size % blockSize === 0;
  if (isNf4 && hasBlocks) {
    // Plain loops: typed arrays' `from` takes five times as long.
    const words = new Uint32Array(count / 8), own = new Float32Array(count / blockSize);
    for (let w = 0; w < words.length; w++) words[w] = wordAt(bytes, 4 * w);
    for (let b = 0; b < own.length; b++) own[b] = scales[Math.floor(b * blockSize / size)];
    const tensors = {
      words: tensor(words, [out, inSize / 8]),
      scales: tensor(own, [out, inSize / blockSize]),
    };
    return { weight: { format: nf4_32, shape, tensors } };
  }
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = map[i % 2 === 0 ? bytes[i >> 1] >> 4 : bytes[i >> 1] & 15] * scales[Math.floor(i / size)];
  }
  return {
    weight: denseWeight(tensor(values, [out, inSize])),
    widened: isNf4 ? `their inputs or blocks are no multiple of ${blockSize}` : "their numbers are not NF4's",
  };
}

/** Two positive sizes; undefined for anything else. */
function shapeOf(value: unknown): LinearShape | undefined {
  const isShape = Array.isArray(value) && value.length === 2 &&
    value.every((size) => Number.isSafeInteger(size) && size > 0);
  return isShape ? { out: value[0], in: value[1] } : undefined;
}

async function openNibbles(tensors: StoredTensors, path: string): Promise<PackedWeight> {
  const prefix = `${path}.weight.`, parts = { tensors, path };
  const own = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"].map((end) => prefix + end);
  const states = ["nf4", "fp4"].map((type) => `${prefix}quant_state.bitsandbytes__${type}`)
    .filter((name) => tensors.names.has(name));
  const text = new TextDecoder().decode((await tensors.view(states[0])).bytes.slice());
  const state = parseJsonObject(text, `"${states[0]}"`), { blocksize: size } = state;
  const shape = shapeOf(state.shape);
  if (!shape) return failWeight(path, "its quant_state has no shape of two sizes");
  const count = shape.out * shape.in;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 1) {
    return failWeight(path, "its quant_state has no blocksize");
  }
  return {
    shape,
    tensors: [...states, `${path}.weight`, ...own.filter((name) => tensors.names.has(name))],
    async read() {
      const name = `${path}.weight`;
      if (!tensors.names.has(name)) failWeight(path, "its numbers are missing");
      const { bytes } = await tensors.view(name), map = await floats(parts, "weight.quant_map");
      if (bytes.length !== Math.ceil(count / 2) || map.length !== 16) {
        failWeight(
          path,
          `it has ${bytes.length} bytes and ${map.length} numbers; a shape of [${shape.out},${shape.in}] ` +
            `takes ${Math.ceil(count / 2)} bytes, and 4 bits 16 numbers`,
        );
      }
      return unpackNibbles({
        ...{ shape, bytes, map, size },
        scales: await scalesOf(parts, state, Math.ceil(count / size)),
      });
    },
  };
}

/** 1 / 127 as float32, by which bitsandbytes multiplies scales. */
const unit = Math.fround(1 / 127);

function openBytes(tensors: StoredTensors, path: string): PackedWeight {
  const [out, inSize] = tensors.names.has(`${path}.weight`) ? tensors.info(`${path}.weight`).shape : [0, 0];
  checkShape(tensors, { path, name: `${path}.weight`, shape: [out, inSize] });
  const { dtype } = tensors.info(`${path}.weight`), format = `${path}.weight_format`;
  if (dtype !== "I8") failWeight(path, `it is ${dtype} and has scales in SCB, the rule is I8`);
  const shape = { out, in: inSize }, hasFormat = tensors.names.has(format);
  return {
    shape,
    tensors: [`${path}.weight`, `${path}.SCB`, ...hasFormat ? [format] : []],
    async read() {
      if (hasFormat && (await tensors.view(format)).bytes.some((byte) => byte !== 0)) {
        failWeight(path, `its tensor "${format}" says another order than by rows`);
      }
      checkShape(tensors, { path, name: `${path}.SCB`, shape: [out] });
      const scales = (await floats({ tensors, path }, "SCB")).map((most) => most * unit);
      const { bytes } = await tensors.view(`${path}.weight`), numbers = new Int8Array(bytes.slice().buffer);
      if (inSize % blockSize !== 0) {
        const values = Float32Array.from(numbers, (q, i) => q * scales[Math.floor(i / inSize)]);
        return {
          weight: denseWeight(tensor(values, [out, inSize])),
          widened: `their inputs are no multiple of ${blockSize}`,
        };
      }
      const blocks = inSize / blockSize, own = new Float32Array(out * blocks);
      for (let o = 0; o < out; o++) own.fill(scales[o], o * blocks, (o + 1) * blocks);
      const weight = {
        format: q8_32,
        shape,
        tensors: {
          words: tensor(new Uint32Array(numbers.buffer), [out, inSize / 4]),
          scales: tensor(own, [out, blocks]),
        },
      };
      return { weight };
    },
  };
}

/** Opens a linear's weight, of 8 bits or of 4. */
export async function openBitsandbytes(tensors: StoredTensors, path: string): Promise<PackedWeight> {
  return tensors.names.has(`${path}.SCB`) ? openBytes(tensors, path) : await openNibbles(tensors, path);
}
