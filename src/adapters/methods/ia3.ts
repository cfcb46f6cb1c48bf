/**
 * IA3 (Liu et al. 2022, arXiv 2205.05638) as PEFT writes it: a trained vector l scales what a linear reads or makes.
 *
 * - y = (x W^T + b) l, bias included;
 * - y = (x l) W^T + b, for modules of PEFT's `feedforward_modules`.
 *
 * @module
 */
import { refuseUnknown } from "../fields.ts";
import type { AdapterModule, Method } from "../method.ts";
import { type ModuleTensor, moduleTensors, refusals, shapeError } from "./module_tensors.ts";
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
    pack: () => ({ values, count: 1, scale: 1 }),
  };
}

/** See the module's documentation. */
export const ia3: Method = {
  name: "IA3",
  peftType: "IA3",
  facts: {
    tensors: ["ia3_l (out, 1) or (1, in)"],
    formula: "y = l (W x + bias), or W (l x) + bias",
    cost: "out, or in",
    numbers: "out, or in",
    refused: "a vector of one number",
  },
  checkConfig: (config) =>
    refuseUnknown(config, {
      known: [
        "fan_in_fan_out", // only turns a stored weight at a merge
        "feedforward_modules", // the tensors' shapes say it
        "init_ia3_weights",
      ],
      reasons: refusals,
    }),
  read(files) {
    this.checkConfig(files.config);
    const modules = moduleTensors(files, { method: "IA3", names: ["ia3_l"] });
    return new Map([...modules].map(([path, { ia3_l }]) => [path, ia3Module(ia3_l)]));
  },
  before: ({ x, ...bank }) => scaleStep({ ...bank, y: x, outs: [bank.in, 0, 0] }),
  after: (bank) => scaleStep(bank),
  changesBias: true,
};
