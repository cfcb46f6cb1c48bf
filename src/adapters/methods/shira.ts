/**
 * SHiRA (Bhardwaj et al. 2024, arXiv 2406.13175) as PEFT writes it: dW is sparse, and the file has its numbers and their places.
 * Numbers of one place add up.
 *
 * @module
 */
import { sparseLinear } from "../../../kernels/sparse_linear.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method } from "../method.ts";
import { checkReach } from "../numbers.ts";
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

function shiraModule(tensors: ModuleTensors): AdapterModule {
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
  checkReach(
    values.reduce((sum, value) => sum + Math.abs(value), 0),
    `module "${tensors.path}": its numbers`,
  );
  const key = `${tables++}`;
  let made: { readonly out: number; readonly sparse: Sparse } | undefined;
  const sparseOf = ({ out }: LinearShape): Sparse => {
    if (made?.out !== out) made = { out, sparse: sorted(values, places, out) };
    return made.sparse;
  };
  return {
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
  };
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
  beside({ x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(sparseLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    });
  },
};
