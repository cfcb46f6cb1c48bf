/**
 * BOFT (Liu et al. 2023, arXiv 2311.06243) of one butterfly factor, as PEFT writes it: blocks of x are rotated and outputs
 * scaled, y = s ((x Q) W^T) + b.
 *
 * A block's rotation is Cayley's of (R - R^T) / 2.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, Method } from "../method.ts";
import { joined } from "./low_rank.ts";
import { type ModuleTensor, shapeError, tensorsByModule } from "./module_tensors.ts";
import { cayley, checkBlock, matricesOf, rotateAllStep, rotateStep, type Square } from "./rotations.ts";
import { scaleStep } from "./scales.ts";

/** A module's tensors, their shapes checked. */
interface Stored {
  readonly r: ModuleTensor;
  readonly blocks: number;
  readonly size: number;
  /** (out) */
  readonly scales: Float32Array;
}

function skew(r: Float32Array, size: number): Square {
  const data = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) data[i * size + j] = (r[i * size + j] - r[j * size + i]) / 2;
  }
  return { size, data };
}

function rotationsOf({ r, blocks, size }: Stored): Promise<Float32Array> {
  return matricesOf(
    { name: r.name, blocks, size },
    (block) => cayley(skew(r.values.subarray(block * size * size, (block + 1) * size * size), size)),
  );
}

/** A module; `matrices` are there once it was made ready. */
function boftModule(stored: Stored, matrices?: Float32Array): AdapterModule {
  const { r, blocks, size, scales } = stored, own = { out: scales.length, in: blocks * size };
  return {
    parameters: r.values.length + scales.length,
    summary: `blocks of ${size}`,
    shape: own,
    check(path, shape) {
      if (own.in === shape.in && own.out === shape.out) return;
      throw new RangeError(
        `Cannot use module "${path}": it rotates ${own.in} inputs and scales ${own.out} outputs, the weight is ` +
          `(${shape.out}, ${shape.in})`,
      );
    },
    ready: matrices ? undefined : async () => boftModule(stored, await rotationsOf(stored)),
    pack() {
      if (!matrices) throw new TypeError("Cannot use a BOFT module before it was made ready");
      return { values: joined(scales, matrices), count: size, scale: blocks };
    },
  };
}

function checked(r: ModuleTensor, s: ModuleTensor): Stored {
  const [factors, blocks, size, columns] = r.shape;
  if (r.shape.length !== 4 || factors !== 1 || size !== columns || r.values.length === 0) {
    throw shapeError(r, "(1, in / k, k, k)");
  }
  if (s.shape.length !== 2 || s.shape[1] !== 1 || s.values.length === 0) throw shapeError(s, "(out, 1)");
  checkBlock(r.name, size);
  return { r, blocks, size, scales: s.values };
}

/** See the module's documentation. */
export const boft: Method = {
  name: "BOFT",
  peftType: "BOFT",
  facts: {
    tensors: ["boft_R (1, in / k, k, k)", "boft_s (out, 1)"],
    formula: "y = s (W R x) + bias; R turns blocks of k inputs by Cayley's formula",
    cost: "k in + out",
    numbers: "k in + out",
    refused: "more than one butterfly factor; blocks above 256",
  },
  checkConfig(config) {
    refuseUnknown(config, {
      known: [
        "boft_block_num", // the tensors say it, and the size
        "boft_block_size",
        "boft_dropout", // training only
        "boft_n_butterfly_factor",
        "fan_in_fan_out", // only turns a stored weight at a merge
        "init_weights",
      ],
    });
    const factors = integerField(config, "boft_n_butterfly_factor", 1);
    if (factors === 1) return;
    throw new ConfigError(
      `Cannot read adapter_config.json field "boft_n_butterfly_factor" = ${factors}: only one factor is supported`,
    );
  },
  read(files) {
    this.checkConfig(files.config);
    const modules = tensorsByModule(files, {
      method: "BOFT",
      own: { boft_R: "unchecked", boft_s: "unchecked" },
    });
    return new Map(
      modules.map((one) => [one.path, boftModule(checked(one.tensor("boft_R"), one.tensor("boft_s")))]),
    );
  },
  before: (bank) => rotateStep(bank, bank.outs[0]),
  beforeAll: (bank) => rotateAllStep(bank, bank.outs),
  after: (bank) => scaleStep(bank),
};
