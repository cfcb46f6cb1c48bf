/**
 * How a kernel finds a row's adapter: the row's slot, and a record of four words for each linear and slot.
 *
 * @module
 */

/** The slot of a row without an adapter. */
export const noSlot = 0xffffffff;

/**
 * Words of a record, at (linear * capacity + slot) * 4: offset of the shared table, offset of the values, their count
 * (coefficients, or rank; 0 adds nothing), and a factor as float32 bits.
 */
export const recordWords = 4;

const scratch = new DataView(new ArrayBuffer(4));

/** The float32 with these bits. */
export function floatOf(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** The bits of a number rounded to float32. */
export function bitsOf(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}
