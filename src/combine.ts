/**
 * The weighted sum of adapters as one adapter folder that PEFT loads: `add_weighted_adapter` without a model.
 *
 * - A method whose files hold sums stays itself (`combined`). FourierFT adds coefficients of equal places up: a file draws all
 *   its places from one seed.
 * - LoRA, and methods that are served as factors, become LoRA: the factors stand side by side, and ranks add up
 *   (PEFT's `combination_type="cat"`). Nothing is approximated.
 *
 * @module
 */
import { checkAdds, checkedTerms } from "./adapters/combination.ts";
import type {
  AdapterModule,
  CombinedFiles,
  CombineIo,
  Factors,
  LinearShape,
  Summand,
} from "./adapters/method.ts";
import { largest, piecesByPath, prefix, withPattern } from "./adapters/methods/combined.ts";
import { stackedFactors } from "./adapters/methods/low_rank.ts";
import { checkReach } from "./adapters/numbers.ts";
import type { LoadedAdapter } from "./adapters/peft.ts";
import { CombinationError } from "./errors.ts";
import type { WritableFolder } from "./folder.ts";
import { type HostTensor, tensor } from "./tensor.ts";
import { adapterFiles } from "./training/checkpoint.ts";

/** An adapter of a sum. */
export interface WeightedAdapter {
  /** Its name in messages. */
  readonly name: string;
  readonly adapter: LoadedAdapter;
  /** What its dW is multiplied by: -1000 to 1000, default 1. */
  readonly weight?: number;
}

/** What is added up, and where it goes. */
export interface CombineOptions {
  /** One to eight; one alone is scaled. */
  readonly adapters: readonly WeightedAdapter[];
  readonly out: WritableFolder;
  /** The shapes of the base model's linears, by path: methods whose files do not say them need it (VeRA, TinyLoRA). */
  readonly shapeOf?: (path: string) => LinearShape | undefined;
}

/** What was written. */
export interface Combined {
  /** LORA where factors stand side by side, and the methods' own elsewhere. */
  readonly peftType: string;
  readonly modules: number;
}

type Weighted = Required<WeightedAdapter>;

/** The factors of a module; its shape is its own, or the base model's. */
function factorsOf(
  path: string,
  module: AdapterModule,
  { shapeOf }: Pick<CombineOptions, "shapeOf">,
): Factors {
  const shape = module.shape ?? shapeOf?.(path);
  if (!shape) {
    throw new CombinationError(
      `Cannot add up module "${path}": its files do not say the shape of its weight, give shapeOf, or --model DIR`,
    );
  }
  module.check(path, shape);
  return module.factors!(shape);
}

/** dW of the terms side by side, with one scale for all modules. */
function sumOfFactors(adapters: readonly Summand[], options: CombineIo): CombinedFiles {
  const parts = [...piecesByPath(adapters)].map(([path, modules]) => ({
    path,
    factors: modules.map(({ module, summand: { weight } }) => {
      const own = factorsOf(path, module, options);
      return { ...own, scale: weight * own.scale };
    }),
  }));
  const scale = largest(parts.flatMap(({ factors }) => factors.map((one) => one.scale)));
  const tensors = new Map<string, HostTensor>(), ranks = new Map<string, number>();
  for (const { path, factors } of parts) {
    const [{ out, in: inSize }] = factors;
    for (const one of factors) {
      if (one.out === out && one.in === inSize) continue;
      throw new CombinationError(
        `Cannot add up module "${path}": adapters have it for weights (${out}, ${inSize}) and (${one.out}, ${one.in})`,
      );
    }
    const { a, b, rank } = stackedFactors(factors, { out, in: inSize }, scale);
    checkReach(b.reduce((most, value) => Math.max(most, Math.abs(value)), 0), `the sum of modules "${path}"`);
    tensors.set(`${prefix}${path}.lora_A.weight`, tensor(a, [rank, inSize]));
    tensors.set(`${prefix}${path}.lora_B.weight`, tensor(b, [out, rank]));
    ranks.set(path, rank);
  }
  const { most, pattern } = withPattern(ranks);
  return {
    config: {
      r: most,
      rank_pattern: pattern,
      lora_alpha: scale * most,
      alpha_pattern: Object.fromEntries(
        Object.entries(pattern).map(([path, rank]) => [path, scale * rank]),
      ),
      lora_dropout: 0,
      use_rslora: false,
      use_dora: false,
      init_lora_weights: true,
    },
    tensors,
  };
}

/** A field's value where all adapters have the same. */
function shared(adapters: readonly Weighted[], field: string): unknown {
  const [value, ...others] = adapters.map(({ adapter }) => adapter.config[field] ?? null);
  return others.every((other) => JSON.stringify(other) === JSON.stringify(value)) ? value : null;
}

const everyModule = (adapters: readonly Weighted[], has: (module: AdapterModule) => boolean): boolean =>
  adapters.every(({ adapter }) => [...adapter.modules.values()].every(has));

/** The method that the sum is written as, and its files. */
function written(
  adapters: readonly Weighted[],
  options: CombineIo,
): CombinedFiles & Pick<Combined, "peftType"> {
  const summands = adapters.map(({ name, weight, adapter: { config, modules } }) => ({
    ...{ name, weight, config, modules },
  }));
  const [method, ...others] = new Set(adapters.map(({ adapter }) => adapter.method));
  if (method.combined && others.length === 0) {
    return { ...method.combined(summands, options), peftType: method.peftType };
  }
  if (everyModule(adapters, ({ factors }) => factors !== undefined)) {
    return { ...sumOfFactors(summands, options), peftType: "LORA" };
  }
  throw new CombinationError(
    `Cannot write a sum of ${
      [method, ...others].map(({ name }) => name).join(" and ")
    } as one adapter: no method of ` +
      "PEFT has a file of it" +
      (others.length > 0 ? '. A server adds adapters of several methods up by "adapters" of a request' : ""),
  );
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/**
 * Writes the weighted sum of adapters as a PEFT folder of its own. The sums are made in float64, and rounded once.
 *
 * @throws CombinationError that names the adapters and the rule: methods that do not add up, adapters with parameters of their
 * own, FourierFT of several seeds, and mixtures that no PEFT method can hold; ConfigError where numbers are past float32.
 */
export async function combineAdapters(options: CombineOptions): Promise<Combined> {
  const { adapters: given, out } = options;
  if (given.length === 0) throw new CombinationError("Cannot add up no adapters: name one or more");
  checkedTerms(given.map(({ name, weight }) => ({ id: name, scale: weight })));
  checkAdds(given.map(({ name, adapter }) => ({
    id: name,
    method: adapter.method,
    hasOwn: adapter.replacements.size > 0 || [...adapter.modules.values()].some(({ bias }) => bias),
  })));
  const empty = given.find(({ adapter }) => adapter.modules.size === 0);
  if (empty) {
    throw new CombinationError(`Cannot add up adapter "${empty.name}": it adapts no linear layer`);
  }
  const adapters = given.map((one) => ({ ...one, weight: one.weight ?? 1 }));
  const { config, tensors, peftType } = written(adapters, options);
  const paths = [...new Set(adapters.flatMap(({ adapter }) => [...adapter.modules.keys()]))];
  const files = adapterFiles(
    {
      peft_type: peftType,
      ...config,
      task_type: shared(adapters, "task_type"),
      base_model_name_or_path: shared(adapters, "base_model_name_or_path"),
      fan_in_fan_out: shared(adapters, "fan_in_fan_out") ?? false,
      inference_mode: true,
      bias: "none",
      target_modules: paths,
      modules_to_save: null,
      layers_to_transform: null,
      layers_pattern: null,
      exclude_modules: null,
    },
    tensors,
  );
  for (const [name, bytes] of files) await out.write(name, whole(bytes));
  return { peftType, modules: paths.length };
}
