/**
 * The perplexity of a text: how well a model, as it is or quantised, with an adapter or without, predicts it.
 *
 * @module
 */
import { baseOptions } from "./adapters/base_options.ts";
import { withoutCopies } from "./adapters/copies.ts";
import { loadAdapter, type LoadedAdapter } from "./adapters/peft.ts";
import type { Device } from "./device/device.ts";
import type { ReadableFolder } from "./folder.ts";
import { copyFaults } from "./models/copies.ts";
import { adapterPaths, modelLinears, openWeights, readGeneratorConfig } from "./models/families.ts";
import type { ModelConfig } from "./models/family.ts";
import { loadModel, releaseModel } from "./models/model.ts";
import { fixedRopeLength } from "./models/rope.ts";
import type { QuantizeTo } from "./models/quantization.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import { fileOf, type TrainingText } from "./training/content.ts";
import { type DataCounts, readEvaluationSet } from "./training/data.ts";
import { evaluate } from "./training/evaluate.ts";
import { defaultContextLength } from "./training/options.ts";

/** What is evaluated on what. */
export interface PerplexityOptions {
  /** A Hugging Face model folder. */
  readonly folder: ReadableFolder;
  readonly data: TrainingText;
  /** A PEFT folder, or what `loadAdapter` made of one; the model alone by default. */
  readonly adapter?: ReadableFolder | LoadedAdapter;
  /** Quantises the linears' weights first. */
  readonly quantize?: QuantizeTo;
  /** Tokens of a sequence; by default the model's, but at most 512. */
  readonly contextLength?: number;
  /** Called after each batch of 4 sequences. */
  readonly onBatch?: (done: number, total: number) => void;
}

/** What came out. */
export interface Perplexity {
  /** exp(loss). */
  readonly perplexity: number;
  /** Mean loss over the predicted tokens, natural logarithm. */
  readonly loss: number;
  /** Predicted tokens. */
  readonly targetCount: number;
  readonly data: DataCounts;
}

/** Sequences that are computed together; the result does not depend on it. */
const batchSize = 4;

async function adapterFor(
  folder: ReadableFolder,
  { adapter, config }: { readonly adapter: ReadableFolder | LoadedAdapter; readonly config: ModelConfig },
): Promise<LoadedAdapter> {
  const found = "modules" in adapter
    ? adapter
    : await loadAdapter(adapter, { ...baseOptions(modelLinears(config)), ...adapterPaths(config) });
  return await withoutCopies(found, copyFaults(folder));
}

/**
 * Evaluates a model on a text as a training run evaluates on held-out text: its documents, one after the other, cut into
 * sequences of `contextLength` tokens, each token but a sequence's first predicted from those before it in its sequence.
 *
 * @throws RangeError for a `contextLength` the model has no positions for, and for an adapter on `lm_head`; SyntaxError
 * for data that is broken or empty; ConfigError or SafetensorsError for a model's or an adapter's files.
 */
export async function perplexity(device: Device, options: PerplexityOptions): Promise<Perplexity> {
  const { folder, quantize, onBatch = () => {} } = options;
  const config = await readGeneratorConfig(folder, "take the perplexity of");
  // Where rotary turns depend on a sequence's length, it keeps to lengths that they are the same for.
  const positions = Math.min(config.maxPositions, fixedRopeLength(config));
  const { contextLength = Math.min(defaultContextLength, positions) } = options;
  if (contextLength > positions) {
    throw new RangeError(
      `Cannot evaluate on sequences of ${contextLength} tokens: the model has positions for ${positions}`,
    );
  }
  const set = await readEvaluationSet(fileOf(options.data), {
    tokenizer: await openTokenizer(folder),
    contextLength,
    batchSize,
    vocabSize: config.vocabSize,
  });
  const adapter = options.adapter && await adapterFor(folder, { adapter: options.adapter, config });
  const source = await openWeights(folder, config);
  const model = await loadModel(device, { config, source, maxModelLen: contextLength, quantize })
    .finally(() => source.close());
  try {
    const { loss, targetCount } = await evaluate(device, model, {
      adapter,
      batches: set.batches(),
      rows: batchSize * contextLength,
      onBatch: (done) => onBatch(done, set.batchCount),
    });
    return { perplexity: Math.exp(loss), loss, targetCount, data: set.counts };
  } finally {
    releaseModel(device, model);
  }
}
