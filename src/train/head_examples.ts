/**
 * Examples as rows that an encoder takes: texts as token ids, images as the bytes that they are resized to.
 *
 * @module
 */
import { sequenceOf } from "../engine/encoder_input.ts";
import { ConfigError } from "../errors.ts";
import type { EncoderConfig, ModelConfig } from "../models/family.ts";
import { imagePixels, type ImageProcessing, readImageProcessing } from "../models/image_processing.ts";
import { resizedImage } from "../models/image_resize.ts";
import { openTokenizer } from "../models/tokenizer.ts";
import type { PairTokenizer } from "../models/tokenizer_types.ts";
import type { Example, ImageExample, TextExample } from "../training/examples.ts";
import { divided, type HeadSet, headSet, type LabelledSequence } from "../training/head_data.ts";
import { type LabelSet, labelSet, type PlacedLabel } from "../training/labels.ts";
import type { TrainEncoderOptions } from "./encoder.ts";
import type { EncoderSettings } from "./encoder_settings.ts";

type Config = ModelConfig & { readonly encoder: EncoderConfig };

/** Makes rows of examples. */
type Layout = (example: Example) => Promise<Omit<LabelledSequence, "target">>;

async function listed(examples: Iterable<Example> | AsyncIterable<Example>): Promise<readonly Example[]> {
  const found: Example[] = [];
  for await (const example of examples) found.push(example);
  return found;
}

const placeOf = ({ place }: Example, index: number): string => place ?? `example ${index + 1}`;

const isImage = (example: Example): example is ImageExample => "rgb" in example;

/** What sequences are laid out for; the encoder itself comes later. */
const modelOf = (config: Config, maxModelLen: number) => ({ config, maxModelLen });

function textLayout(config: Config, tokenizer: PairTokenizer, contextLength: number): Layout {
  const maxLength = Math.min(contextLength, config.maxPositions);
  return async (example) => {
    const { text, textPair } = example as TextExample;
    const { tokenIds, typeIds } = await tokenizer.encodeTexts(
      textPair === undefined ? [text] : [text, textPair],
      { maxLength },
    );
    // Models of one type have no other, as in transformers.
    const types = config.encoder.types === 1 ? undefined : typeIds;
    const sequence = sequenceOf(modelOf(config, maxLength), { tokenIds, typeIds: types });
    return { rows: tokenIds.length, sequence: () => sequence };
  };
}

function imageLayout(config: Config, processing: ImageProcessing): Layout {
  const { size } = config.encoder.image!, { height, width } = processing;
  if (height !== size || width !== size) {
    throw new ConfigError(
      `Cannot take images of ${width} x ${height}, as preprocessor_config.json says: config.json has image_size ${size}`,
    );
  }
  const rows = config.maxPositions;
  return (example) => {
    const rgb = resizedImage(example as ImageExample, processing);
    return Promise.resolve({
      rows,
      sequence: () => sequenceOf(modelOf(config, rows), { pixels: imagePixels(rgb, processing) }),
    });
  };
}

async function layoutOf(
  config: Config,
  { folder }: Pick<TrainEncoderOptions, "folder">,
  contextLength: number,
): Promise<Layout> {
  if (config.encoder.input === "tokens") {
    return textLayout(config, await openTokenizer(folder), contextLength);
  }
  const processing = await readImageProcessing(folder);
  if (processing) return imageLayout(config, processing);
  throw new ConfigError(
    "Cannot find preprocessor_config.json in the model's folder: it says how images are resized",
  );
}

function checkKind(example: Example, place: string, { encoder: { input }, modelType }: Config): void {
  if (isImage(example) === (input === "pixels")) return;
  throw new RangeError(
    `Cannot train a model of type "${modelType}" on ${place}: it takes ${
      input === "pixels" ? "images, not texts" : "texts, not images"
    }`,
  );
}

async function laidOut(
  examples: readonly Example[],
  { config, layout, labels }: { readonly config: Config; readonly layout: Layout; readonly labels: LabelSet },
): Promise<LabelledSequence[]> {
  const made: LabelledSequence[] = [];
  for (const [i, example] of examples.entries()) {
    const place = placeOf(example, i);
    checkKind(example, place, config);
    const target = labels.targetOf({ label: example.label, place });
    try {
      made.push({ ...await layout(example), target });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RangeError(`Cannot use ${place}: ${error.message}`, { cause: error });
    }
  }
  return made;
}

/** Examples to train on, and to evaluate with. */
async function parts(
  { examples, evaluation = 0 }: TrainEncoderOptions,
  seed: number,
): Promise<{ readonly training: readonly Example[]; readonly heldOut: readonly Example[] }> {
  if (typeof evaluation === "number" && !(evaluation >= 0 && evaluation < 1)) {
    throw new RangeError(`Cannot hold out ${evaluation} of the examples: it must be 0 or more and below 1`);
  }
  const all = await listed(examples);
  if (all.length === 0) throw new SyntaxError("Cannot find an example: the data is empty");
  if (typeof evaluation !== "number") {
    const heldOut = await listed(evaluation);
    if (heldOut.length > 0) return { training: all, heldOut };
    throw new SyntaxError("Cannot find an example to evaluate with: the data is empty");
  }
  if (evaluation === 0) return { training: all, heldOut: [] };
  const { training, heldOut } = divided(all.length, { fraction: evaluation, seed });
  return { training: training.map((i) => all[i]), heldOut: heldOut.map((i) => all[i]) };
}

/**
 * Reads a run's examples and lays them out.
 *
 * @throws as `trainEncoder`
 */
export async function readHeadSet(
  config: Config,
  options: TrainEncoderOptions,
  { task, batchSize, seed, shuffle, contextLength }: EncoderSettings,
): Promise<{ readonly set: HeadSet; readonly labels: readonly string[] }> {
  const { training, heldOut } = await parts(options, seed);
  const placed = training.map((example, i): PlacedLabel => ({
    label: example.label,
    place: placeOf(example, i),
  }));
  const labels = labelSet(task, placed, options.labels);
  const layout = await layoutOf(config, options, contextLength);
  const set = headSet({
    training: await laidOut(training, { config, layout, labels }),
    heldOut: await laidOut(heldOut, { config, layout, labels }),
  }, { batchSize, seed, shuffle });
  return { set, labels: labels.names };
}
