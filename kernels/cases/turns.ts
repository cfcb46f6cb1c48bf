/** Cosines and sines of `positions` positions: angle = position / 10000^(2i / headDim). */
export function turns(positions: number, headDim: number): Float32Array {
  const half = headDim / 2;
  const table = new Float32Array(positions * headDim);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      const angle = p / 10000 ** (i / half);
      table.set([Math.cos(angle), Math.sin(angle)], 2 * (p * half + i));
    }
  }
  return table;
}
