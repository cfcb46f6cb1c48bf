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
import { tensor } from "../../tensor.ts";
import { flagField, integerField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, AdapterModule, LinearShape, Method } from "../method.ts";
import type { SharedNumbers } from "../training.ts";
import { foldedModule, mostNumbers, scaled } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";
import { type Projections, trainableVera } from "./vera_training.ts";

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

function savedProjections(tensors: ModuleTensors): Projections {
  return {
    a: tensors.floats("vera_A"),
    b: tensors.floats("vera_B"),
    rank: tensors.size("r", "vera_A"),
    columns: tensors.size("columns", "vera_A"),
    rows: tensors.size("rows", "vera_B"),
  };
}

/** A and B for the largest of the shapes, as torch's kaiming_uniform_ draws them: A first. */
function drawn({ seed, rank, shapes }: {
  readonly seed: number;
  readonly rank: number;
  readonly shapes: readonly LinearShape[];
}): Projections {
  const columns = Math.max(...shapes.map((shape) => shape.in)),
    rows = Math.max(...shapes.map(({ out }) => out));
  if (rank * (columns + rows) > mostNumbers) {
    throw new ConfigError(
      `Cannot draw projections of rank ${rank}: they have more than ${mostNumbers} numbers`,
    );
  }
  const random = torchGenerator(seed);
  const draw = (count: number, width: number): Float32Array => {
    const bound = Math.sqrt(6 / width);
    return torchUniform(random, count * width, { low: -bound, high: bound });
  };
  return { a: draw(rank, columns), b: draw(rows, rank), rank, columns, rows };
}

/** A and B of an adapter that does not save them. */
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
  return drawn({ seed: integerField(config, "projection_prng_key", 0), rank, shapes });
}

/** The vectors of one module. */
interface Vectors {
  readonly path: string;
  /** (r) and (out). */
  readonly lambdaD: Float32Array;
  readonly lambdaB: Float32Array;
}

/** A module of projections that all modules share; `shared` has what a trained adapter's file says of them. */
function veraModule(
  { path, lambdaB, lambdaD }: Vectors,
  { projections, shared }: { readonly projections: Projections; readonly shared: SharedNumbers },
): AdapterModule {
  const { a, b, columns, rows } = projections, rank = lambdaD.length;
  return foldedModule({
    path,
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
    trainable: (shape, upload) => trainableVera({ lambdaB, lambdaD, projections, shared, shape }, upload),
  });
}

/** The tensors of projections in a file: none where they are drawn again. */
function sharedOf({ a, b, rank, columns, rows }: Projections, isSaved: boolean): SharedNumbers {
  return {
    values: new Float32Array(),
    tensors: () =>
      new Map(
        isSaved
          ? [
            ["base_model.vera_A", tensor(a, [rank, columns])],
            ["base_model.vera_B", tensor(b, [rows, rank])],
          ]
          : [],
      ),
  };
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
    const [first] = modules;
    const isSaved = first.has("vera_A") || first.has("vera_B") ||
      (files.config.save_projection ?? true) === true;
    const projections = isSaved ? savedProjections(first) : drawnProjections(modules, files);
    const common = { projections, shared: sharedOf(projections, isSaved) };
    return new Map(modules.map(({ path, floats }) => {
      const vectors = { path, lambdaB: floats("vera_lambda_b"), lambdaD: floats("vera_lambda_d") };
      return [path, veraModule(vectors, common)];
    }));
  },
  training: {
    options: {
      r: { kind: "count", least: 1, default: 256, doc: "rank" },
      projection_prng_key: { kind: "count", default: 0, doc: "seed of A and B" },
      save_projection: { kind: "flag", default: true, doc: "whether A and B are in the file" },
      d_initial: { kind: "number", default: 0.1, doc: "first value of lambda_d" },
    },
    learningRate: 0.06,
    create(shape, options, { path, shapes, shared }) {
      const { r: rank, projection_prng_key: seed, d_initial } = options as Readonly<Record<string, number>>;
      const common = shared(() => {
        const projections = drawn({ seed, rank, shapes });
        return { projections, shared: sharedOf(projections, options.save_projection === true) };
      });
      // lambda_b is zeros: the model starts as its base.
      const lambdaD = new Float32Array(rank).fill(d_initial), lambdaB = new Float32Array(shape.out);
      return veraModule({ path, lambdaD, lambdaB }, common);
    },
    configFields: (options) => ({
      ...options,
      vera_dropout: 0,
      fan_in_fan_out: false,
      bias: "none",
      init_weights: true,
    }),
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
