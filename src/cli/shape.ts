/**
 * The shape of an adapted module's weight, for commands that need no weights: from a model's config.json, the adapter's own
 * tensors, or an argument.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import { baseOptions } from "../adapters/base_options.ts";
import type { AdapterModule, LinearShape, ReadOptions } from "../adapters/method.ts";
import { ConfigError } from "../errors.ts";
import { adapterPaths, modelLinears, readConfig } from "../models/families.ts";
import { openNamedFolder } from "./folder.ts";
import { log, parseShape } from "./open.ts";

/** Arguments of the commands that need a shape. */
export const shapeArgs = {
  model: {
    type: "string",
    description: "Folder of the adapter's base model, whose config.json says every shape",
    valueHint: "DIR",
  },
  shape: {
    type: "string",
    description: "The module's weight shape, where no model is given; a LoRA says its own",
    valueHint: "OUTxIN",
  },
} as const;

const text = ({ out, in: inFeatures }: LinearShape): string => `${out}x${inFeatures}`;

async function linearsIn(folder: string): Promise<readonly Linear[]> {
  return modelLinears(await readConfig(await openNamedFolder(folder)));
}

/** The shapes of a model's linears by path, from its config.json. */
export async function modelShapes(folder: string): Promise<ReadonlyMap<string, LinearShape>> {
  return new Map((await linearsIn(folder)).map(({ path, shape }) => [path, shape]));
}

/** What an adapter is read with: what its model tells, where one is given. */
export async function readOptions(model: string | undefined): Promise<ReadOptions> {
  if (model === undefined) return {};
  const config = await readConfig(await openNamedFolder(model));
  return { ...baseOptions(modelLinears(config)), ...(config.encoder ? {} : adapterPaths(config)) };
}

/**
 * The shape that a model gives a module, which fits it.
 *
 * @throws ConfigError for a module that the model lacks; as `check` where it does not fit.
 */
export function shapeInModel(
  shapes: ReadonlyMap<string, LinearShape>,
  { path, module }: { readonly path: string; readonly module: AdapterModule },
): LinearShape {
  const shape = shapes.get(path);
  if (!shape) {
    throw new ConfigError(`Cannot use adapter module "${path}": the model has no such linear layer`);
  }
  module.check(path, shape);
  return shape;
}

/** Refuses a shape argument that another source contradicts. */
function checkGiven(given: LinearShape | undefined, known: LinearShape, by: string): void {
  if (!given || (given.out === known.out && given.in === known.in)) return;
  throw new RangeError(`Cannot use --shape ${text(given)}: ${by} makes it ${text(known)}`);
}

/**
 * The shape of a module's weight. A FourierFT's frequencies depend on it and no tensor of it says it: without a model the
 * argument is believed, and a line says so.
 *
 * @throws RangeError where nothing says the shape, or two sources disagree; ConfigError for a module the model lacks.
 */
export async function shapeOfModule(
  { path, module }: { readonly path: string; readonly module: AdapterModule },
  args: { readonly model?: string; readonly shape?: string },
): Promise<LinearShape> {
  const given = args.shape === undefined ? undefined : parseShape(args.shape);
  const known = args.model === undefined
    ? module.shape
    : shapeInModel(await modelShapes(args.model), { path, module });
  if (known) checkGiven(given, known, args.model === undefined ? `module "${path}"` : "the model");
  const shape = known ?? given;
  if (!shape) {
    throw new RangeError(`Cannot tell the shape of module "${path}": give --model DIR, or --shape OUTxIN`);
  }
  module.check(path, shape);
  if (!known) {
    log(
      `--shape ${
        text(shape)
      } is taken on trust: the adapter does not say it, and a wrong one makes another dW; ` +
        `--model DIR would tell`,
    );
  }
  return shape;
}
