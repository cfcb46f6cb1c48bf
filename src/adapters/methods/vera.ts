/**
 * VeRA (Kopiczko et al. 2023, arXiv 2310.11454) as PEFT writes it: dW = diag(lambda_b) B diag(lambda_d) A. All modules share
 * A and B, which are as large as the largest module needs: each takes their first columns and rows.
 *
 * Without `save_projection` A and B are in no file: they are drawn from `projection_prng_key` as PyTorch draws them.
 *
 * @module
 */
import { torchGenerator, torchUniform } from "../../../kernels/torch_draws.ts";
import { ConfigError } from "../../errors.ts";
import { flagField, integerField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, LinearShape, Method } from "../method.ts";
import { foldedModules, mostNumbers, scaled } from "./folded.ts";
import { factorsStep } from "./lora.ts";
import { type ModuleTensors, tensorsByModule } from "./tensors_by_module.ts";

const known = [
  "r", // the tensors say it
  "projection_prng_key",
  "save_projection",
  "vera_dropout", // training only
  "d_initial",
  "init_weights",
  "fan_in_fan_out", // only turns a stored weight at a merge
];

const names = {
  method: "VeRA",
  own: { vera_lambda_b: ["out"], vera_lambda_d: ["r"] },
  shared: { vera_A: ["r", "columns"], vera_B: ["rows", "r"] },
};

/** The shared factors: A (r, columns) and B (rows, r). */
interface Projections {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly columns: number;
  readonly rows: number;
}

function savedProjections(tensors: ModuleTensors): Projections {
  return {
    a: tensors.floats("vera_A"),
    b: tensors.floats("vera_B"),
    columns: tensors.size("columns", "vera_A"),
    rows: tensors.size("rows", "vera_B"),
  };
}

/** A and B for the largest of the modules, as torch's kaiming_uniform_ draws them: A first. */
function drawnProjections(
  modules: readonly ModuleTensors[],
  { config, options: { shapeOf } }: AdapterFiles,
): Projections {
  if (!shapeOf) {
    throw new ConfigError(
      `Cannot draw "base_model.vera_A", which the adapter does not save, without its base model's shapes: give ` +
        `loadAdapter's shapeOf, or --model DIR`,
    );
  }
  const rank = modules[0].size("r", "vera_lambda_d");
  const shapes = modules.map(({ path, size }): LinearShape => {
    const shape = shapeOf(path);
    if (!shape) {
      throw new ConfigError(`Cannot use adapter module "${path}": the base model has no such linear layer`);
    }
    if (size("r", "vera_lambda_d") === rank) return shape;
    throw new ConfigError(
      `Cannot use adapter module "${path}": its rank is not the ${rank} of "${modules[0].path}"`,
    );
  });
  const columns = Math.max(...shapes.map((shape) => shape.in)),
    rows = Math.max(...shapes.map(({ out }) => out));
  if (rank * (columns + rows) > mostNumbers) {
    throw new ConfigError(
      `Cannot draw projections of rank ${rank}: they have more than ${mostNumbers} numbers`,
    );
  }
  const random = torchGenerator(integerField(config, "projection_prng_key", 0));
  const draw = (count: number, width: number): Float32Array => {
    const bound = Math.sqrt(6 / width);
    return torchUniform(random, count * width, { low: -bound, high: bound });
  };
  return { a: draw(rank, columns), b: draw(rows, rank), columns, rows };
}

/** See the module's documentation. */
export const vera: Method = {
  name: "VeRA",
  peftType: "VERA",
  facts: {
    tensors: ["vera_lambda_b (out)", "vera_lambda_d (r)", "vera_A and vera_B, of all modules, or their seed"],
    formula: "dW = diag(lambda_b) B diag(lambda_d) A",
    cost: "r (in + out)",
    numbers: "r (in + out)",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    flagField(config, "save_projection");
    integerField(config, "projection_prng_key", 0);
  },
  read(files) {
    this.checkConfig(files.config);
    const modules = tensorsByModule(files, names);
    if (modules.length === 0) return new Map();
    const [first] = modules, isSaved = first.has("vera_A") || first.has("vera_B");
    const { a, b, columns, rows } = isSaved || (files.config.save_projection ?? true)
      ? savedProjections(first)
      : drawnProjections(modules, files);
    return foldedModules(modules.map((tensors) => {
      const lambdaB = tensors.floats("vera_lambda_b"), lambdaD = tensors.floats("vera_lambda_d");
      const rank = lambdaD.length;
      return {
        path: tensors.path,
        parameters: lambdaB.length + rank,
        summary: `r = ${rank}, A and B shared`,
        rank,
        shape: { out: lambdaB.length },
        checkShape(path, shape) {
          if (shape.in <= columns && shape.out <= rows) return;
          throw new RangeError(
            `Cannot use module "${path}": the shared factors make a (${rows}, ${columns}) update, the weight is ` +
              `(${shape.out}, ${shape.in})`,
          );
        },
        fold({ out, in: inSize }) {
          const own = new Float32Array(rank * inSize);
          for (let i = 0; i < rank; i++) own.set(a.subarray(i * columns, i * columns + inSize), i * inSize);
          return {
            a: scaled(own, { rows: lambdaD }, inSize),
            b: scaled(b.subarray(0, out * rank), { rows: lambdaB }, rank),
          };
        },
      };
    }));
  },
  beside: factorsStep,
};
