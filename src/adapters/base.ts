/**
 * A weight on a device as the base of adapters that act on it.
 *
 * @module
 */
import { linear } from "../../kernels/linear.ts";
import { linearTransposed } from "../../kernels/linear_transposed.ts";
import { rowSquares } from "../../kernels/row_squares.ts";
import type { Device } from "../device/device.ts";
import { type Step, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { BaseLinear, LinearShape } from "./method.ts";
import { inWorkspace } from "./workspace.ts";

/** A product of linears that share an input, and the step that makes the squares of its weight's rows. */
export interface BaseProduct {
  readonly shapes: readonly LinearShape[];
  readonly product: BaseLinear["product"];
  readonly productBackward: BaseLinear["productBackward"];
  /** `squares` (sum of outs) = the sum of squares of each row of W. */
  squaresStep(squares: Tensor): Step;
}

/** The linears of a product. Squares of its rows are made once, when they are first asked for. */
export function baseLinears(
  device: Device,
  { shapes, product, productBackward, squaresStep }: BaseProduct,
): BaseLinear[] {
  let made: Promise<Float32Array> | undefined;
  const total = shapes.reduce((sum, { out }) => sum + out, 0);
  async function all(): Promise<Float32Array> {
    return await inWorkspace(device, ({ alloc, read }) => {
      const squares = alloc([total]);
      return read([squaresStep(squares)], squares);
    });
  }
  let at = 0;
  return shapes.map(({ out }, index) => {
    const begin = at;
    at += out;
    return {
      shapes,
      index,
      product,
      productBackward,
      async squares() {
        const asked = made ??= all();
        try {
          return (await asked).subarray(begin, begin + out);
        } catch (error) {
          // A failure is no answer to keep: the next one to ask tries again, unless somebody has already.
          if (made === asked) made = undefined;
          throw error;
        }
      },
    };
  });
}

/**
 * One linear's weight as the base of adapters: what `deltaOf`, `applyModule` and `merge` need for methods that act on it.
 *
 * @param weight (out, in), float32, float16 or bfloat16, on the device.
 */
export function baseLinear(device: Device, weight: Tensor): BaseLinear {
  const [out, inSize] = weight.shape;
  const [base] = baseLinears(device, {
    shapes: [{ out, in: inSize }],
    product: ({ x, y, rows, accumulate = false }) =>
      step(linear, { x, weight, y }, { rows, in: inSize, out, accumulate: Number(accumulate) }),
    productBackward: ({ dy, dx, rows }) =>
      step(linearTransposed, { dy, weight, dx }, { rows, in: inSize, out, accumulate: 1 }),
    squaresStep: (squares) => step(rowSquares, { weight, squares }, { rows: out, dim: inSize }),
  });
  return base;
}
