/**
 * The element types of the format, and the bytes they take.
 *
 * @module
 */

/**
 * Bits of one element by format code, in the order of the format's own list: ascending alignment. Files are laid out
 * in the reverse order.
 */
export const dtypeBits = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const satisfies Readonly<Record<string, number>>;

/** An element type by its code in the format, e.g. `F32` or `BF16`. */
export type SafetensorsDtype = keyof typeof dtypeBits;

/** Whether a text is a format code. */
export function isSafetensorsDtype(code: string): code is SafetensorsDtype {
  return Object.hasOwn(dtypeBits, code);
}

/** The multiple of bytes at which a typed array over elements of `dtype` may start. */
export function alignmentBytes(dtype: SafetensorsDtype): number {
  // C64 is a pair of 32-bit floats, but the format aligns it as one.
  return Math.max(1, dtypeBits[dtype] / 8);
}

/**
 * Bytes of a tensor; `fail` is called, and must throw, when they cannot be counted exactly.
 *
 * @param shape Sizes, non-negative safe integers.
 */
export function tensorBytes(
  tensor: { readonly dtype: SafetensorsDtype; readonly shape: readonly number[] },
  fail: (why: string) => never,
): number {
  let bits: number = dtypeBits[tensor.dtype];
  for (const size of tensor.shape) {
    bits *= size;
    if (bits > Number.MAX_SAFE_INTEGER) return fail("its shape has more than 2^53 - 1 bits");
  }
  if (bits % 8 !== 0) return fail(`its elements take ${bits} bits, which is no whole number of bytes`);
  return bits / 8;
}
