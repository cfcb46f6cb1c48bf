/**
 * What training runs of all kinds share: their adapters, rates and checkpoints.
 *
 * @module
 */
import { baseOptions } from "../adapters/base_options.ts";
import type { Linear } from "../adapters/bank.ts";
import { type Adapter, adapterPlan, createAdapter, type NewAdapter } from "../adapters/create.ts";
import { withoutCopies } from "../adapters/copies.ts";
import type { AdapterModule, Method } from "../adapters/method.ts";
import { learningRateOf } from "../adapters/options.ts";
import { loadAdapter, type LoadedAdapter } from "../adapters/peft.ts";
import { uniforms } from "../engine/random.ts";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { copyFaults } from "../models/copies.ts";
import { defaultTargets, isTransposed, pathsOf } from "../models/families.ts";
import type { ModelConfig } from "../models/family.ts";
import { isOfMethod } from "../adapters/replacements.ts";
import { type CheckpointStore, numbersFromFiles, tensorsFromFiles } from "../training/checkpoint.ts";
import type { LearntBatch } from "../training/objective.ts";
import type { Trainer } from "../training/trainer.ts";

/** What a run's adapter is made of. */
export interface AdapterSource {
  readonly config: ModelConfig;
  /** All linears of the model, in its order. */
  readonly linears: readonly Linear[];
  readonly folder: ReadableFolder;
  readonly methods?: readonly Method[];
}

/** Reads the adapter that a run goes on from. */
export async function adapterToContinue(
  init: ReadableFolder | LoadedAdapter,
  { config, linears, folder, methods }: AdapterSource,
): Promise<LoadedAdapter> {
  const found = "modules" in init ? init : await loadAdapter(init, {
    ...{ methods, ...baseOptions(linears) },
    pathOf: config.encoder ? pathsOf({ model_type: config.modelType }) : undefined,
  });
  return await withoutCopies(found, copyFaults(folder));
}

/** Makes a new adapter for some linears of a model, by the names that its file has. */
export function newAdapter(
  asked: NewAdapter,
  { config, linears, seed }: {
    readonly config: ModelConfig;
    readonly linears: readonly Linear[];
    readonly seed: number;
  },
): Adapter {
  const plan = adapterPlan(asked);
  const { targetModules = defaultTargets(config, plan.method.peftType) } = plan;
  const made = createAdapter(linears, { ...plan, targetModules }, uniforms(seed));
  // PEFT's word for weights that are stored (in, out).
  const turned = made.modules.size > 0 &&
    [...made.modules.keys()].every((path) => isTransposed(config, path));
  return { ...made, config: { ...made.config, fan_in_fan_out: turned } };
}

/** The learning rate of an adapter unless told. */
export function rateOf({ method: { name, training }, config }: Adapter): number {
  if (training) return learningRateOf(training, config);
  throw new RangeError(`Cannot train a ${name} adapter without lr: the method has no default`);
}

/** A run that may go on. */
interface Resumable {
  readonly checkpoints?: CheckpointStore;
  readonly resume?: boolean;
}

/** Takes the numbers of the newest checkpoint of the same run. */
export async function restore<B extends LearntBatch>(
  trainer: Trainer<B>,
  run: Readonly<Record<string, unknown>>,
  { checkpoints }: Resumable,
): Promise<void> {
  const files = await checkpoints?.latest();
  if (!files) throw new ConfigError("Cannot resume: there is no checkpoint");
  trainer.restore(numbersFromFiles(files, run));
}

/** Modules whose frozen numbers are those of the run's checkpoint, where the method works such numbers out. */
export async function asSaved(
  { method, config, modules }: Adapter,
  { checkpoints, resume }: Resumable,
): Promise<ReadonlyMap<string, AdapterModule>> {
  const files = resume && method.training?.frozen ? await checkpoints?.latest() : undefined;
  if (!files) return modules;
  const tensors = [...tensorsFromFiles(files)].filter(([name]) =>
    isOfMethod(name, { config, own: method.own })
  );
  return method.read({ config, tensors: new Map(tensors), options: {} });
}

/** What can be checked of a resumption before a file is read. */
export function checkResumable({ checkpoints, resume }: Resumable): void {
  if (!resume || checkpoints) return;
  throw new RangeError("Cannot resume without checkpoints: pass those of the run to go on with");
}
