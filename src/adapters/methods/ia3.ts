/**
 * IA3 (Liu et al. 2022, arXiv 2205.05638) as PEFT writes it: a trained vector l scales what a linear reads or makes.
 *
 * - y = (x W^T + b) l, bias included;
 * - y = (x l) W^T + b, for modules of PEFT's `feedforward_modules`.
 *
 * @module
 */
import { scaleColumns } from "../../../kernels/scale_columns.ts";
import { scaleColumnsBackward } from "../../../kernels/scale_columns_backward.ts";
import { step } from "../../plan.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method } from "../method.ts";
import type { NewModule, TrainableModule, TrainBeforeIo } from "../training.ts";
import { type ModuleTensor, shapeError, tensorsByModule } from "./module_tensors.ts";
import { scaleStep } from "./scales.ts";

/** A module; the vector's shape says which side it scales, as `feedforward_modules` did when the file was written. */
function ia3Module(vector: ModuleTensor): AdapterModule {
  const { shape, values } = vector, size = values.length;
  if (shape.length !== 2 || size === 0 || !shape.includes(1)) throw shapeError(vector, "(out, 1) or (1, in)");
  // PEFT decides by a module's name. One number of a linear with one input and one output could be either.
  if (size === 1) throw shapeError(vector, "(out, 1) or (1, in) of more than one number");
  const scalesInputs = shape[0] === 1, side = scalesInputs ? "inputs" : "outputs";
  return {
    parameters: size,
    summary: `scales ${size} ${side}`,
    phases: [scalesInputs ? "before" : "after"],
    check(path, linear) {
      if (size === (scalesInputs ? linear.in : linear.out)) return;
      throw new RangeError(
        `Cannot use module "${path}": it scales ${size} ${side}, the weight is (${linear.out}, ${linear.in})`,
      );
    },
    // Another adapter of the bank may scale the other side, where this one has ones. Factors of the inputs come first, those
    // of the outputs where scales stand after factors of rank 1.
    pack({ out, in: inSize }) {
      const both = new Float32Array(inSize + 2 * out).fill(1);
      both.set(values, scalesInputs ? 0 : inSize + out);
      return { values: both, count: 1, scale: 1 };
    },
    trainable: () => trainableVector(vector),
  };
}

/** The module's numbers are l. */
function trainableVector({ shape, values }: Pick<ModuleTensor, "shape" | "values">): TrainableModule {
  const out = values.length;
  const forward = ({ rows, params, at }: TrainBeforeIo, y: Tensor) => [
    step(scaleColumns, { values: params, y }, { rows, out, offset: at }),
  ];
  const backward = ({ rows, params, gradients, at }: TrainBeforeIo, { t, dy }: { t: Tensor; dy: Tensor }) => [
    step(scaleColumnsBackward, { t, values: params, gradient: gradients, dy }, { rows, out, offset: at }),
  ];
  return {
    values,
    ...(shape[0] === 1
      ? {
        before: {
          forward: (io) => forward(io, io.x),
          backward: ({ dx, ...io }) => backward(io, { t: io.x, dy: dx }),
        },
      }
      : {
        after: {
          forward: (io) => forward(io, io.y),
          backward: ({ dy, ...io }) => backward(io, { t: io.y, dy }),
        },
      }),
    tensors: (values) => new Map([[".ia3_l", tensor(values.slice(), [...shape])]]),
  };
}

/** Whether a name of PEFT's `feedforward_modules` is a module's, or a target's, by PEFT's rule. */
const endsWith = (path: string) => (name: string): boolean => path.endsWith(name);

/** The names of feed-forward linears that are taken unless told: not every model has them, or adapts them. */
const usualNames: readonly string[] = ["down_proj"];

/**
 * The targets that are feed-forward: PEFT takes no others.
 *
 * @throws RangeError for a name that is no target's, and was asked for.
 */
function feedforwardTargets(names: readonly string[], targetModules: readonly string[]): string[] {
  const unknown = names.find((name) =>
    !usualNames.includes(name) &&
    !targetModules.some((target) => endsWith(target)(name) || endsWith(name)(target))
  );
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot take "${unknown}" as one of feedforward_modules: of target_modules (${
        targetModules.join(", ")
      }), none is named so`,
    );
  }
  return targetModules.filter((target) => names.some(endsWith(target)));
}

function newModule(shape: LinearShape, names: readonly string[], { path, targetModules }: NewModule) {
  const scalesInputs = feedforwardTargets(names, targetModules).some(endsWith(path));
  if (!scalesInputs && names.some(endsWith(path))) {
    throw new RangeError(
      `Cannot take module "${path}" as one of feedforward_modules: of target_modules, none is named so`,
    );
  }
  const dims = scalesInputs ? [1, shape.in] : [shape.out, 1];
  return ia3Module({
    name: `base_model.model.${path}.ia3_l`,
    shape: dims,
    values: new Float32Array(dims[0] * dims[1]).fill(1),
  });
}

/** See the module's documentation. */
export const ia3: Method = {
  name: "IA3",
  peftType: "IA3",
  facts: {
    tensors: ["ia3_l (out, 1) or (1, in)"],
    formula: "y = l (W x + bias), or W (l x) + bias",
    cost: "out, or in",
    numbers: "in + 2 out",
    refused: "a vector of one number",
  },
  checkConfig: (config) =>
    refuseUnknown(config, {
      known: [
        "fan_in_fan_out", // only turns a stored weight at a merge
        "feedforward_modules", // the tensors' shapes say it
        "init_ia3_weights",
      ],
    }),
  read(files) {
    this.checkConfig(files.config);
    const modules = tensorsByModule(files, { method: "IA3", own: { ia3_l: "unchecked" } });
    return new Map(modules.map((one) => [one.path, ia3Module(one.tensor("ia3_l"))]));
  },
  training: {
    options: {
      feedforward_modules: { kind: "names", default: usualNames, doc: "linears whose inputs are scaled" },
    },
    learningRate: 0.03,
    create: (shape, { feedforward_modules: names }: Readonly<Record<string, readonly string[]>>, io) =>
      newModule(shape, names, io),
    configFields: ({ feedforward_modules: names }: Readonly<Record<string, readonly string[]>>, targets) => ({
      feedforward_modules: feedforwardTargets(names, targets),
      fan_in_fan_out: false,
      init_ia3_weights: true,
    }),
  },
  before: ({ x, ...bank }) => scaleStep({ ...bank, y: x, outs: [bank.in, 0, 0] }),
  after: (bank) => scaleStep(bank, { afterFactors: true }),
  changesBias: true,
};
