/**
 * The adapter and head that an encoder's training run starts with, by the names that their file has.
 *
 * @module
 */
import type { Adapter } from "../adapters/create.ts";
import { linearsAlone } from "../adapters/copies.ts";
import type { AdapterModule, Method } from "../adapters/method.ts";
import type { LoadedAdapter } from "../adapters/peft.ts";
import type { Replacements } from "../adapters/replacements.ts";
import { uniforms } from "../engine/random.ts";
import { ConfigError } from "../errors.ts";
import { familyOf, savedPath } from "../models/families.ts";
import { type EncoderModel, trainableLinears } from "../models/model.ts";
import type { HostTensor } from "../tensor.ts";
import { headLinears, type HeadNumbers, headNumbers, newHead } from "../training/head_parameters.ts";
import type { TrainEncoderOptions } from "./encoder.ts";
import type { EncoderSettings } from "./encoder_settings.ts";
import { adapterToContinue, asSaved, newAdapter, rateOf } from "./shared.ts";

const prefix = "base_model.model.";

/** What a run trains. */
export interface HeadAdapter {
  /** Absent where the head alone is trained. */
  readonly trained?: {
    readonly method: Method;
    /** By the model's paths. */
    readonly modules: ReadonlyMap<string, AdapterModule>;
    nameOf(path: string): string;
  };
  readonly numbers: HeadNumbers;
  /** adapter_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The adapter's highest learning rate; the head's where there is no adapter. */
  readonly lr: number;
}

/** What an adapter is made for. */
interface Request {
  readonly options: TrainEncoderOptions;
  readonly settings: EncoderSettings;
  readonly labels: readonly string[];
  /** The folder's classifier, where the head starts from it. */
  readonly classifier: ReadonlyMap<string, HostTensor>;
}

/** Fields of adapter_config.json that make PEFT save and load the head. */
function headFields({ config: { encoder } }: EncoderModel): Readonly<Record<string, unknown>> {
  const [{ path }] = encoder.classifier, [module] = path.split(".");
  // PEFT adds "score" for texts: other models' heads are called so.
  return encoder.input === "tokens"
    ? { task_type: "SEQ_CLS", modules_to_save: [module, "score"] }
    : { task_type: null, modules_to_save: [module] };
}

/** The config of a folder that has a head and no adapter: PEFT's name for no target. */
const headAlone = {
  peft_type: "LORA",
  base_model_name_or_path: null,
  inference_mode: true,
  r: 8,
  lora_alpha: 8,
  lora_dropout: 0,
  bias: "none",
  fan_in_fan_out: false,
  init_lora_weights: true,
  target_modules: "dummy-target-modules",
};

/** The parameters that an adapter has in the place of the model's: its head alone. */
function headOf(replacements: Replacements, names: ReadonlySet<string>): Map<string, HostTensor> {
  const found = new Map<string, HostTensor>();
  for (const [name, one] of replacements) {
    if (names.has(name) && one.kind === "whole") found.set(name, one.data);
    else if (!/^(classifier|score)\./.test(name)) {
      throw new ConfigError(
        `Cannot train an adapter with tensor "${one.tensor}", which changes the base model's "${name}": ` +
          "only linears and the head are trained",
      );
    }
  }
  return found;
}

/** Names in files: PEFT's newest, unless an adapter to go on from has older ones. */
function namesFor(
  model: EncoderModel,
  modules: ReadonlyMap<string, unknown>,
  targets: unknown,
): (path: string) => string {
  const saved = (path: string): string => savedPath(model.config, path);
  const isTarget = (path: string): boolean =>
    !Array.isArray(targets) || targets.some((name) => path === name || path.endsWith(`.${name}`));
  return [...modules.keys()].every((path) => isTarget(saved(path))) ? saved : (path) => path;
}

/** A new adapter: PEFT's target names are those of the saved paths. */
function made(
  model: EncoderModel,
  asked: Parameters<typeof newAdapter>[0],
  seed: number,
): Adapter {
  const { config, linears } = model, bySaved = new Map<string, string>();
  const trainable = [...trainableLinears(model)].map(([path, number]) => {
    bySaved.set(savedPath(config, path), path);
    return { ...linears[number], path: savedPath(config, path) };
  });
  const adapter = newAdapter(asked, { config, linears: trainable, seed });
  return {
    ...adapter,
    modules: new Map([...adapter.modules].map(([path, module]) => [bySaved.get(path)!, module])),
  };
}

/** The head's first numbers: of the adapter, of the folder, or new. */
function startOf(
  model: EncoderModel,
  { labels, classifier, settings: { seed, head } }: Request,
  continued: ReadonlyMap<string, HostTensor>,
): HeadNumbers {
  const { encoder, hiddenSize } = model.config;
  const linears = headLinears(encoder.classifier, { hiddenSize, labels: labels.length });
  if (head === "base" && classifier.size === 0) {
    throw new ConfigError("Cannot start from the folder's head: the model's folder has none");
  }
  const parameters = continued.size > 0
    ? continued
    : head === "base"
    ? classifier
    : newHead(linears, uniforms(seed + 1));
  return headNumbers(linears, parameters, (name) => `${prefix}${name}`);
}

/**
 * What a run trains.
 *
 * @throws ConfigError for an adapter that changes more than linears and the head, and for a head of other labels; RangeError
 * for a method without a default learning rate.
 */
export async function adapterOf(model: EncoderModel, request: Request): Promise<HeadAdapter> {
  const { options, settings: { seed, lr, headLr } } = request, { adapter: asked } = options;
  if (asked === "head") {
    const config = { ...headAlone, ...headFields(model) };
    return { numbers: startOf(model, request, new Map()), config, lr: headLr };
  }
  let adapter: Adapter, head = new Map<string, HostTensor>();
  if ("init" in asked) {
    const { config, linears } = model, { folder, methods } = options;
    const found: LoadedAdapter = await adapterToContinue(asked.init, { config, linears, folder, methods });
    const { classifier } = config.encoder;
    head = headOf(
      found.replacements,
      new Set(classifier.flatMap(({ path }) => [`${path}.weight`, `${path}.bias`])),
    );
    adapter = linearsAlone({ ...found, replacements: new Map() }, "train");
  } else {
    adapter = made(model, asked, seed);
  }
  const { method } = adapter, config = { ...adapter.config, ...headFields(model) };
  const pathOf = familyOf(model.config).adaptedPath;
  const modules = await asSaved(adapter, options);
  return {
    trained: {
      method,
      modules: pathOf ? new Map([...modules].map(([path, one]) => [pathOf(path) ?? path, one])) : modules,
      nameOf: namesFor(model, adapter.modules, adapter.config.target_modules),
    },
    numbers: startOf(model, request, head),
    config,
    lr: lr ?? rateOf(adapter),
  };
}
