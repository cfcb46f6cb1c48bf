/**
 * One row's product by a weight in blocks on the host, with the numbers as they are stored.
 *
 * @module
 */
import type { RowProduct, WeightArrays, WeightShape } from "../format.ts";
import { type Bits, blockSize, blocksOf } from "./blocks.ts";

/** What a byte stands for: with 8 bits the number, with 4 the one of its low half. */
const low: Readonly<Record<Bits, Float64Array>> = {
  8: Float64Array.from({ length: 256 }, (_, byte) => byte << 24 >> 24),
  4: Float64Array.from({ length: 256 }, (_, byte) => byte << 28 >> 28),
};

/** The number of a byte's high half. */
const high = Float64Array.from({ length: 256 }, (_, byte) => byte << 24 >> 28);

/** Where the same block of four rows begins: bytes of the weight, and the block's first element of x. */
interface Four {
  k: number;
  w0: number;
  w1: number;
  w2: number;
  w3: number;
}

/** The products of a block of x with those of four rows, summed, to `dots`. Looking bytes up is faster than converting. */
type BlockDots = (x: Float32Array, bytes: Uint8Array, at: Four, dots: Float64Array) => void;

const blockDots: Readonly<Record<Bits, BlockDots>> = {
  8(x, bytes, { k, w0, w1, w2, w3 }, dots) {
    const number = low[8];
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < blockSize; i++) {
      const v = x[k + i];
      a += v * number[bytes[w0 + i]];
      b += v * number[bytes[w1 + i]];
      c += v * number[bytes[w2 + i]];
      d += v * number[bytes[w3 + i]];
    }
    dots[0] = a;
    dots[1] = b;
    dots[2] = c;
    dots[3] = d;
  },
  4(x, bytes, { k, w0, w1, w2, w3 }, dots) {
    const number = low[4];
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < blockSize / 2; i++) {
      const at = k + i + (i & ~3), v = x[at], u = x[at + 4];
      let byte = bytes[w0 + i];
      a += v * number[byte] + u * high[byte];
      byte = bytes[w1 + i];
      b += v * number[byte] + u * high[byte];
      byte = bytes[w2 + i];
      c += v * number[byte] + u * high[byte];
      byte = bytes[w3 + i];
      d += v * number[byte] + u * high[byte];
    }
    dots[0] = a;
    dots[1] = b;
    dots[2] = c;
    dots[3] = d;
  },
};

/** Four outputs at once, a quarter of them apart. */
export function multiplyRow(
  { x, y, at, accumulate }: RowProduct,
  { words, scales }: WeightArrays<"words" | "scales">,
  { in: inSize, out, bits }: WeightShape & { readonly bits: Bits },
): void {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const blocks = blocksOf(inSize), quarter = Math.ceil(out / 4), dot = blockDots[bits];
  const dots = new Float64Array(4), four: Four = { k: 0, w0: 0, w1: 0, w2: 0, w3: 0 };
  for (let o = 0; o < quarter; o++) {
    // Past the last row it is taken once more, and left out.
    const s0 = o * blocks, s1 = Math.min(o + quarter, out - 1) * blocks;
    const s2 = Math.min(o + 2 * quarter, out - 1) * blocks, s3 = Math.min(o + 3 * quarter, out - 1) * blocks;
    let a = 0, b = 0, c = 0, d = 0;
    for (let block = 0; block < blocks; block++) {
      four.k = block * blockSize;
      four.w0 = 4 * bits * (s0 + block);
      four.w1 = 4 * bits * (s1 + block);
      four.w2 = 4 * bits * (s2 + block);
      four.w3 = 4 * bits * (s3 + block);
      dot(x, bytes, four, dots);
      a += dots[0] * scales[s0 + block];
      b += dots[1] * scales[s1 + block];
      c += dots[2] * scales[s2 + block];
      d += dots[3] * scales[s3 + block];
    }
    const sums = [a, b, c, d];
    for (let i = 0; i < 4 && o + i * quarter < out; i++) {
      const to = at + o + i * quarter;
      y[to] = sums[i] + (accumulate ? y[to] : 0);
    }
  }
}
