/**
 * SHiRA (Bhardwaj et al. 2024, arXiv 2406.13175) as PEFT writes it: dW is sparse, and the file has its numbers and their places.
 * Numbers of one place add up.
 *
 * @module
 */
import { sparseLinear } from "../../../kernels/sparse_linear.ts";
import { CombinationError, ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, CombinedFiles, CombineIo, LinearShape, Method, Summand } from "../method.ts";
import { takingScales } from "../scaled.ts";
import { checkReach } from "../numbers.ts";
import { piecesByPath, prefix } from "./combined.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "init_weights",
  "mask_type", // the file has the places
  "r",
  "random_seed",
];

const names = { method: "SHiRA", own: { shira_weight: ["n"], shira_indices: [2, "n"] } };

/** Tables on a device are told apart by their number. */
let tables = 0;

/** Numbers by their output, in the file's order within one, with a table of where each output's begin and of their columns. */
interface Sparse {
  readonly values: Float32Array;
  readonly table: Uint32Array;
}

function sorted(values: Float32Array, places: Int32Array, out: number): Sparse {
  const n = values.length, table = new Uint32Array(out + 1 + n), own = new Float32Array(n);
  for (let e = 0; e < n; e++) table[places[e] + 1]++;
  for (let o = 0; o < out; o++) table[o + 1] += table[o];
  const next = table.slice(0, out);
  for (let e = 0; e < n; e++) {
    const at = next[places[e]]++;
    own[at] = values[e];
    table[out + 1 + at] = places[n + e];
  }
  return { values: own, table };
}

/** A module, and its numbers for sums. */
interface ShiraModule extends AdapterModule {
  readonly entries: { readonly values: Float32Array; readonly places: Int32Array };
}

function shiraModule(tensors: ModuleTensors): ShiraModule {
  const values = tensors.floats("shira_weight"), places = tensors.integers("shira_indices");
  const n = values.length, largest = [-1, -1];
  for (let e = 0; e < 2 * n; e++) {
    if (places[e] < 0) {
      throw new ConfigError(
        `Cannot use adapter tensor "base_model.model.${tensors.path}.shira_indices": element ${e} is ${
          places[e]
        }, the rule is 0 or more`,
      );
    }
    const axis = e < n ? 0 : 1;
    largest[axis] = Math.max(largest[axis], places[e]);
  }
  const reach = values.reduce((sum, value) => sum + Math.abs(value), 0);
  checkReach(reach, `module "${tensors.path}": its numbers`);
  const key = `${tables++}`;
  let made: { readonly out: number; readonly sparse: Sparse } | undefined;
  const sparseOf = ({ out }: LinearShape): Sparse => {
    if (made?.out !== out) made = { out, sparse: sorted(values, places, out) };
    return made.sparse;
  };
  return takingScales({
    entries: { values, places },
    parameters: n,
    summary: `${n} numbers`,
    check(path, shape) {
      const [row, column] = largest;
      if (row < shape.out && column < shape.in) return;
      throw new RangeError(
        `Cannot use module "${path}": it has a number at (${row}, ${column}) or beside it, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    pack(shape) {
      const { values: own, table } = sparseOf(shape);
      return { values: own, table: { key: `${key} ${shape.out}`, words: () => table }, count: n, scale: 1 };
    },
  }, () => reach);
}

/**
 * Numbers and places one after the other: numbers of one place add up. PEFT's layers have r (in + out) numbers for one r, so
 * zeros fill up a module that fewer adapters have.
 */
function combined(adapters: readonly Summand[], { shapeOf }: CombineIo): CombinedFiles {
  const ranks = new Map(adapters.map((one) => [one, integerField(one.config, "r", 32)]));
  const r = [...ranks.values()].reduce((sum, rank) => sum + rank, 0), tensors = new Map<string, HostTensor>();
  for (const [path, pieces] of piecesByPath<ShiraModule>(adapters)) {
    const perRank = pieces[0].module.entries.values.length / ranks.get(pieces[0].summand)!;
    for (const { module: { entries: { values: { length } } }, summand } of pieces) {
      if (Number.isInteger(perRank) && length === ranks.get(summand)! * perRank) continue;
      throw new CombinationError(
        `Cannot write module "${path}" of adapter "${summand.name}" into a sum: it has ${length} numbers, and "r" is ` +
          `${ranks.get(summand)}; PEFT's layers have r (in + out) numbers`,
      );
    }
    const count = r * perRank, shape = shapeOf?.(path);
    if (shape && count > shape.out * shape.in) {
      throw new CombinationError(
        `Cannot write module "${path}" as a sum: it would have ${count} numbers of r = ${r}, the weight has ` +
          `${shape.out * shape.in}`,
      );
    }
    const values = new Float32Array(count), places = new Int32Array(2 * count);
    let at = 0;
    for (const { module: { entries }, summand: { weight } } of pieces) {
      const { length } = entries.values;
      values.set(entries.values.map((value) => weight * value), at);
      places.set(entries.places.subarray(0, length), at);
      places.set(entries.places.subarray(length), count + at);
      at += length;
    }
    checkReach(values.reduce((sum, value) => sum + Math.abs(value), 0), `the sum of modules "${path}"`);
    tensors.set(`${prefix}${path}.shira_weight`, tensor(values));
    tensors.set(`${prefix}${path}.shira_indices`, tensor(places, [2, count]));
  }
  return { config: { r, mask_type: "random", init_weights: true }, tensors };
}

/** See the module's documentation. */
export const shira: Method = {
  name: "SHiRA",
  peftType: "SHIRA",
  facts: {
    tensors: ["shira_weight (n)", "shira_indices (2, n)"],
    formula: "dW[row, column] = weight, at n places",
    cost: "n",
    numbers: "2 n + out + 1",
    refused: "`fan_in_fan_out`",
  },
  integers: /\.shira_indices$/,
  checkConfig: (config) =>
    refuseUnknown(config, {
      known,
      reasons: { fan_in_fan_out: "the places are those of a weight stored (in, out)" },
    }),
  read(files) {
    this.checkConfig(files.config);
    return new Map(tensorsByModule(files, names).map((tensors) => [tensors.path, shiraModule(tensors)]));
  },
  takesScale: true,
  combined,
  beside({ x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(sparseLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    });
  },
};
