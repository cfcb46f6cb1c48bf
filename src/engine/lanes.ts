/**
 * How many sequences run at once, and how many tokens a step takes.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import type { EngineOptions } from "./batch_engine.ts";
import type { Room } from "./schedule.ts";

/** Float32 logits a step may hold where no sequence needs more. */
const maxLogits = 2 ** 24;

const bytes = 4;

/** Bytes of caches by default: of a GPU's own memory, and of that which the process shares with all else. */
const defaultCacheBytes = { webgpu: 2 ** 30, cpu: 2 ** 28 } as const;

/** Sequences at once by default: no fewer for want of a budget, no more for all there is. */
const [fewest, most] = [16, 256];

/**
 * Sequences that run at once unless told: as many as have whole caches in `cacheBytes`, at least 16, at most 256. No device
 * says how much memory it has, so that the budget is a guess; what a tensor may hold is a limit in any case.
 */
function defaultSequences(device: Device, { config, maxModelLen }: Model, cacheBytes: number): number {
  const { layers, kvHeads, headDim, vocabSize } = config;
  const tensorBytes = bytes * maxModelLen * kvHeads * headDim;
  const afforded = Math.floor(cacheBytes / (2 * layers * tensorBytes));
  const wanted = Math.min(most, Math.max(fewest, afforded));
  const fitting = Math.floor(device.maxTensorBytes / Math.max(tensorBytes, bytes * vocabSize));
  return Math.max(1, Math.min(wanted, fitting));
}

/** Sizes of an engine's steps. */
export interface Sizes extends Room {
  readonly maxSequences: number;
  readonly cacheRows: number;
}

function checkCount(field: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`Cannot open an engine with ${field} ${value}: it must be an integer of 1 or more`);
}

/**
 * An engine's sizes by its options.
 *
 * @throws RangeError for an option that is no positive integer.
 */
export function sizesOf(device: Device, model: Model, options: EngineOptions): Sizes {
  const { maxModelLen, config } = model;
  const { maxStepTokens = 256, cacheBytes = defaultCacheBytes[device.kind] } = options;
  checkCount("cacheBytes", cacheBytes);
  const maxSequences = options.maxSequences ?? defaultSequences(device, model, cacheBytes);
  checkCount("maxSequences", maxSequences);
  checkCount("maxStepTokens", maxStepTokens);
  const cacheRows = maxSequences * maxModelLen;
  // Where every sequence but one takes a row, the last one's prompt must still go on.
  const promptRows = Math.ceil(maxStepTokens / 4);
  const maxRows = Math.min(Math.max(maxStepTokens, maxSequences + promptRows), cacheRows);
  const maxOutputs = Math.max(maxSequences, Math.min(maxRows, Math.floor(maxLogits / config.vocabSize)));
  return { maxSequences, cacheRows, maxRows, maxOutputs, maxModelLen, promptRows, usualRows: maxStepTokens };
}
