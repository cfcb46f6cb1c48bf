/**
 * DoRA (Liu et al. 2024, arXiv 2402.09353) as PEFT writes it: `use_dora` of LoRA. Each row of W + scale B A is made a unit
 * row, times a trained magnitude m. So y = m / |W + scale B A| (W x + scale B A x) + bias, with the norm of each row.
 *
 * The norms come from W as it is stored, and never from the sum of both: see the kernel `lora_norms`.
 *
 * @module
 */
import { linear } from "../../../kernels/linear.ts";
import { loraNorms } from "../../../kernels/lora_norms.ts";
import { magnitude } from "../../../kernels/magnitude.ts";
import { magnitudeBackward } from "../../../kernels/magnitude_backward.ts";
import { ConfigError } from "../../errors.ts";
import { type Plan, step } from "../../plan.ts";
import { elements, slice, type Tensor, tensor } from "../../tensor.ts";
import { flagField } from "../fields.ts";
import type { AdapterFiles, AdapterModule, BaseLinear, Method, Packed, ReadyIo } from "../method.ts";
import type { TrainableModule, TrainIo } from "../training.ts";
import { checkReach, finiteFloats } from "../numbers.ts";
import { factorsStep, trainableFactors } from "./lora.ts";
import {
  checkFactors,
  checkFactorsConfig,
  checkMostRank,
  factorConfig,
  factorNames,
  factorOptions,
  type Factors,
  factorTensors,
  joined,
  newFactors,
  packedFactors,
  readFactors,
} from "./low_rank.ts";
import { scaleStep } from "./scales.ts";

const suffix = ".lora_magnitude_vector";
const magnitudeName = /^base_model\.model\.(.+)\.lora_magnitude_vector(?:\.weight)?$/;

/** What a base's weight says of a module. */
interface Norms {
  /** Of the rows of W + scale B A. */
  readonly norms: Float32Array;
  /** Squares of the norms of W's own rows. */
  readonly squares: Float32Array;
}

/** Tensors that norms are made from, and where the factors and the linear's products lie. */
interface NormsIo {
  /** (rank, in), the begin of `values`. */
  readonly a: Tensor;
  readonly values: Tensor;
  readonly at: number;
  readonly squares: Tensor;
  /** (rank, stride), (rank, rank) and (out): written. */
  readonly products: Tensor;
  readonly gram: Tensor;
  readonly norms: Tensor;
  readonly stride: number;
  readonly column: number;
}

/** norms = those of the rows of W + scale B A, of factors as they lie on the device. */
function normsSteps(
  { rank, in: inSize, out, scale }: Factors,
  io: NormsIo,
  product: (io: { readonly x: Tensor; readonly y: Tensor; readonly rows: number }) => Plan[number],
): Plan {
  const { a, values, at, squares, products, gram, norms, stride, column } = io;
  return [
    product({ x: a, y: products, rows: rank }),
    step(linear, { x: a, weight: a, y: gram }, { rows: rank, in: inSize, out: rank, accumulate: 0 }),
    step(loraNorms, { values, products, gram, squares, norms }, {
      out,
      rank,
      offset: at + rank * inSize,
      stride,
      column,
      scale,
    }),
  ];
}

async function normsOf(factors: Factors, { path, base, workspace }: ReadyIo): Promise<Norms> {
  const { a, b, rank, in: inSize, out } = factors;
  const { upload, alloc, read } = workspace;
  const total = (shapes: BaseLinear["shapes"]): number => shapes.reduce((sum, shape) => sum + shape.out, 0);
  const stride = total(base.shapes), squares = await base.squares();
  const norms = alloc([out]);
  const io: NormsIo = {
    a: upload(tensor(a, [rank, inSize])),
    values: upload(tensor(joined(a, b))),
    at: 0,
    squares: upload(tensor(squares.slice())),
    products: alloc([rank, stride]),
    gram: alloc([rank, rank]),
    norms,
    stride,
    column: total(base.shapes.slice(0, base.index)),
  };
  const made = await read(normsSteps(factors, io, base.product), norms);
  const fault = made.findIndex((norm) => !(norm > 0 && Number.isFinite(norm)));
  if (fault < 0) return { norms: made, squares };
  throw new ConfigError(
    `Cannot use module "${path}" as DoRA: row ${fault} of W + scale B A has a norm of ${
      made[fault]
    }, the rule is a ` +
      "number above 0 that float32 can tell from W and the update",
  );
}

/** A module; `magnitudes` are the norms it starts from where none are given, and `known` is what its base said. */
function doraModule(factors: Factors, magnitudes?: Float32Array, known?: Norms): AdapterModule {
  const { a, b, rank, in: inSize, out, scale } = factors;
  const need = (): Norms => {
    if (known) return known;
    throw new TypeError("Cannot use a DoRA module before it was made ready with its base's weight");
  };
  return {
    parameters: a.length + b.length + out,
    summary: `r = ${rank}, scale ${scale}, DoRA`,
    shape: { out, in: inSize },
    check(path, shape) {
      checkFactors(factors, path, shape);
      checkMostRank(path, rank);
    },
    ready: async (io) => {
      const found = await normsOf(factors, io);
      const most = magnitudes?.reduce((most, one, i) => Math.max(most, Math.abs(one) / found.norms[i]), 0) ??
        1;
      checkReach(most, `module "${io.path}" as DoRA: a magnitude divided by its row's norm`);
      return doraModule(factors, magnitudes ?? found.norms, found);
    },
    pack(): Packed {
      const { norms } = need();
      const factor = norms.map((norm, i) => magnitudes![i] / norm);
      return { values: packedFactors(factors, factor), count: rank, scale };
    },
    trainable: (_, upload) =>
      trainableDora({ factors, magnitudes: magnitudes!, squares: need().squares }, upload),
  };
}

/** The module's numbers are A, B, then the magnitudes. In the backward the norms are constants, as in PEFT. */
function trainableDora(
  { factors, magnitudes, squares }: {
    readonly factors: Factors;
    readonly magnitudes: Float32Array;
    readonly squares: Float32Array;
  },
  upload: (t: ReturnType<typeof tensor>) => Tensor,
): TrainableModule {
  const { a, b, rank, in: inSize, out } = factors;
  const zeros = (...shape: number[]): Tensor => upload(tensor(new Float32Array(elements(shape)), shape));
  const made = {
    squares: upload(tensor(squares.slice())),
    products: zeros(rank, out),
    gram: zeros(rank, rank),
    norms: zeros(out),
  };
  const { norms } = made;
  const words = ({ rows, at }: TrainIo) => ({ rows, out, offset: at + a.length + b.length });
  return {
    values: joined(a, b, magnitudes),
    beside: trainableFactors(factors),
    after: {
      forward: (io) => [
        ...normsSteps(factors, {
          ...made,
          a: slice(io.params, io.at, [rank, inSize]),
          values: io.params,
          at: io.at,
          stride: out,
          column: 0,
        }, io.product),
        step(magnitude, { values: io.params, norms, y: io.y }, words(io)),
      ],
      backward: ({ dy, ...io }) => [
        step(
          magnitudeBackward,
          { t: io.y, values: io.params, norms, gradient: io.gradients, dy },
          words(io),
        ),
      ],
    },
    tensors: (values) =>
      new Map([
        ...factorTensors(factors, values),
        [suffix, tensor(values.slice(a.length + b.length, a.length + b.length + out))],
      ]),
  };
}

/** A module's magnitudes, under either of the names that PEFT gave them. */
function magnitudesOf({ tensors }: AdapterFiles, path: string, out: number): Float32Array {
  const plain = `base_model.model.${path}${suffix}`;
  const name = [plain, `${plain}.weight`].find((one) => tensors.has(one));
  if (name === undefined) throw new ConfigError(`Cannot find adapter tensor "${plain}": DoRA needs it`);
  const t = tensors.get(name)!;
  if (t.shape.length === 1 && t.shape[0] === out) return finiteFloats(name, t);
  throw new ConfigError(
    `Cannot read adapter tensor "${name}": its shape must be [${out}], it is [${t.shape}]`,
  );
}

/** See the module's documentation. */
export const dora: Method = {
  name: "DoRA",
  peftType: "LORA",
  facts: {
    tensors: ["lora_A.weight (r, in)", "lora_B.weight (out, r)", "lora_magnitude_vector (out)"],
    formula: "y = m / |W + s B A| (W x + s B A x) + bias, with the norm of each row",
    cost: "r (in + out) + out",
    numbers: "r (in + out) + out",
    refused: "as LoRA; rows of W + s B A whose norm is 0, or lost in float32's rounding",
  },
  own: factorNames,
  claims: (config) => flagField(config, "use_dora"),
  checkConfig: (config) => checkFactorsConfig(config, ["use_dora"]),
  read(files) {
    this.checkConfig(files.config);
    const factors = readFactors(files, { method: "LORA with use_dora", own: magnitudeName });
    return new Map(
      [...factors].map(([path, one]) => [path, doraModule(one, magnitudesOf(files, path, one.out))]),
    );
  },
  training: {
    options: factorOptions,
    learningRate: 0.001,
    create: (shape, options: Readonly<Record<string, number>>, io) =>
      doraModule(newFactors(shape, options, io)),
    configFields: (options) => ({ ...options, ...factorConfig, use_dora: true }),
  },
  beside: factorsStep,
  after: (bank) => scaleStep(bank, { afterFactors: true }),
};
