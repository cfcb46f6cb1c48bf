/**
 * The part of a merge that is no dW: an adapter's own biases, norms, embeddings and heads in the place of the model's.
 *
 * @module
 */
import { widen } from "../kernels/half.ts";
import { mergedParameter, roundedAs } from "./adapters/merged_parameter.ts";
import { checkReplacement, withTiedHeads } from "./adapters/own_changes.ts";
import type { LoadedAdapter } from "./adapters/peft.ts";
import type { Replacement } from "./adapters/replacements.ts";
import { ConfigError } from "./errors.ts";
import type { ReadableFolder } from "./folder.ts";
import type { Checkpoint, FileNames } from "./models/checkpoint.ts";
import { parseConfig, readConfigFields } from "./models/families.ts";
import { quantizedNames } from "./models/quantization.ts";
import type { HostTensor } from "./tensor.ts";

/** What an adapter's own parameters do to a model's files. */
export interface OwnMerge {
  /** Names of tensors that the model's files do not have. */
  readonly added: readonly string[];
  /** The tensor of the model's files that a merged tensor is made of. */
  storedAs(name: string): string;
  /** A tensor with the adapter's own in its place, or as it was. */
  merged(name: string, stored: HostTensor): HostTensor;
  /** config.json, where it changes: a head that was tied to the embedding is so no more. */
  readonly config?: Uint8Array;
}

/** A model, and what is merged into it. */
interface Sides {
  readonly checkpoint: Checkpoint;
  readonly fileNames: FileNames | undefined;
  readonly adapter: LoadedAdapter;
}

const none: OwnMerge = { added: [], storedAs: (name) => name, merged: (_, stored) => stored };

/** Modules' own biases, by the names of the linears' biases. */
function moduleBiases({ checkpoint, adapter: { modules } }: Sides): Map<string, Float32Array> {
  const biases = new Map<string, Float32Array>();
  for (const [path, { bias }] of modules) {
    if (!bias) continue;
    const name = `${path}.bias`;
    if (!checkpoint.names.includes(name)) {
      throw new ConfigError(
        `Cannot merge the bias of module "${path}" into the model's "${name}": it has no such tensor`,
      );
    }
    biases.set(name, bias);
  }
  return biases;
}

/** The embedding and the head, where the model's config ties them and an adapter replaces either. */
async function tiedNames(
  model: ReadableFolder,
  { fileNames, adapter: { replacements } }: Sides,
): Promise<{ readonly embedding: string; readonly head: string } | undefined> {
  if (!fileNames) return undefined;
  const { embedding, head } = fileNames;
  if (embedding === undefined || head === undefined) return undefined;
  if (!replacements.has(embedding) && !replacements.has(head)) return undefined;
  return parseConfig(await readConfigFields(model)).tieWordEmbeddings ? { embedding, head } : undefined;
}

/** A head that is stored in blocks cannot get another embedding's numbers, nor keep those of one that changes. */
function checkFloatHead({ checkpoint }: Sides, head: string): void {
  if (!checkpoint.names.includes(quantizedNames(head.replace(/\.weight$/, "")).words)) return;
  throw new ConfigError(
    `Cannot merge into the model's "${head}": it is quantized; merge into the float model, and quantize what comes out`,
  );
}

function checkNames(all: ReadonlyMap<string, Replacement>, checkpoint: Checkpoint, added: string[]): void {
  for (const [name, replacement] of all) {
    if (added.includes(name)) continue;
    if (!checkpoint.names.includes(name)) {
      throw new ConfigError(
        `Cannot merge adapter tensor "${replacement.tensor}" into the model's "${name}": it has no such tensor`,
      );
    }
    const { shape } = checkpoint.info(name);
    checkReplacement(replacement, { name, shape, kind: shape.length === 1 ? "bias" : "embedding" });
  }
}

/**
 * Plans the merge of an adapter's own parameters.
 *
 * @throws ConfigError that names a tensor which the model does not have, or of another shape.
 */
export async function ownMerge(model: ReadableFolder, sides: Sides): Promise<OwnMerge> {
  const { checkpoint, adapter } = sides, biases = moduleBiases(sides);
  if (adapter.replacements.size + biases.size === 0) return none;
  const tied = await tiedNames(model, sides);
  if (tied) checkFloatHead(sides, tied.head);
  const all = withTiedHeads(adapter, tied ? [{ name: tied.head, tiedTo: tied.embedding }] : []);
  const stayTied = !tied || all.get(tied.head) === all.get(tied.embedding);
  const hasHead = !tied || checkpoint.names.includes(tied.head);
  const added = tied && !stayTied && !hasHead ? [tied.head] : [];
  if (tied && stayTied && !hasHead) all.delete(tied.head);
  checkNames(all, checkpoint, added);
  const fields = stayTied ? undefined : { ...await readConfigFields(model), tie_word_embeddings: false };
  return {
    added,
    storedAs: (name) => added.includes(name) ? tied!.embedding : name,
    merged(name, stored) {
      const replacement = all.get(name), bias = biases.get(name);
      const own = replacement ? mergedParameter(stored, replacement) : stored;
      return bias ? roundedAs(widen(own.data, own.dtype).map((value, i) => value + bias[i]), own) : own;
    },
    ...(fields ? { config: new TextEncoder().encode(`${JSON.stringify(fields, null, 2)}\n`) } : {}),
  };
}
