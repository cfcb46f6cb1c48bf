/**
 * MiSS with `init_weights` "bat", as PEFT writes it: W is cut into blocks (r, r), and each block of block row i becomes
 * W_ij + W_ij M_i + M_i. So dW has full rank, and depends on W.
 *
 * dW is made once, when an adapter is put on a device, and kept there whole: it takes as much room and work as W
 * in float32.
 *
 * @module
 */
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { CombinationError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { type HostTensor, slice, tensor } from "../../tensor.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterModule, CombinedFiles, Method, ReadyIo, Summand } from "../method.ts";
import { takingScales } from "../scaled.ts";
import { checkReach, greatestSize } from "../numbers.ts";
import { changeByRows } from "./base_rows.ts";
import { checkSame, piecesByPath, prefix, weightedSum } from "./combined.ts";
import { mostNumbers } from "./folded.ts";
import { kroneckerModule, kroneckerStep, type Matrix, whole } from "./kronecker.ts";
import { tensorsByModule } from "./module_tensors.ts";

const known = [
  "r", // the tensors say it
  "mini_r",
  "init_weights",
  "miss_dropout", // training only
];

const names = { method: "MiSS-bat", own: { miss_block: ["rows", "r", "r"] } };

interface Blocks {
  /** (count, size, size). */
  readonly values: Float32Array;
  readonly count: number;
  readonly size: number;
}

/** Tensors are sliced at multiples of 256 bytes, which blocks of a multiple of 8 numbers keep to. */
const slicedSize = 8;

/**
 * dW: block row i of W is read as (in, size), row by row, and times M_i. M_i itself is added on the host, once for each block
 * of the row.
 */
async function changeOf({ values: blocks, size }: Blocks, io: ReadyIo): Promise<Matrix> {
  const { in: inSize } = io.base.shapes[io.base.index], area = size * size;
  const most = size % slicedSize === 0 ? Infinity : size;
  const change = await changeByRows({ ...io, multiple: size, most }, ({ w, y, first, count }) => {
    const begin = first * size, own = blocks.subarray(begin, begin + count * size);
    const all = io.workspace.upload(tensor(own, [own.length]));
    return Array.from({ length: count / size }, (_, i) => {
      const at = i * size * inSize, shape = [inSize, size];
      return step(linearTransposed, {
        dy: slice(w, at, shape),
        weight: slice(all, i * area, [size, size]),
        dx: slice(y, at, shape),
      }, { rows: inSize, in: size, out: size, accumulate: 0 });
    });
  });
  const { values, out } = change;
  for (let o = 0, at = 0; o < out; o++) {
    const row = Math.floor(o / size) * area + o % size * size;
    for (let begin = 0; begin < inSize; begin += size) {
      for (let b = 0; b < size; b++, at++) values[at] += blocks[row + b];
    }
  }
  checkReach(greatestSize(values), `module "${io.path}": an element of its dW`);
  return change;
}

/** A module, and its blocks for sums. */
interface BatModule extends AdapterModule {
  readonly blocks: Blocks;
}

/** A module; its dW is there once it was made ready. */
function batModule(blocks: Blocks, change?: Matrix): BatModule {
  const { values, count, size } = blocks;
  const module: BatModule = {
    blocks,
    parameters: values.length,
    summary: `r = ${size}, bat, dW whole`,
    check(path, shape) {
      if (shape.out !== count * size || shape.in % size !== 0) {
        throw new RangeError(
          `Cannot use module "${path}": it has ${count} block(s) of ${size} rows and columns, the weight is ` +
            `(${shape.out}, ${shape.in})`,
        );
      }
      if (shape.out * shape.in <= mostNumbers) return;
      throw new RangeError(
        `Cannot use module "${path}" as MiSS-bat: its dW is kept whole and has ${
          shape.out * shape.in
        } numbers, ` +
          `at most ${mostNumbers} are accepted`,
      );
    },
    ready: async (io) => batModule(blocks, await changeOf(blocks, io)),
    ...(change ? kroneckerModule(whole(change)) : {
      pack() {
        throw new TypeError("Cannot use a MiSS-bat module before it was made ready with its base's weight");
      },
    }),
  };
  return change ? takingScales(module, () => greatestSize(change.values)) : module;
}

/** W_ij M_i + M_i is linear in M_i: blocks of one size add up. */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const sizes = ({ modules }: Summand): number => ([...modules.values()][0] as BatModule).blocks.size;
  const r = checkSame(
    adapters,
    sizes,
    (one, other) =>
      `Cannot write MiSS-bat adapters with blocks of ${one} and of ${other} as one: a file has one size of blocks`,
  );
  const tensors = new Map<string, HostTensor>();
  for (const [path, pieces] of piecesByPath<BatModule>(adapters)) {
    const { count } = pieces[0].module.blocks;
    const parts = pieces.map(({ module: { blocks }, summand: { name, weight } }) => {
      if (blocks.count === count && blocks.size === r) return { values: blocks.values, factor: weight };
      throw new CombinationError(
        `Cannot write module "${path}" of adapter "${name}" into a sum: it has ${blocks.count} block(s) of ${blocks.size}, ` +
          `another has ${count} of ${r}`,
      );
    });
    tensors.set(`${prefix}${path}.miss_block`, weightedSum(path, parts, [count, r, r]));
  }
  return { config: { r, mini_r: 1, init_weights: "bat" }, tensors };
}

/** See the module's documentation. */
export const missBat: Method = {
  name: "MiSS-bat",
  peftType: "MISS",
  facts: {
    tensors: ["miss_block (out / r, r, r)"],
    formula: "block (i, j) of dW is W_ij M_i + M_i",
    cost: "out in",
    ofBase: "1",
    numbers: "out in: dW is kept whole",
    refused: "an r that does not divide in; weights of more than 2^26 numbers",
  },
  claims: ({ init_weights: kind }) => kind === "bat",
  checkConfig: (config) => refuseUnknown(config, { known }),
  read(files) {
    this.checkConfig(files.config);
    return new Map(
      tensorsByModule(files, names).map((tensors) => [
        tensors.path,
        batModule({
          values: tensors.floats("miss_block"),
          count: tensors.size("rows", "miss_block"),
          size: tensors.size("r", "miss_block"),
        }),
      ]),
    );
  },
  takesScale: true,
  combined,
  beside: kroneckerStep,
};
