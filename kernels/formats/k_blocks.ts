/**
 * What weights in blocks of 256 share: their rows, and numbers that are rounded for scales of scales.
 *
 * @module
 */

/** Elements of a block, whose parts have scales that are whole numbers of the block's own. */
export const bigBlock = 256;

/** Blocks of a row. */
export function bigBlocksOf(inSize: number): number {
  return Math.ceil(inSize / bigBlock);
}

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);

/** The next number away from zero with 11 significant bits, as float16 has: its products with small whole numbers are exact. */
export function elevenBitsAway(value: number): number {
  float32[0] = value;
  bits32[0] = (bits32[0] + 0x1fff) & ~0x1fff;
  return float32[0];
}

/**
 * Checks that a weight's elements are finite.
 *
 * @throws RangeError that names the first that is not.
 */
export function checkFinite(weight: Float32Array): void {
  const at = weight.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new RangeError(`Cannot quantize a weight with element ${at} = ${weight[at]}: it must be finite`);
}

/** WGSL of the quad with zeros for elements past the end of a line, where a line may end within a block. */
export function endedQuad(quad: string, length: { readonly count: number; readonly text: string }): string {
  if (length.count % bigBlock === 0) return `return ${quad};`;
  return `return select(${quad}, vec4f(), vec4u(4 * quad) + vec4u(0, 1, 2, 3) >= vec4u(${length.text}));`;
}
