/**
 * OFT (Qiu et al. 2023, arXiv 2306.07280; version 2, arXiv 2506.19847) as PEFT writes it: blocks of x are rotated,
 * y = (x R) W^T + b.
 *
 * A block's rotation comes of a skew-symmetric S, stored as its upper triangle, by Cayley's formula or by a few terms of
 * Neumann's series.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { flagField, integerField, numberField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method } from "../method.ts";
import { type ModuleTensor, shapeError, tensorsByModule } from "./module_tensors.ts";
import {
  cayley,
  cayleyNeumann,
  checkBlock,
  matricesOf,
  rotateAllStep,
  rotateStep,
  type Square,
} from "./rotations.ts";

/** Terms at most; a block's work grows with them. */
const mostTerms = 32;

interface Setting {
  /** Whether all blocks of a linear have one rotation. */
  readonly shared: boolean;
  /** The norm that S is shrunk to, times the root of the number of stored blocks; left out where S is as stored. */
  readonly eps?: number;
  /** Terms of Neumann's series; left out for Cayley's formula. */
  readonly terms?: number;
}

function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  if (config.use_cayley_neumann === undefined) {
    throw new ConfigError(
      `Cannot read adapter_config.json without field "use_cayley_neumann": versions of PEFT differ in what they take for it`,
    );
  }
  const terms = integerField(config, "num_cayley_neumann_terms", 5);
  if (terms < 1 || terms > mostTerms) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "num_cayley_neumann_terms" = ${terms}: it must be 1 to ${mostTerms}`,
    );
  }
  const eps = numberField(config, "eps", 6e-5);
  if (eps < 0) {
    throw new ConfigError(`Cannot read adapter_config.json field "eps" = ${eps}: it must be 0 or more`);
  }
  return {
    shared: flagField(config, "block_share"),
    eps: flagField(config, "coft") ? eps : undefined,
    terms: flagField(config, "use_cayley_neumann") ? terms : undefined,
  };
}

/** The rows of the matrix whose upper triangle has so many numbers; not whole where there is none. */
const sizeOf = (triangle: number): number => (1 + Math.sqrt(1 + 8 * triangle)) / 2;

/** S of a stored block. */
function skew(triangle: Float32Array, size: number): Square {
  const data = new Float64Array(size * size);
  let at = 0;
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++) {
      data[i * size + j] = triangle[at];
      data[j * size + i] = -triangle[at++];
    }
  }
  return { size, data };
}

/** Shrinks S where its Frobenius norm is above the limit. */
function shrunk({ size, data }: Square, limit: number): Square {
  const norm = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0));
  return norm <= limit ? { size, data } : { size, data: data.map((value) => value * limit / norm) };
}

function rotationsOf({ name, shape, values }: ModuleTensor, setting: Setting): Promise<Float32Array> {
  const [blocks, triangle] = shape, size = sizeOf(triangle);
  return matricesOf({ name, blocks, size }, (block) => {
    const stored = skew(values.subarray(block * triangle, (block + 1) * triangle), size);
    const s = setting.eps === undefined ? stored : shrunk(stored, setting.eps / Math.sqrt(blocks));
    return setting.terms === undefined ? cayley(s) : cayleyNeumann(s, setting.terms);
  });
}

/** A module; `matrices` are there once it was made ready. */
function oftModule(r: ModuleTensor, setting: Setting, matrices?: Float32Array): AdapterModule {
  const [blocks, triangle] = r.shape, size = sizeOf(triangle);
  const fits = ({ in: inSize }: LinearShape): boolean =>
    inSize % size === 0 && blocks === (setting.shared ? 1 : inSize / size);
  return {
    parameters: r.values.length,
    summary: `blocks of ${size}${setting.shared ? ", shared" : ""}`,
    check(path, shape) {
      if (fits(shape)) return;
      throw new RangeError(
        `Cannot use module "${path}": it has ${blocks} ${
          setting.shared ? "shared " : ""
        }block(s) of ${size} inputs, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    ready: matrices ? undefined : async () => oftModule(r, setting, await rotationsOf(r, setting)),
    pack() {
      if (!matrices) throw new TypeError("Cannot use an OFT module before it was made ready");
      return { values: matrices, count: size, scale: blocks };
    },
  };
}

function checkedTensor(r: ModuleTensor): ModuleTensor {
  const [blocks, triangle] = r.shape;
  if (r.shape.length !== 2 || blocks === 0 || triangle === 0 || !Number.isInteger(sizeOf(triangle))) {
    throw shapeError(r, "(in / k, k (k - 1) / 2) with k above 1, or (1, k (k - 1) / 2) of shared blocks");
  }
  checkBlock(r.name, sizeOf(triangle));
  return r;
}

/** See the module's documentation. */
export const oft: Method = {
  name: "OFT",
  peftType: "OFT",
  facts: {
    tensors: ["oft_R.weight (in / k, k (k - 1) / 2)"],
    formula: "y = W R x + bias; R turns blocks of k inputs, by Cayley's formula or Neumann's series",
    cost: "k in",
    numbers: "k in",
    refused: "blocks above 256, above 32 terms, files that do not say `use_cayley_neumann`",
  },
  own: /\.oft_R\.weight$/,
  checkConfig(config) {
    refuseUnknown(config, {
      known: [
        "block_share",
        "coft",
        "eps",
        "fan_in_fan_out", // only turns a stored weight at a merge
        "init_weights",
        "module_dropout", // training only
        "num_cayley_neumann_terms",
        "oft_block_size", // the tensors say it, and r
        "r",
        "use_cayley_neumann",
      ],
    });
    settingOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const setting = settingOf(files.config);
    const modules = tensorsByModule(files, { method: "OFT", own: { "oft_R.weight": "unchecked" } });
    return new Map(modules.map((one) => [
      one.path,
      oftModule(checkedTensor(one.tensor("oft_R.weight")), setting),
    ]));
  },
  before: (bank) => rotateStep(bank),
  beforeAll: (bank) => rotateAllStep(bank),
};
