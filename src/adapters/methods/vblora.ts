/**
 * VB-LoRA (Li et al. 2024, arXiv 2405.15179) as PEFT writes it: both factors are cut into vectors of one length. Each vector
 * is a mixture of a few vectors of a bank that all modules share. The weights are a softmax of the greatest logits.
 *
 * A file has all logits, or only the indices and weights of the greatest (`save_only_topk_weights`).
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { normals } from "../../../kernels/kernel.ts";
import { tensor } from "../../tensor.ts";
import { flagField, integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method } from "../method.ts";
import type { NewModule, SharedNumbers } from "../training.ts";
import { foldedModule } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { checkNewNumbers, joined } from "./low_rank.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";
import { type Mixtures, mixturesOfFile, mixturesOfLogits } from "./vblora_mixtures.ts";
import { trainableMixtures } from "./vblora_training.ts";

const known = [
  "r", // the tensors say it
  "num_vectors", // the bank says it
  "vector_length",
  "topk",
  "save_only_topk_weights",
  "vblora_dropout", // training only
  "init_logits_std",
  "init_vector_bank_bound",
  "fan_in_fan_out", // only turns a stored weight at a merge
];

const tensorsOf = (name: string, first: string, second: string) => ({
  [name]: [first, second, "vectors"],
  [`${name}_topk_indices`]: [first, second, "topk"],
  [`${name}_topk_weights`]: [first, second, "topk - 1"],
});

const names = {
  method: "VB-LoRA",
  own: {
    ...tensorsOf("vblora_logits_A", "r", "tiles_in"),
    ...tensorsOf("vblora_logits_B", "tiles_out", "r"),
  },
  shared: { vblora_vector_bank: ["vectors", "length"] },
};

/** What the config says of the mixtures. */
interface Settings {
  readonly topk: number;
  readonly onlyTopk: boolean;
}

function settingsOf(config: Readonly<Record<string, unknown>>): Settings {
  refuseUnknown(config, { known });
  const topk = integerField(config, "topk", 2), onlyTopk = flagField(config, "save_only_topk_weights");
  if (topk >= 1) return { topk, onlyTopk };
  throw new ConfigError(`Cannot read adapter_config.json field "topk" = ${topk}: the rule is 1 or more`);
}

function mixtures(tensors: ModuleTensors, name: string, { topk, onlyTopk }: Settings): Mixtures {
  const vectors = tensors.size("vectors", "vblora_vector_bank");
  const most = onlyTopk ? tensors.size("topk", `${name}_topk_indices`) : vectors;
  if (
    onlyTopk ? topk !== most || topk - 1 !== tensors.size("topk - 1", `${name}_topk_weights`) : topk > most
  ) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "topk" = ${topk}: module "${tensors.path}" has ${
        onlyTopk ? `${most} indices for each vector` : `a bank of ${vectors} vectors`
      }`,
    );
  }
  return onlyTopk
    ? mixturesOfFile(tensors, name, topk)
    : mixturesOfLogits(tensors.floats(name), vectors, topk);
}

/** The bank of all modules, and how many of its vectors a mixture has. */
interface Bank {
  /** (vectors, length), row-major. */
  readonly values: Float32Array;
  readonly vectors: number;
  readonly length: number;
  readonly topk: number;
  readonly shared: SharedNumbers;
}

/** One module's mixtures of a bank. */
interface Mixed {
  readonly path: string;
  readonly rank: number;
  readonly tilesIn: number;
  readonly tilesOut: number;
  readonly ofA: Mixtures;
  readonly ofB: Mixtures;
  /** A's, then B's; absent where the file has the greatest's weights alone. */
  readonly logits?: Float32Array;
  /** The bank's numbers count with the first module. */
  readonly isFirst: boolean;
}

function bankOf(values: Float32Array, { vectors, length, topk }: Omit<Bank, "values" | "shared">): Bank {
  const shared: SharedNumbers = {
    values,
    tensors: (bank) => new Map([["base_model.vblora_vector_bank", tensor(bank.slice(), [vectors, length])]]),
  };
  return { values, vectors, length, topk, shared };
}

/** A factor's vectors, one after the other, in float64. */
function forEachVector(
  { values: bank, length, topk }: Bank,
  { indices, weights }: Mixtures,
  take: (vector: Float64Array, i: number) => void,
): void {
  const vector = new Float64Array(length);
  for (let i = 0; i < indices.length / topk; i++) {
    vector.fill(0);
    for (let k = i * topk; k < (i + 1) * topk; k++) {
      const begin = indices[k] * length;
      for (let e = 0; e < length; e++) vector[e] += weights[k] * bank[begin + e];
    }
    take(vector, i);
  }
}

function mixedModule(mixed: Mixed, bank: Bank): AdapterModule {
  const { path, rank, tilesIn, tilesOut, ofA, ofB, logits, isFirst } = mixed;
  const { values, vectors, length, topk, shared } = bank;
  const shape = { out: tilesOut * length, in: tilesIn * length };
  return foldedModule({
    path,
    parameters: rank * (tilesIn + tilesOut) * vectors + (isFirst ? values.length : 0),
    summary: `r = ${rank}, top ${topk} of ${vectors} vectors of ${length}`,
    rank,
    shape,
    fold({ out, in: inSize }) {
      const a = new Float32Array(rank * inSize), b = new Float32Array(out * rank);
      forEachVector(bank, ofA, (vector, i) => a.set(vector, i * length));
      forEachVector(bank, ofB, (vector, i) => {
        const tile = Math.floor(i / rank), column = i % rank;
        for (let e = 0; e < length; e++) b[(tile * length + e) * rank + column] = vector[e];
      });
      return { a, b };
    },
    trainable() {
      if (logits) return trainableMixtures({ rank, shape, vectors, length, topk, logits, shared });
      throw new ConfigError(
        `Cannot train module "${path}" on: its file has the weights of the top vectors alone ("save_only_topk_weights"), and ` +
          'the logits of the others are lost; save the adapter with "save_only_topk_weights" false, or train a new one',
      );
    },
  });
}

function moduleOf(
  tensors: ModuleTensors,
  { settings, bank, isFirst }: { settings: Settings; bank: Bank; isFirst: boolean },
): AdapterModule {
  const { onlyTopk } = settings;
  const [ofA, ofB] = ["A", "B"].map((factor) => mixtures(tensors, `vblora_logits_${factor}`, settings));
  const size = (name: string, factor: "A" | "B"): number =>
    tensors.size(name, `vblora_logits_${factor}${onlyTopk ? "_topk_indices" : ""}`);
  return mixedModule({
    path: tensors.path,
    rank: size("r", "A"),
    tilesIn: size("tiles_in", "A"),
    tilesOut: size("tiles_out", "B"),
    ofA,
    ofB,
    isFirst,
    ...(onlyTopk
      ? {}
      : { logits: joined(tensors.floats("vblora_logits_A"), tensors.floats("vblora_logits_B")) }),
  }, bank);
}

/** A new module of random logits, with the bank that the first one draws. */
function newModule(
  shape: LinearShape,
  options: Readonly<Record<string, number>>,
  { path, random, shared }: NewModule,
): AdapterModule {
  const { r: rank, num_vectors: vectors, vector_length: length, topk } = options;
  if (shape.in % length !== 0 || shape.out % length !== 0) {
    throw new RangeError(
      `Cannot make module "${path}" of (${shape.out}, ${shape.in}) with vector_length ${length}: it must divide both`,
    );
  }
  if (topk > vectors) {
    throw new RangeError(`Cannot use topk ${topk}: it must be at most num_vectors, ${vectors}`);
  }
  const tilesIn = shape.in / length, tilesOut = shape.out / length;
  const size = `r ${rank}, num_vectors ${vectors} and vector_length ${length}`;
  checkNewNumbers(path, Math.max(vectors * length, rank * (tilesIn + tilesOut) * vectors), size);
  const bound = options.init_vector_bank_bound;
  const { bank, first } = shared(() => {
    const values = Float32Array.from({ length: vectors * length }, () => bound * (2 * random() - 1));
    return { bank: bankOf(values, { vectors, length, topk }), first: path };
  });
  const logits = normals(rank * (tilesIn + tilesOut) * vectors, random, options.init_logits_std);
  const middle = rank * tilesIn * vectors;
  return mixedModule({
    path,
    rank,
    tilesIn,
    tilesOut,
    logits,
    ofA: mixturesOfLogits(logits.subarray(0, middle), vectors, topk),
    ofB: mixturesOfLogits(logits.subarray(middle), vectors, topk),
    isFirst: path === first,
  }, bank);
}

/** See the module's documentation. */
export const vblora: Method = {
  name: "VB-LoRA",
  peftType: "VBLORA",
  facts: {
    tensors: [
      "vblora_logits_A (r, in / b, h)",
      "vblora_logits_B (out / b, r, h)",
      "vblora_vector_bank (h, b), of all modules",
    ],
    formula: "dW = B A; each piece of b numbers is a mix of the bank's rows, by softmax of the topk logits",
    cost: "r (in + out)",
    numbers: "r (in + out)",
  },
  integers: /_topk_indices$/,
  checkConfig: (config) => void settingsOf(config),
  read(files) {
    const settings = settingsOf(files.config);
    const modules = tensorsByModule(files, names);
    if (modules.length === 0) return new Map();
    const [first] = modules, of = "vblora_vector_bank";
    const bank = bankOf(first.floats(of), {
      vectors: first.size("vectors", of),
      length: first.size("length", of),
      topk: settings.topk,
    });
    return new Map(modules.map((one, i) => [one.path, moduleOf(one, { settings, bank, isFirst: i === 0 })]));
  },
  training: {
    options: {
      r: { kind: "count", least: 1, default: 4, doc: "rank" },
      num_vectors: { kind: "count", least: 1, default: 256, doc: "vectors of the bank" },
      vector_length: { kind: "count", least: 1, default: 256, doc: "numbers of a vector" },
      topk: { kind: "count", least: 1, default: 2, doc: "vectors of a mixture" },
      init_vector_bank_bound: { kind: "number", default: 0.02, doc: "bound of the bank's first numbers" },
      init_logits_std: { kind: "number", default: 0.1, doc: "deviation of the first logits" },
    },
    learningRate: 0.01,
    create: newModule,
    configFields: (options) => ({
      ...options,
      save_only_topk_weights: false,
      vblora_dropout: 0,
      fan_in_fan_out: false,
      bias: "none",
    }),
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
