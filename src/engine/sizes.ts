/**
 * How many sequences run at once, how much cache they have, and how many tokens a step takes.
 *
 * @module
 */
import { cacheFormats, type KvCacheDtype, kvCacheDtypes } from "../../kernels/caches/mod.ts";
import type { Device } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import { fixedRopeLength } from "../models/rope.ts";
import type { EngineOptions } from "./batch_engine.ts";
import type { Room } from "./schedule.ts";

/** Float32 logits a step may hold where no sequence needs more. */
const maxLogits = 2 ** 24;

const bytes = 4;

/** Bytes of caches by default: of a GPU's own memory, and of that which the process shares with all else. */
const defaultCacheBytes = { webgpu: 2 ** 30, cpu: 2 ** 28 } as const;

/** Logits of all sequences by default. */
const defaultLogits = { webgpu: 2 ** 26, cpu: 2 ** 24 } as const;

/** Sequences at once by default. */
const [fewest, most] = [16, 256];

/** Positions of a block by default, as in vLLM. */
const defaultBlockSize = 16;

/** Blocks of all sequences of a step, for each block there is: sequences that share some have more together. */
const sharing = 4;

/** The widths of the states that a model's layers have of a sequence. */
const statesOf = ({ graph }: Pick<Model, "graph">): number[] =>
  graph.operations.flatMap(({ stateWidth }) => stateWidth ?? []);

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

/** Sequences that run at once unless told: each may need its logits, and has its states. */
function defaultSequences(device: Device, model: Model, cacheBytes: number): number {
  const { vocabSize } = model.config, widths = statesOf(model);
  const afforded = Math.floor(defaultLogits[device.kind] / vocabSize);
  const fitting = Math.floor(device.maxTensorBytes / (bytes * Math.max(vocabSize, ...widths)));
  // States may have half of the cache's bytes.
  const carried = widths.length > 0 ? Math.floor(cacheBytes / 2 / (bytes * sum(widths))) : Infinity;
  return Math.max(1, Math.min(most, Math.max(fewest, afforded), fitting, carried));
}

/** Sizes of an engine's cache and steps. */
export interface Sizes extends Room {
  readonly maxSequences: number;
  readonly kvCacheDtype: KvCacheDtype;
  readonly blocks: number;
  readonly blockSize: number;
  /** States of sequences: as many as run at once; 0 of models without states. */
  readonly states: number;
}

function checkCount(field: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`Cannot open an engine with ${field} ${value}: it must be an integer of 1 or more`);
}

/** The longest sequence whose keys depend on their positions alone. */
export function fixedLengthOf({ graph }: Pick<Model, "graph">): number {
  return Math.min(...graph.operations.map(({ rope }) => fixedRopeLength(rope?.config ?? {})));
}

/** Throws where no tensor holds the states that one layer has of so many sequences. */
function checkStates({ maxTensorBytes }: Device, widths: readonly number[], maxSequences: number): void {
  const largest = bytes * Math.max(0, ...widths);
  if (largest * maxSequences <= maxTensorBytes) return;
  throw new RangeError(
    `Cannot open an engine with maxSequences ${maxSequences}: a layer's states take ${largest} bytes each, and a tensor of ` +
      `the device has ${maxTensorBytes}`,
  );
}

function checkCacheDtype(kvCacheDtype: KvCacheDtype): void {
  if (Object.hasOwn(cacheFormats, kvCacheDtype)) return;
  throw new TypeError(
    `Cannot open an engine with kvCacheDtype "${kvCacheDtype}": it must be one of ${
      kvCacheDtypes.join(", ")
    }`,
  );
}

/** Bytes of a token in the keys, and again in the values, of each layer with attention. */
const widthsOf = ({ graph }: Pick<Model, "graph">, kvCacheDtype: KvCacheDtype): number[] =>
  graph.operations.flatMap(({ cacheHeads }) =>
    cacheHeads ? bytes * cacheFormats[kvCacheDtype].rowElements(cacheHeads) : []
  );

/** Bytes that caches of so many rows take on a device. */
export function cacheBytesOf(
  model: Pick<Model, "graph">,
  { kvCacheDtype, blocks, blockSize }: Pick<Sizes, "kvCacheDtype" | "blocks" | "blockSize">,
): number {
  return 2 * blocks * blockSize * sum(widthsOf(model, kvCacheDtype));
}

/** Blocks of the cache: as many as its bytes and a tensor have room for, but those of one whole sequence at least. */
function blocksOf(
  device: Device,
  model: Model,
  { kvCacheDtype, blockSize, cacheBytes, least, most }: {
    readonly kvCacheDtype: KvCacheDtype;
    readonly blockSize: number;
    readonly cacheBytes: number;
    readonly least: number;
    readonly most: number;
  },
): number {
  const widths = widthsOf(model, kvCacheDtype);
  if (widths.length === 0) return most;
  const afforded = Math.floor(cacheBytes / (2 * blockSize * sum(widths)));
  const fitting = Math.floor(device.maxTensorBytes / (blockSize * Math.max(...widths)));
  return Math.max(least, Math.min(afforded, fitting, most));
}

/**
 * An engine's sizes by its options.
 *
 * @throws RangeError for an option that is no positive integer, and for more sequences than a tensor holds states of;
 * TypeError for an unknown `kvCacheDtype`.
 */
export function sizesOf(device: Device, model: Model, options: EngineOptions): Sizes {
  const { maxModelLen, config } = model;
  const { maxStepTokens = 256, cacheBytes = defaultCacheBytes[device.kind], kvCacheDtype = "float32" } =
    options;
  checkCacheDtype(kvCacheDtype);
  const { blockSize = defaultBlockSize, maxSequences = defaultSequences(device, model, cacheBytes) } =
    options;
  const counts = { cacheBytes, blockSize, maxSequences, maxStepTokens };
  for (const [field, value] of Object.entries(counts)) checkCount(field, value);
  const least = Math.ceil(maxModelLen / blockSize), together = maxSequences * least;
  const states = statesOf(model), stateBytes = maxSequences * bytes * sum(states);
  checkStates(device, states, maxSequences);
  const blocks = blocksOf(device, model, {
    ...{ kvCacheDtype, blockSize, least, most: together },
    cacheBytes: Math.max(0, cacheBytes - stateBytes),
  });
  // Where every sequence but one takes a row, the last one's prompt must still go on.
  const promptRows = Math.ceil(maxStepTokens / 4);
  const maxRows = Math.min(Math.max(maxStepTokens, maxSequences + promptRows), maxSequences * maxModelLen);
  const maxOutputs = Math.max(maxSequences, Math.min(maxRows, Math.floor(maxLogits / config.vocabSize)));
  const maxBlocks = Math.min(together, sharing * blocks);
  return {
    ...{
      kvCacheDtype,
      maxSequences,
      blocks,
      blockSize,
      maxBlocks,
      states: states.length > 0 ? maxSequences : 0,
    },
    ...{ maxRows, maxOutputs, promptRows, usualRows: maxStepTokens },
  };
}
