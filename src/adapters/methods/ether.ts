/**
 * ETHER and ETHER+ (Bini et al. 2024, arXiv 2405.20271) with the authors' tensors and settings: W is reflected in blocks.
 *
 * A block's H is I - 2 u u^T of ETHER, and I - u u^T + v v^T of ETHER+, for unit vectors.
 *
 * - The right side: W, (out, in), is read as (nb, out, in / nb), and its part number b is multiplied by H_b. So row o's chunk
 *   c of W meets H number (o nb + c) div out. The change is of low rank, and of W u: `ready` makes its factors.
 * - The left side: blockdiag(H) W, outputs without bias. It is in place of the right side for `down_proj` with `flip_side`,
 *   and comes after it in `etherplusHH`.
 *
 * The authors' code keeps no adapter folders: `peft_type` is this package's, and keys have no prefix.
 *
 * @module
 */
import { reflectOutputs } from "../../../kernels/reflect_outputs.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { tensor } from "../../tensor.ts";
import { flagField, integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, BaseLinear, LinearShape, Method, ReadyIo } from "../method.ts";
import { factorsStep } from "./lora.ts";
import { joined } from "./low_rank.ts";
import { type ModuleTensor, type ModuleTensors, shapeError, tensorsByModule } from "./module_tensors.ts";

/** The tensors of each kind: u and v of the right side, then of the left. */
const tensorsOf = {
  ether: ["ether_R"],
  etherplus: ["ether_R", "ether_R2"],
  etherplusHH: ["ether_R", "ether_R2", "ether_R3", "ether_R4"],
} as const;
type Htype = keyof typeof tensorsOf;

/** Blocks at most: the right side's rank grows with their square. */
const mostBlocks = 16;

interface Setting {
  readonly htype: Htype;
  readonly blocks: number;
  readonly flips: boolean;
}

function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  const { Htype: htype } = config,
    blocks = integerField(config, "nb"),
    flips = flagField(config, "flip_side");
  if (typeof htype !== "string" || !Object.hasOwn(tensorsOf, htype)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "Htype" = ${JSON.stringify(htype)}: it must be ${
        Object.keys(tensorsOf).join(", ")
      }`,
    );
  }
  if (blocks < 1 || blocks > mostBlocks) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "nb" = ${blocks}: it must be 1 to ${mostBlocks}`,
    );
  }
  if (flips && htype === "etherplusHH") {
    throw new ConfigError(
      'Cannot read adapter_config.json field "flip_side" = true: etherplusHH has both sides already',
    );
  }
  return { htype: htype as Htype, blocks, flips };
}

/** Vectors of blocks, and the sign of what they add: y += sign p (p . y), with |p|^2 = 2 where H reflects. */
interface Vectors {
  readonly sign: 1 | -1;
  /** (blocks, size), row-major. */
  readonly values: Float64Array;
}

/** One side of a module: the vectors of u, and of v where there is one. */
interface Side {
  readonly size: number;
  readonly vectors: readonly Vectors[];
}

/** Rows of a tensor, each of a certain squared length. */
function scaledRows(
  t: ModuleTensor,
  { blocks, square }: { readonly blocks: number; readonly square: number },
) {
  const size = t.values.length / blocks;
  const values = Float64Array.from(t.values);
  for (let b = 0; b < blocks; b++) {
    const row = values.subarray(b * size, (b + 1) * size);
    const squares = row.reduce((sum, value) => sum + value * value, 0);
    if (squares === 0) throw new ConfigError(`Cannot read adapter tensor "${t.name}": row ${b} is zero`);
    const factor = Math.sqrt(square / squares);
    for (let i = 0; i < size; i++) row[i] *= factor;
  }
  return values;
}

function sideOf(tensors: readonly ModuleTensor[], blocks: number): Side {
  const [, size] = tensors[0].shape;
  for (const t of tensors) {
    if (t.shape.length !== 2 || t.shape[0] !== blocks || t.shape[1] !== size || size === 0) {
      throw shapeError(t, `(nb, size / nb) with "nb" = ${blocks}, and of one size`);
    }
  }
  const square = tensors.length === 1 ? 2 : 1;
  const signs = [-1, 1] as const;
  return {
    size: blocks * size,
    vectors: tensors.map((t, i) => ({ sign: signs[i], values: scaledRows(t, { blocks, square }) })),
  };
}

/** A module's sides. */
interface Sides {
  readonly blocks: number;
  readonly right?: Side;
  readonly left?: Side;
}

/** A (rank, in): each block's vectors, in each chunk of x; and the blocks and chunks of its rows. */
function rightFactor({ blocks, right }: Sides) {
  const { size, vectors } = right!, chunk = size / blocks;
  const rows = Array.from(
    { length: blocks * blocks },
    (_, i) => ({ b: Math.floor(i / blocks), c: i % blocks }),
  )
    .flatMap((place) => vectors.map((own) => ({ ...place, ...own })));
  const a = new Float32Array(rows.length * size);
  rows.forEach(({ b, c, values }, r) =>
    a.set(values.subarray(b * chunk, (b + 1) * chunk), r * size + c * chunk)
  );
  return { a, rows };
}

/** A, then B (out, rank): W A^T where a row of W has the vector's block in that chunk, 0 elsewhere. */
async function rightFactors(
  sides: Sides,
  { base, workspace }: ReadyIo,
): Promise<[Float32Array, Float32Array]> {
  const { a, rows } = rightFactor(sides), { size } = sides.right!;
  const total = (shapes: BaseLinear["shapes"]): number => shapes.reduce((sum, shape) => sum + shape.out, 0);
  const width = total(base.shapes), column = total(base.shapes.slice(0, base.index));
  const { out } = base.shapes[base.index];
  const x = workspace.upload(tensor(a.slice(), [rows.length, size])),
    y = workspace.alloc([rows.length, width]);
  const products = await workspace.read([base.product({ x, y, rows: rows.length })], y);
  const factor = new Float32Array(out * rows.length);
  rows.forEach(({ b, c, sign }, r) => {
    for (let o = 0; o < out; o++) {
      if (Math.floor((o * sides.blocks + c) / out) !== b) continue;
      factor[o * rows.length + r] = sign * products[r * width + column + o];
    }
  });
  return [a, factor];
}

/** The number of blocks, p (out) and q (out), zeros where there is none. */
function leftNumbers({ blocks, left }: Sides, out: number): Float32Array {
  const numbers = new Float32Array(1 + 2 * out);
  numbers[0] = left ? blocks : 1;
  for (const { sign, values } of left?.vectors ?? []) numbers.set(values, sign < 0 ? 1 : 1 + out);
  return numbers;
}

/** A module; `factors` of its right side are there once it was made ready, zeros where there is no such side. */
function etherModule(
  sides: Sides,
  { kind, parameters }: { readonly kind: string; readonly parameters: number },
  factors?: readonly [Float32Array, Float32Array],
): AdapterModule {
  const { left, right, blocks } = sides;
  const fits = (shape: LinearShape): boolean =>
    (right?.size ?? shape.in) === shape.in && (left?.size ?? shape.out) === shape.out;
  return {
    parameters,
    summary: `${kind}, ${blocks} block(s)`,
    phases: [...(right ? ["beside" as const] : []), ...(left ? ["after" as const] : [])],
    check(path, shape) {
      if (fits(shape)) return;
      const what = [right && `${right.size} inputs`, left && `${left.size} outputs`].filter(Boolean);
      throw new RangeError(
        `Cannot use module "${path}": it reflects ${
          what.join(" and ")
        }, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    ready: right && (async (io) => etherModule(sides, { kind, parameters }, await rightFactors(sides, io))),
    pack({ out, in: inSize }) {
      if (right && !factors) {
        throw new TypeError("Cannot use an ETHER module before it was made ready with its base's weight");
      }
      const [a, b] = factors ?? [new Float32Array(inSize), new Float32Array(out)];
      return { values: joined(a, b, leftNumbers(sides, out)), count: b.length / out, scale: 1 };
    },
  };
}

function moduleOf({ path, tensor }: ModuleTensors, { htype, blocks, flips }: Setting): AdapterModule {
  const all = tensorsOf[htype].map(tensor);
  const first = sideOf(all.slice(0, 2), blocks);
  const second = all.length > 2 ? sideOf(all.slice(2), blocks) : undefined;
  const flipped = flips && path.split(".").at(-1) === "down_proj";
  const parameters = all.reduce((sum, { values }) => sum + values.length, 0);
  return etherModule(flipped ? { blocks, left: first } : { blocks, right: first, left: second }, {
    kind: htype,
    parameters,
  });
}

/** See the module's documentation. */
export const ether: Method = {
  name: "ETHER",
  peftType: "ETHER",
  facts: {
    tensors: [
      "ether_R (nb, in / nb)",
      "ether_R2 (nb, in / nb) of ETHER+",
      "ether_R3, ether_R4 (nb, out / nb) of etherplusHH",
    ],
    formula: "W' = H_left W H_right in nb blocks; H = I - 2 u u^T, or I - u u^T + v v^T",
    cost: "nb^2 (in + out), twice that of ETHER+",
    numbers: "nb^2 (in + out) + 2 out, the product twice of ETHER+",
    refused: "more than 16 blocks; `flip_side` with etherplusHH",
  },
  checkConfig(config) {
    refuseUnknown(config, { known: ["Htype", "flip_side", "nb"] });
    settingOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const setting = settingOf(files.config);
    const own = Object.fromEntries(tensorsOf[setting.htype].map((name) => [name, "any"] as const));
    const modules = tensorsByModule(files, { method: "ETHER", own, prefix: "" });
    return new Map(modules.map((tensors) => [tensors.path, moduleOf(tensors, setting)]));
  },
  beside: factorsStep,
  after: (
    { y, slots, records, values, rows, in: inSize, outs: [out0, out1, out2], linear, capacity },
  ) =>
    step(reflectOutputs, { slots, records, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    }),
};
