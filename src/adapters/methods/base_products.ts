/**
 * Vectors times a base's weight, for methods that fold W into factors when they are made ready.
 *
 * @module
 */
import { tensor } from "../../tensor.ts";
import type { BaseLinear, ReadyIo } from "../method.ts";

/** x (count, in) W^T of the linear's own weight: (count, out). */
export async function baseProducts(
  { base, workspace }: ReadyIo,
  x: Float32Array,
  count: number,
): Promise<Float32Array> {
  const total = (shapes: BaseLinear["shapes"]): number => shapes.reduce((sum, shape) => sum + shape.out, 0);
  const width = total(base.shapes), first = total(base.shapes.slice(0, base.index));
  const { out, in: inSize } = base.shapes[base.index];
  const y = workspace.alloc([count, width]);
  const uploaded = workspace.upload(tensor(x, [count, inSize]));
  const all = await workspace.read([base.product({ x: uploaded, y, rows: count })], y);
  const own = new Float32Array(count * out);
  for (let r = 0; r < count; r++) {
    own.set(all.subarray(r * width + first, r * width + first + out), r * out);
  }
  return own;
}
