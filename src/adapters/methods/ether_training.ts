/**
 * ETHER and ETHER+ while they are trained. A vector p of a block changes a row x of its chunks to x + sign p (p . x), with
 * |p|^2 = 2 where a block has one vector, and 1 where it has two. Products with the vectors of all blocks are made at once;
 * those of other blocks are left out by zeros.
 *
 * @module
 */
import { blockDiagonal } from "../../../kernels/block_diagonal.ts";
import { blockDiagonalBackward } from "../../../kernels/block_diagonal_backward.ts";
import { fill } from "../../../kernels/fill.ts";
import { linear } from "../../../kernels/linear.ts";
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { ownBlocks } from "../../../kernels/own_blocks.ts";
import { unitRows } from "../../../kernels/unit_rows.ts";
import { unitRowsBackward } from "../../../kernels/unit_rows_backward.ts";
import { weightGradient } from "../../../kernels/weight_gradient.ts";
import { type Step, step } from "../../plan.ts";
import { elements, type Tensor, tensor } from "../../tensor.ts";
import type { LinearShape } from "../method.ts";
import type { TrainableModule, TrainAfterIo, TrainBeforeIo, TrainIo } from "../training.ts";
import { joined } from "./low_rank.ts";
import type { ModuleTensor } from "./module_tensors.ts";

/** The tensors of one side, in their order: u, then v where there is one. */
export interface EtherSides {
  readonly blocks: number;
  readonly right?: readonly ModuleTensor[];
  readonly left?: readonly ModuleTensor[];
}

/** A side's vectors: where its numbers start among the module's, how many vectors a block has, and the inputs or outputs. */
interface Vectors {
  readonly blocks: number;
  readonly kinds: number;
  readonly size: number;
  readonly begin: number;
}

const zeroed = (y: Tensor): Step => step(fill, { y }, { count: elements(y.shape), value: 0 });

/** Words of a product of rows, each cut into its blocks, with the vectors of all blocks. */
const productWords = ({ blocks, kinds, size }: Vectors, rows: number) => ({
  rows: rows * blocks,
  in: size / blocks,
  out: kinds * blocks,
});

/** p (kinds blocks, size / blocks), and the step that turns its gradient into that of the trained numbers. */
function vectorsOf(
  { blocks, kinds, size, begin }: Vectors,
  { params, gradients, at, scratch }: TrainBeforeIo,
) {
  const shape = [kinds * blocks, size / blocks];
  const p = scratch("p", shape), dp = scratch("dp", shape);
  const words = { rows: shape[0], dim: shape[1], offset: at + begin, norm: kinds === 1 ? Math.SQRT2 : 1 };
  return {
    p,
    dp,
    make: step(unitRows, { values: params, y: p }, words),
    pass: step(unitRowsBackward, { values: params, dy: dp, gradient: gradients }, words),
  };
}

/** y += dW x: z = the products of x's chunks with p; y += z (W p), with those parts of W p that the vectors meet. */
function rightSide(vectors: Vectors, { out, in: inSize }: LinearShape): TrainableModule["beside"] {
  const { blocks, kinds } = vectors, rank = blocks * kinds * blocks;
  const met = { rows: 1, width: out, blocks, kinds, weight: 1 };
  const copied = { rows: kinds * blocks, dim: inSize / blocks, copies: blocks };
  function products(io: TrainIo) {
    const { x, rows, scratch, product } = io, { p, dp, make, pass } = vectorsOf(vectors, io);
    const z = scratch("z", [rows, rank]),
      wp = scratch("wp", [rank, out]),
      chunks = scratch("chunks", [rank, inSize]);
    const steps: Step[] = [
      make,
      step(linear, { x, weight: p, y: z }, { ...productWords(vectors, rows), accumulate: 0 }),
      step(blockDiagonal, { x: p, y: chunks }, copied),
      product({ x: chunks, y: wp, rows: rank }),
      step(ownBlocks, { y: wp }, met),
    ];
    return { p, dp, pass, z, wp, steps };
  }
  return {
    forward(io) {
      const { y, rows } = io, { z, wp, steps } = products(io);
      return [
        ...steps,
        step(linearTransposed, { dy: z, weight: wp, dx: y }, { rows, in: out, out: rank, accumulate: 1 }),
      ];
    },
    backward({ dy, dx, ...io }) {
      const { x, rows, scratch, productBackward } = io, { p, dp, pass, z, wp, steps } = products(io);
      const dz = scratch("dz", [rows, rank]), dwp = scratch("dwp", [rank, out]);
      const dchunks = scratch("dchunks", [rank, inSize]), words = productWords(vectors, rows);
      return [
        ...steps,
        ...[dp, dwp, dchunks].map(zeroed),
        step(linear, { x: dy, weight: wp, y: dz }, { rows, in: out, out: rank, accumulate: 0 }),
        step(weightGradient, { dy: z, x: dy, gradient: dwp }, {
          rows,
          in: out,
          out: rank,
          offset: 0,
          scale: 1,
        }),
        step(ownBlocks, { y: dwp }, met),
        productBackward({ dy: dwp, dx: dchunks, rows: rank }),
        step(blockDiagonalBackward, { dy: dchunks, dx: dp }, copied),
        step(weightGradient, { dy: dz, x, gradient: dp }, { ...words, offset: 0, scale: 1 }),
        step(linearTransposed, { dy: dz, weight: p, dx }, { ...words, accumulate: 1 }),
        pass,
      ];
    },
  };
}

/** t += z p, with z = the products of t's blocks with p, those of other blocks left out. */
function leftSide(vectors: Vectors): TrainableModule["after"] {
  const { blocks, kinds } = vectors;
  /** z of some rows, in scratch of a name. */
  function products(t: Tensor, name: string, { p, io: { rows, scratch } }: { p: Tensor; io: TrainAfterIo }) {
    const z = scratch(name, [rows * blocks, kinds * blocks]);
    const steps: Step[] = [
      step(linear, { x: t, weight: p, y: z }, { ...productWords(vectors, rows), accumulate: 0 }),
      step(ownBlocks, { y: z }, { rows, width: 1, blocks, kinds, weight: 0 }),
    ];
    return { z, steps };
  }
  return {
    forward(io) {
      const { y, rows } = io,
        { p, make } = vectorsOf(vectors, io),
        { z, steps } = products(y, "z", { p, io });
      const words = { ...productWords(vectors, rows), accumulate: 1 };
      return [make, ...steps, step(linearTransposed, { dy: z, weight: p, dx: y }, words)];
    },
    backward({ dy, ...io }) {
      const { y: t, rows } = io, { p, dp, make, pass } = vectorsOf(vectors, io);
      const { z, steps } = products(t, "z", { p, io }),
        { z: dz, steps: dsteps } = products(dy, "dz", { p, io });
      const words = productWords(vectors, rows), added = { ...words, offset: 0, scale: 1 };
      return [
        make,
        zeroed(dp),
        ...steps,
        ...dsteps,
        step(weightGradient, { dy: z, x: dy, gradient: dp }, added),
        step(weightGradient, { dy: dz, x: t, gradient: dp }, added),
        step(linearTransposed, { dy: dz, weight: p, dx: dy }, { ...words, accumulate: 1 }),
        pass,
      ];
    },
  };
}

/** A module's numbers are its tensors, the right side's first. */
export function trainableSides(
  { blocks, right = [], left = [] }: EtherSides,
  shape: LinearShape,
): TrainableModule {
  const all = [...right, ...left];
  const begins = all.map((_, i) => all.slice(0, i).reduce((sum, { values }) => sum + values.length, 0));
  const side = (tensors: readonly ModuleTensor[], first: number): Vectors => ({
    blocks,
    kinds: tensors.length,
    size: tensors[0].values.length,
    begin: begins[first],
  });
  return {
    values: joined(...all.map(({ values }) => values)),
    beside: right.length > 0 ? rightSide(side(right, 0), shape) : undefined,
    after: left.length > 0 ? leftSide(side(left, right.length)) : undefined,
    tensors: (values) =>
      new Map(all.map(({ name, shape: dims, values: own }, i) => [
        name.slice(name.lastIndexOf(".")),
        tensor(values.slice(begins[i], begins[i] + own.length), [...dims]),
      ])),
  };
}
