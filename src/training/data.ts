/**
 * Training data: files of documents to batches of rows.
 *
 * @module
 */
import { type Batcher, batcher, type BatchSizes, type TrainingBatch } from "./batch.ts";
import { type Corpus, selectDocuments, withSharedEnds } from "./corpus.ts";
import { type DocumentOptions, readDocuments } from "./documents.ts";
import { encodeDocuments, type Encoder } from "./encode.ts";
import type { ByteStream } from "./lines.ts";
import { pack, type Packing, type Piece } from "./packing.ts";
import { shuffled } from "./shuffle.ts";

export { noTarget, type TrainingBatch } from "./batch.ts";
export { type DataFormat, formatOf, type LossOn } from "./documents.ts";
export { type ByteStream, streamOf } from "./lines.ts";
export type { Packing } from "./packing.ts";

/** A file to train on or to evaluate with. */
export interface DataFile extends Pick<DocumentOptions, "format"> {
  readonly bytes: ByteStream;
}

/** How training data is read and laid out. */
export interface TrainingDataOptions extends BatchSizes, Pick<DocumentOptions, "lossOn"> {
  readonly tokenizer: Encoder & DocumentOptions["tokenizer"];
  /** Default `concatenate`. */
  readonly packing?: Packing;
  /** Decides the order of sequences and which documents are held out: a whole number, 0 by default. */
  readonly seed?: number;
  /** What is kept for evaluation: a fraction of the documents above 0 and below 1, or a file; nothing by default. */
  readonly heldOut?: number | DataFile;
  /** The model's number of embeddings, where tokens are to be checked against it. */
  readonly vocabSize?: number;
}

/** How much there is of something. */
export interface DataCounts {
  readonly documents: number;
  /** With the tokens that begin and end documents. */
  readonly tokens: number;
  /** Those without a token that the loss is on are left out. */
  readonly sequences: number;
}

/** Training and evaluation batches of `batchSize` sequences of `contextLength` rows. */
export interface TrainingSet {
  readonly training: DataCounts;
  readonly heldOut: DataCounts;
  /** Steps that see every training sequence once, the last one perhaps also some for a second time. */
  readonly stepsPerEpoch: number;
  /**
   * The batch of a step from 0 on: sequences in an order that is another each epoch. It depends on the data, the options
   * and the step alone.
   */
  batch(step: number): TrainingBatch;
  readonly heldOutBatches: number;
  /** Batch `index` below `heldOutBatches`: sequences in the data's order; the last batch is filled up with rows without targets. */
  heldOutBatch(index: number): TrainingBatch;
}

function checkOptions({ contextLength, batchSize, seed = 0, heldOut = 0 }: TrainingDataOptions): void {
  for (const [name, value] of Object.entries({ contextLength, batchSize })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new RangeError(`Cannot use ${name} ${value}: it must be a whole number of 1 or more`);
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot use seed ${seed}: it must be a whole number from 0 to 2^53 - 1`);
  }
  if (typeof heldOut === "number" && !(heldOut >= 0 && heldOut < 1)) {
    throw new RangeError(`Cannot hold out ${heldOut} of the documents: it must be 0 or more and below 1`);
  }
}

async function readCorpus(
  { bytes, format }: DataFile,
  { tokenizer, lossOn, vocabSize = Infinity }: TrainingDataOptions,
): Promise<Corpus> {
  const corpus = await encodeDocuments(readDocuments(bytes, { format, lossOn, tokenizer }), tokenizer);
  if (corpus.ends.length === 0) throw new SyntaxError("Cannot find a document: the data is empty");
  const unknown = corpus.tokens.find((token) => token >= vocabSize);
  if (unknown === undefined) return corpus;
  throw new RangeError(`Cannot use token ${unknown} of the tokenizer: the model has ${vocabSize} embeddings`);
}

/** Which documents are trained on and which held out, both in the data's order; at least one each. */
function divide(
  documents: number,
  { seed, fraction }: { seed: number; fraction: number },
): { training: number[]; heldOut: number[] } {
  if (documents < 2) {
    throw new RangeError(
      "Cannot hold out documents: the data is one document; part it by form feeds or <|endoftext|>, or use JSON lines",
    );
  }
  const count = Math.min(documents - 1, Math.max(1, Math.round(fraction * documents)));
  const isHeldOut = new Set(shuffled(documents, { seed, round: -1 }).subarray(0, count));
  const training: number[] = [], heldOut: number[] = [];
  for (let i = 0; i < documents; i++) (isHeldOut.has(i) ? heldOut : training).push(i);
  return { training, heldOut };
}

/** Whether the loss is on a token that the piece predicts. */
function hasTarget({ isTarget }: Corpus, { begin, end, limit }: Piece): boolean {
  return isTarget.subarray(begin + 1, Math.min(end + 1, limit)).includes(1);
}

function batches(all: Corpus, options: TrainingDataOptions): { counts: DataCounts; batcher: Batcher } {
  const { packing = "concatenate", contextLength } = options;
  const corpus = packing === "concatenate" ? withSharedEnds(all) : all;
  const sequences = pack(corpus, { packing, contextLength }).filter((sequence) =>
    sequence.some((piece) => hasTarget(corpus, piece))
  );
  return {
    counts: { documents: corpus.ends.length, tokens: corpus.tokens.length, sequences: sequences.length },
    batcher: batcher({ corpus, sequences }, options),
  };
}

/** Batches to evaluate with, and how much there is in them. */
export interface EvaluationSet {
  readonly counts: DataCounts;
  readonly batchCount: number;
  /** Sequences in the data's order; the last batch is filled up with rows without targets. */
  batches(): Iterable<TrainingBatch>;
}

/**
 * Reads a file to evaluate with, laid out as {@linkcode readTrainingSet} lays out held-out documents.
 *
 * @throws as {@linkcode readTrainingSet}; data may be shorter than a sequence.
 */
export async function readEvaluationSet(
  file: DataFile,
  options: Omit<TrainingDataOptions, "seed" | "heldOut">,
): Promise<EvaluationSet> {
  checkOptions(options);
  const { counts, batcher } = batches(await readCorpus(file, options), options);
  checkTargets("evaluate", counts);
  const batchCount = Math.ceil(counts.sequences / options.batchSize);
  return {
    counts,
    batchCount,
    *batches() {
      for (let i = 0; i < batchCount; i++) yield batcher((place) => i * options.batchSize + place);
    },
  };
}

const nothing: Corpus = { tokens: new Uint32Array(), isTarget: new Uint8Array(), ends: [] };

async function readBoth(file: DataFile, options: TrainingDataOptions): Promise<[Corpus, Corpus]> {
  const { heldOut = 0, seed = 0 } = options;
  const corpus = await readCorpus(file, options);
  if (typeof heldOut !== "number") return [corpus, await readCorpus(heldOut, options)];
  if (heldOut === 0) return [corpus, nothing];
  const documents = divide(corpus.ends.length, { seed, fraction: heldOut });
  return [selectDocuments(corpus, documents.training), selectDocuments(corpus, documents.heldOut)];
}

/** The order of sequences in an epoch; that of the last epoch asked for is kept. */
function epochOrders(count: number, seed: number): (epoch: number) => Uint32Array {
  let kept: { epoch: number; order: Uint32Array } = { epoch: -1, order: new Uint32Array() };
  return (epoch) => {
    if (kept.epoch !== epoch) kept = { epoch, order: shuffled(count, { seed, round: epoch }) };
    return kept.order;
  };
}

/**
 * Reads a file, encodes its documents, packs them into sequences and returns their batches.
 *
 * All tokens stay in memory, 5 bytes each. A target is the token that follows, except at the end of what attends to
 * itself alone where the data ends or, in `documents`, the document. Sequences without a target are left out.
 *
 * @throws SyntaxError for broken or empty data (with the byte or the line); RangeError for sizes, for data that does
 * not fill one sequence, and for data without a target; ConfigError for a model without an end token or a chat template.
 */
export async function readTrainingSet(file: DataFile, options: TrainingDataOptions): Promise<TrainingSet> {
  checkOptions(options);
  const { contextLength, batchSize, seed = 0 } = options;
  const [trainingCorpus, heldOutCorpus] = await readBoth(file, options);
  const training = batches(trainingCorpus, options);
  const heldOut = batches(heldOutCorpus, options);
  const { documents, tokens, sequences } = training.counts;
  if (tokens < contextLength) {
    throw new RangeError(
      `Cannot fill a sequence of ${contextLength} tokens: the data has ${tokens} tokens in ${documents} document${
        documents === 1 ? "" : "s"
      }`,
    );
  }
  checkTargets("train", training.counts);
  checkTargets("evaluate", heldOut.counts);
  const orderOf = epochOrders(sequences, seed);
  const heldOutBatches = Math.ceil(heldOut.counts.sequences / batchSize);
  return {
    training: training.counts,
    heldOut: heldOut.counts,
    stepsPerEpoch: Math.ceil(sequences / batchSize),
    batch(step) {
      checkIndex("step", step, Infinity);
      return training.batcher((place) => {
        const at = step * batchSize + place;
        return orderOf(Math.floor(at / sequences))[at % sequences];
      });
    },
    heldOutBatches,
    heldOutBatch(index) {
      checkIndex("held-out batch", index, heldOutBatches);
      return heldOut.batcher((place) => index * batchSize + place);
    },
  };
}

function checkTargets(purpose: string, { documents, tokens, sequences }: DataCounts): void {
  if (documents === 0 || sequences > 0) return;
  throw new RangeError(
    `Cannot ${purpose} on ${documents} document${
      documents === 1 ? "" : "s"
    } of ${tokens} tokens: the loss is on none of the tokens they predict`,
  );
}

function checkIndex(name: string, index: number, count: number): void {
  if (Number.isSafeInteger(index) && index >= 0 && index < count) return;
  throw new RangeError(`Cannot make ${name} ${index}: it must be a whole number from 0 to below ${count}`);
}
