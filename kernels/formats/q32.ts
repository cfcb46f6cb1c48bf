/**
 * Weights in blocks of 32 whole numbers of 8 or 4 bits that share a scale; q32/blocks.ts says where their bits are.
 *
 * @module
 */
import { bfloat16ToFloat32, storageType } from "../half.ts";
import type { ByteProducts, WasmCall } from "../kernel.ts";
import {
  checkSizes,
  type LineText,
  outputsOf,
  type ProductSizes,
  type QuadText,
  type WeightFormat,
  type WeightSteps,
  type WeightTypes,
} from "./format.ts";
import { groupsAtOnce, type MovedNumbers, roundedToBytes, roundedX } from "./packed_x.ts";
import { type Bits, type BlockBuffers, blockSize, blocksOf, dequantize, quantize } from "./q32/blocks.ts";
import { multiplyRow } from "./q32/cpu.ts";
import {
  halvesFunctions,
  halvesOffset,
  numbersFunctions,
  quadBody,
  quadsOfWord,
  type QuantizedText,
  rowBegin,
  scaleFunction,
} from "./q32/wgsl.ts";

type Types = WeightTypes<BlockBuffers>;

/** Words of a row that a step takes: a load of 8 bytes, 8 or 16 elements, so that neighbours read x side by side. */
const wordsOfStep = 2;

const textOf = (bits: Bits, { scales: scaleType }: Types, length: string): QuantizedText => ({
  ...{ words: "words", scales: "scales", scaleType, bits, length },
});

function quads(bits: Bits, { role, length }: LineText, types: Types): QuadText {
  const text = textOf(bits, types, length.text);
  return {
    types: ["u32", storageType(types.scales)],
    functions: `${scaleFunction(text, { pairs: false })}
${numbersFunctions(bits)}
fn ${role}_begin(line: u32) -> u32 { return ${rowBegin(text, "line")}; }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  ${quadBody(text)}
}`,
  };
}

/** The scale is put to the sum of a step's products. */
function steps(bits: Bits, inSize: number, types: Types): WeightSteps {
  const text = textOf(bits, types, "uniforms.in"), stepsOfBlock = bits / wordsOfStep;
  return {
    types: ["vec2u", storageType(types.scales)],
    functions: `${scaleFunction(text, { pairs: inSize % (2 * blockSize) === 0 })}\n${halvesFunctions(bits)}`,
    count: blocksOf(inSize) * stepsOfBlock,
    steps: `((uniforms.in + 31) / 32) * ${stepsOfBlock}`,
    begin: (column) => rowBegin(text, column),
    load: (begin, k) => `words[${begin} / ${wordsOfStep} + ${k}]`,
    quads: ["x", "y"].flatMap((word) =>
      quadsOfWord[bits].map((shift) => (w: string) => `halves_${shift}(${w}.${word})`)
    ),
    scaled: {
      scale: (begin, k) => `words_scale(${begin}, (${k}) / ${stepsOfBlock})`,
      order: "xzyw",
      offset: halvesOffset[bits],
    },
  };
}

/** How numbers are moved to be multiplied by bytes of x, and by which bits theirs are turned for that; undefined for x of 16 bits. */
function movedNumbers(
  bits: Bits,
  bytes: ByteProducts | undefined,
): MovedNumbers & { turned: number } | undefined {
  if (!bytes) return undefined;
  if (bits === 4) return { offset: 8, inHalves: true, turned: 0x88 };
  const { offset } = bytes;
  return offset === undefined ? undefined : { offset, inHalves: false, turned: offset };
}

function wasm(
  bits: Bits,
  { rows, in: inSize, out, accumulate }: ProductSizes,
  { bias, bytes }: { readonly bias: "bias" | 0; readonly bytes?: ByteProducts },
): WasmCall {
  const moved = movedNumbers(bits, bytes), blockBytes = moved ? 144 : 272;
  const groups = groupsAtOnce(rows, inSize, blockBytes), sizes = { rows, in: inSize };
  const x = moved
    ? roundedToBytes(sizes, moved, groups > 0)
    : roundedX(sizes, bits === 8 ? "plain" : "fourths", groups > 0);
  return {
    before: [x.step],
    function: "quantized_linear",
    args: [
      ...["packed", "words", "scales", bias, "y", out, groups ? "panel" : 0, groups],
      ...[rows, inSize, out, bits, moved?.turned ?? -1, accumulate],
    ],
    items: groups ? Math.ceil(out / 4) : outputsOf(out, false),
    work: rows * inSize * out,
    scratch: { packed: x.bytes },
    each: groups ? { panel: blockBytes * groups * blocksOf(inSize) } : {},
    // An element of x is off by 2^-17 of its block's largest one, or by 2^-8: the largest is at most sqrt(32) times the
    // block's root mean square, and such errors are uniform.
    tolerance: moved ? 1.3e-2 : 1e-4,
  };
}

function blocks(bits: Bits): WeightFormat<BlockBuffers> {
  return {
    name: `q${bits}_${blockSize}`,
    doc: `whole numbers of ${bits} bits in blocks of ${blockSize} that share a scale`,
    block: blockSize,
    buffers: {
      words: { access: "read", dtypes: ["uint32"], doc: `(out, ceil(in / 32) * ${bits}), row-major` },
      scales: { access: "read", dtypes: ["bfloat16", "float32"], doc: "(out, ceil(in / 32)), row-major" },
    },
    stepBytes: 4 * wordsOfStep,
    rowElements: (inSize) => ({ words: blocksOf(inSize) * bits, scales: blocksOf(inSize) }),
    check: checkSizes,
    quads: (line, types) => quads(bits, line, types),
    steps: (inSize, types) => steps(bits, inSize, types),
    pack(values, shape, types) {
      const { words, scales } = quantize(values, { ...shape, bits });
      return { words, scales: types?.scales === "float32" ? bfloat16ToFloat32(scales) : scales };
    },
    rows: (weight, shape, range) => dequantize(weight, { ...shape, bits }, range),
    multiplyRow: (product, weight, shape) => multiplyRow(product, weight, { ...shape, bits }),
    wasmWeight: () => ({ args: ["words", "scales"], bits }),
    wasm: (sizes, bias, _types, bytes) => wasm(bits, sizes, { bias, bytes }),
  };
}

/** 8 bits in blocks of 32: 8.5 bits a number. */
export const q8_32: WeightFormat<BlockBuffers> = blocks(8);

/** 4 bits in blocks of 32: 4.5 bits a number. */
export const q4_32: WeightFormat<BlockBuffers> = blocks(4);
