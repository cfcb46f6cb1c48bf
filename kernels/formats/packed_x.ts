/**
 * x as the WASM module's products by weights in blocks take it: `quantize_rows` of kernels/assembly/packed.ts.
 *
 * @module
 */

/** Orders of a block's numbers: those in which numbers of a weight are unpacked fastest. */
export const xOrders = { plain: 0, halves: 1, fourths: 2 } as const;
