/**
 * A weight on a device as the base of adapters that act on it.
 *
 * @module
 */
import { embedding } from "../../kernels/embedding.ts";
import { linear } from "../../kernels/linear.ts";
import { linearTransposed } from "../../kernels/linear_transposed.ts";
import { rowSquares } from "../../kernels/row_squares.ts";
import { breathe, inSlices } from "../breathe.ts";
import type { Device } from "../device/device.ts";
import { type Step, step } from "../plan.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { BaseLinear, LinearShape, SingularFactors } from "./method.ts";
import { inWorkspace } from "./workspace.ts";

/** A product of linears that share an input, and the step that makes the squares of its weight's rows. */
export interface BaseProduct {
  readonly shapes: readonly LinearShape[];
  /** As of BaseLinear. */
  readonly dtype?: BaseLinear["dtype"];
  readonly product: BaseLinear["product"];
  readonly productBackward: BaseLinear["productBackward"];
  /** y (count, in), float32 = rows of W by ids (count). */
  rowsStep(io: { readonly ids: Tensor; readonly y: Tensor; readonly count: number }): Step;
  /** `squares` (sum of outs) = the sum of squares of each row of W. */
  squaresStep(squares: Tensor): Step;
}

/** Numbers of a weight that are read at once. */
const mostNumbers = 2 ** 24;

/** What `make` gives, made when it is first asked for. A failure is no answer to keep. */
function kept<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return async () => {
    const asked = made ??= make();
    try {
      return await asked;
    } catch (error) {
      // The next one to ask tries again, unless somebody has already.
      if (made === asked) made = undefined;
      throw error;
    }
  };
}

/** The linear's own rows, some at a time. */
async function readWeight(
  device: Device,
  { rows, shape: { out, in: inSize } }: Pick<BaseLinear, "rows"> & { readonly shape: LinearShape },
): Promise<Float32Array> {
  const weight = new Float32Array(out * inSize);
  const size = Math.max(1, Math.floor(mostNumbers / inSize));
  for (let first = 0; first < out; first += size) {
    const count = Math.min(size, out - first);
    await inWorkspace(device, async ({ upload, alloc, read }) => {
      const y = alloc([count, inSize]);
      weight.set(await read([rows({ upload, y, first, count })], y), first * inSize);
    });
    await breathe();
  }
  return weight;
}

async function singularOf(weight: Float32Array, shape: LinearShape): Promise<SingularFactors> {
  const { svd, turn } = await import("./svd.ts");
  const { s, u, v } = await svd(weight, shape), n = s.length;
  const factors = new Float32Array(v.length + u.length);
  factors.set(v);
  await inSlices(turn(factors.subarray(v.length), u, { rows: n, columns: shape.out }));
  return { s, factors };
}

/** The linears of a product. What is made of the weight is made once, when it is first asked for. */
export function baseLinears(device: Device, of: BaseProduct): BaseLinear[] {
  const { shapes, dtype, product, productBackward, rowsStep, squaresStep } = of;
  const total = shapes.reduce((sum, { out }) => sum + out, 0);
  const allSquares = kept(() =>
    inWorkspace(device, ({ alloc, read }) => {
      const squares = alloc([total]);
      return read([squaresStep(squares)], squares);
    })
  );
  let at = 0;
  return shapes.map((shape, index) => {
    const column = at;
    at += shape.out;
    const rows: BaseLinear["rows"] = ({ upload, y, first, count }) => {
      const ids = Uint32Array.from({ length: count }, (_, i) => column + first + i);
      return rowsStep({ ids: upload(tensor(ids)), y, count });
    };
    const weight = () => readWeight(device, { rows, shape });
    return {
      shapes,
      index,
      ...(dtype ? { dtype } : {}),
      product,
      productBackward,
      rows,
      squares: async () => (await allSquares()).subarray(column, column + shape.out),
      weight,
      singular: kept(async () => await singularOf(await weight(), shape)),
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
    dtype: weight.dtype,
    product: ({ x, y, rows, accumulate = false }) =>
      step(linear, { x, weight, y }, { rows, in: inSize, out, accumulate: Number(accumulate) }),
    productBackward: ({ dy, dx, rows }) =>
      step(linearTransposed, { dy, weight, dx }, { rows, in: inSize, out, accumulate: 1 }),
    rowsStep: ({ ids, y, count }) =>
      step(embedding, { ids, weight, y }, { rows: count, dim: inSize, vocab: out }),
    squaresStep: (squares) => step(rowSquares, { weight, squares }, { rows: out, dim: inSize }),
  });
  return base;
}
