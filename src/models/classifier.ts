/**
 * The classifier of an encoder's folder.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";
import type { WeightSource } from "./loader.ts";
import type { EncoderModel } from "./model.ts";

/** The names of a classifier's parameters. */
export function classifierNames({ config: { encoder } }: Pick<EncoderModel, "config">): string[] {
  return encoder.classifier.flatMap(({ path }) => [`${path}.weight`, `${path}.bias`]);
}

/**
 * Reads the folder's classifier; empty where it has none, as models that are trained for something else.
 *
 * @throws ConfigError where it has a part alone, and where labels of config.json are not as many as its own.
 */
export async function readClassifier(
  source: WeightSource,
  model: Pick<EncoderModel, "config">,
): Promise<ReadonlyMap<string, HostTensor>> {
  const names = classifierNames(model), { labels, classifier } = model.config.encoder;
  const missing = names.filter((name) => !source.names.includes(name));
  if (missing.length === names.length) return new Map();
  if (missing.length > 0) throw new ConfigError(`Cannot find weight "${missing[0]}" in the model's folder`);
  const read = new Map<string, HostTensor>();
  for (const name of names) read.set(name, await source.read(name));
  const last = `${classifier.at(-1)!.path}.weight`, [count] = read.get(last)!.shape;
  if (count === labels.length) return read;
  throw new ConfigError(
    `Cannot use weight "${last}" of shape [${
      read.get(last)!.shape
    }]: config.json has ${labels.length} labels in "id2label"`,
  );
}
