/**
 * dW as a grid of few cells: each cell is an element, or a square block of elements reduced to a number.
 *
 * @module
 */
import type { LinearShape } from "../adapters/method.ts";
import { inSlices } from "../breathe.ts";

/** How a block becomes a number: the mean of its elements, or the square root of the mean of their squares. */
export type Reduction = "mean" | "rms";

/** The reductions, by name. */
export const reductions: readonly Reduction[] = ["mean", "rms"];

/** A grid of cells, row-major from dW[0, 0]. */
export interface DeltaCells {
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns of dW in a cell; the last cells of a row and a column may have fewer. 1: cells are elements. */
  readonly block: number;
  /** Absent where cells are elements. */
  readonly reduction?: Reduction;
  readonly values: Float32Array;
}

/**
 * Other work has its turn between rows.
 *
 * @param mostCells Cells at most.
 * @throws the signal's reason.
 */
export async function deltaCells(
  delta: Float32Array,
  { out, in: inSize }: LinearShape,
  { mostCells, reduction, signal }: {
    readonly mostCells: number;
    readonly reduction: Reduction;
    readonly signal?: AbortSignal;
  },
): Promise<DeltaCells> {
  let block = 1;
  while (Math.ceil(out / block) * Math.ceil(inSize / block) > mostCells) block++;
  if (block === 1) return { rows: out, columns: inSize, block, values: delta };
  const rows = Math.ceil(out / block), columns = Math.ceil(inSize / block);
  const sums = new Float64Array(rows * columns);
  const part = reduction === "mean" ? (value: number) => value : (value: number) => value * value;
  function* adding(): Iterable<void> {
    for (let p = 0; p < out; p++) {
      const at = Math.floor(p / block) * columns, row = p * inSize;
      for (let q = 0; q < inSize; q++) sums[at + Math.floor(q / block)] += part(delta[row + q]);
      yield;
    }
  }
  await inSlices(adding(), signal);
  const values = Float32Array.from(sums, (sum, cell) => {
    const height = Math.min(block, out - Math.floor(cell / columns) * block);
    const width = Math.min(block, inSize - (cell % columns) * block);
    const mean = sum / (height * width);
    return reduction === "mean" ? mean : Math.sqrt(mean);
  });
  return { rows, columns, block, reduction, values };
}
