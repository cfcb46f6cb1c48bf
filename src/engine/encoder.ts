/**
 * Encodes sequences of many requests together, each with its own adapter: hidden states, embeddings, scores of labels.
 *
 * Whole sequences stand side by side in a batch, so that lengths may differ at no cost. Requests are taken in their order; a
 * batch ends where the next one has no room.
 *
 * @module
 */
import type { AdapterRegistry, Lease } from "../adapters/registry.ts";
import type { Device } from "../device/device.ts";
import { ConfigError, NonFiniteError, OverloadedError } from "../errors.ts";
import type { EncoderModel } from "../models/model.ts";
import type { Pooling } from "../models/pooling_config.ts";
import { type HostTensor, tensor } from "../tensor.ts";
import { type Classifier, type ClassifierParameters, Classifiers } from "./classifiers.ts";
import type { EncodeSequence } from "./encode_inputs.ts";
import { EncodeRunner } from "./encode_runner.ts";
import type { EncodeRequest } from "./encode_request.ts";
import type { EncodingService } from "./encoding.ts";
import { sequenceOf } from "./encoder_input.ts";
import { meanOf } from "./pooling.ts";

export type { Pooling } from "../models/pooling_config.ts";
export type { EncodeRequest, EncoderInput, EncoderOutput } from "./encode_request.ts";
export type { EncodingService } from "./encoding.ts";

/** How an encoder is set up. */
export interface EncoderOptions {
  /** Rows (tokens or patches) of a batch at most; default 512, or the longest sequence if that is more. */
  readonly maxBatchRows?: number;
  /** Sequences of a batch at most; default 64. */
  readonly maxBatchSequences?: number;
  /** Sequences that wait at most, unless one call has more and nothing else waits; default 4096. */
  readonly maxWaiting?: number;
  /** Bytes of classifiers on the device at most; default 256 MiB. */
  readonly classifierBytes?: number;
}

/** A request that waits. */
interface Waiting {
  readonly request: EncodeRequest;
  readonly sequence: EncodeSequence;
  readonly resolve: (result: HostTensor) => void;
  readonly reject: (error: unknown) => void;
  /** Whether it was answered, or given up. */
  done: boolean;
}

/** A request in a batch. */
interface Taken {
  readonly waiting: Waiting;
  readonly lease?: Lease;
  readonly classifier?: Classifier;
}

function checkCount(field: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new RangeError(`Cannot open an encoder with ${field} ${value}: it must be an integer of 1 or more`);
}

/** See the module's documentation. */
export class Encoder implements EncodingService {
  readonly #runner: EncodeRunner;
  readonly #classifiers: Classifiers;
  readonly #maxRows: number;
  readonly #maxSequences: number;
  readonly #maxWaiting: number;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly device: Device,
    readonly model: EncoderModel,
    private readonly setup: {
      readonly registry: AdapterRegistry;
      readonly classifier: ClassifierParameters;
      readonly pooling: Pooling;
      readonly options?: EncoderOptions;
    },
  ) {
    const { registry, options = {}, classifier } = setup, { config, maxModelLen } = model;
    const maxRows = checkCount("maxBatchRows", options.maxBatchRows ?? 512);
    this.#maxRows = Math.max(maxRows, maxModelLen);
    this.#maxSequences = Math.min(
      checkCount("maxBatchSequences", options.maxBatchSequences ?? 64),
      this.#maxRows,
    );
    this.#maxWaiting = checkCount("maxWaiting", options.maxWaiting ?? 4096);
    const maxOutputs = this.#maxSequences;
    this.#runner = new EncodeRunner(device, model, {
      ...{ banks: registry.banks, own: registry.own, maxRows: this.#maxRows, maxOutputs },
    });
    this.#classifiers = new Classifiers(device, {
      linears: config.encoder.classifier,
      hiddenSize: config.hiddenSize,
      pooled: this.#runner.state.pooled,
      maxOutputs,
      maxBytes: checkCount("classifierBytes", options.classifierBytes ?? 2 ** 28),
      base: classifier,
    });
  }

  /** How embeddings are made. */
  get pooling(): Pooling {
    return this.setup.pooling;
  }

  get maxModelLen(): number {
    return this.model.maxModelLen;
  }

  get vocabSize(): number {
    return this.model.config.vocabSize;
  }

  get hiddenSize(): number {
    return this.model.config.hiddenSize;
  }

  get labels(): readonly string[] {
    return this.setup.classifier.size > 0 ? this.model.config.encoder.labels : [];
  }

  get problem(): EncodingService["problem"] {
    return this.model.config.encoder.problem;
  }

  /**
   * How many labels an adapter's classifier has, or the folder's where it brings none; 0 where there is none.
   *
   * @throws NotFoundError; ConfigError for a broken adapter.
   */
  async labelCount(adapter?: string): Promise<number> {
    const { classifier } = this.model.config.encoder;
    const name = `${classifier.at(-1)!.path}.weight`;
    const own = adapter === undefined
      ? undefined
      : (await this.setup.registry.load(adapter)).replacements.get(name);
    return own?.kind === "whole" ? own.data.shape[0] : this.labels.length;
  }

  /**
   * The labels of an adapter's own classifier, where its `labels.json` names them; else undefined.
   *
   * @throws NotFoundError; ConfigError for a broken adapter, and for names that are more or fewer than its labels.
   */
  async labelsOf(adapter?: string): Promise<readonly string[] | undefined> {
    if (adapter === undefined) return undefined;
    const { labels, replacements } = await this.setup.registry.load(adapter);
    const own = replacements.get(`${this.model.config.encoder.classifier.at(-1)!.path}.weight`);
    if (!labels || own?.kind !== "whole") return undefined;
    const [count] = own.data.shape;
    if (labels.length === count) return labels;
    throw new ConfigError(
      `Cannot use labels.json of adapter ${
        JSON.stringify(adapter)
      }: it has ${labels.length} names, the classifier ${count} labels`,
    );
  }

  /**
   * Encodes sequences; results are in the requests' order. Aborting the signal gives up what has not begun.
   *
   * @throws RangeError for an input that the model cannot take; NotFoundError and ConfigError for adapters and classifiers;
   * OverloadedError where adapters in use take all slots; NonFiniteError where numbers overflow; the signal's reason.
   */
  async encode(
    requests: readonly EncodeRequest[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<HostTensor[]> {
    signal?.throwIfAborted();
    if (this.#closed) throw new TypeError("Cannot encode: the encoder was released");
    const sequences = requests.map(({ input }) => sequenceOf(this.model, input));
    if (this.#waiting.length > 0 && this.#waiting.length + requests.length > this.#maxWaiting) {
      throw new OverloadedError(
        `Cannot encode ${requests.length} sequences: ${this.#waiting.length} wait already`,
      );
    }
    const own: Waiting[] = [];
    const results = requests.map((request, i) =>
      new Promise<HostTensor>((resolve, reject) => {
        own.push({ request, sequence: sequences[i], resolve, reject, done: false });
      })
    );
    const giveUp = (reason: unknown): void => {
      for (const one of own) this.#fail(one, reason);
    };
    const onAbort = (): void => giveUp(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.push(...own);
    this.#running ??= this.#run();
    try {
      return await Promise.all(results);
    } catch (error) {
      // One failed request fails the call: nobody waits for the others.
      giveUp(error);
      await Promise.allSettled(results);
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #fail(waiting: Waiting, error: unknown): void {
    if (waiting.done) return;
    waiting.done = true;
    waiting.reject(error);
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = await this.#gather();
      try {
        if (batch.length > 0) await this.#encode(batch);
      } catch (error) {
        for (const { waiting } of batch) this.#fail(waiting, error);
      } finally {
        for (const lease of new Set(batch.map(({ lease }) => lease))) lease?.release();
      }
    }
    this.#running = undefined;
  }

  /** Takes requests for a batch, in order, and holds their adapters. */
  async #gather(): Promise<Taken[]> {
    const batch: Taken[] = [], held = new Map<string, Lease>();
    let rows = 0;
    while (this.#waiting.length > 0 && batch.length < this.#maxSequences) {
      const [waiting] = this.#waiting;
      const count = waiting.sequence.tokens.length;
      if (!waiting.done && rows + count > this.#maxRows) break;
      const taken = waiting.done ? undefined : await this.#take(waiting, batch, held);
      if (taken === "full") break;
      this.#waiting.shift();
      if (!taken || waiting.done) continue;
      batch.push(taken);
      rows += count;
    }
    const used = new Set(batch.map(({ lease }) => lease));
    for (const lease of held.values()) if (!used.has(lease)) lease.release();
    return batch;
  }

  /** Holds a request's adapter and classifier; undefined where that failed, and the request with it. */
  async #take(
    waiting: Waiting,
    batch: readonly Taken[],
    held: Map<string, Lease>,
  ): Promise<Taken | "full" | undefined> {
    const { request: { adapter: id, output } } = waiting;
    try {
      const lease = id === undefined ? undefined : held.get(id) ?? await this.setup.registry.acquire(id);
      if (lease) held.set(id!, lease);
      if (output !== "logits") return { waiting, lease };
      const classifier = await this.#classifierOf(lease, batch);
      return classifier ? { waiting, lease, classifier } : "full";
    } catch (error) {
      if (error instanceof OverloadedError && batch.length > 0) return "full";
      this.#fail(waiting, error);
      return undefined;
    } finally {
      // What was held for nothing leaves its slot to the next one.
      const lease = id === undefined ? undefined : held.get(id);
      if (lease && waiting.done && batch.every((taken) => taken.lease !== lease)) {
        held.delete(id!);
        lease.release();
      }
    }
  }

  /** The classifier of an adapter, of the same version of its files; undefined while those of the batch take the room. */
  async #classifierOf(lease: Lease | undefined, batch: readonly Taken[]): Promise<Classifier | undefined> {
    const taken = new Set(batch.flatMap(({ classifier }) => classifier?.key ?? []));
    const known = this.#classifiers.find(lease?.digest);
    if (known) return known;
    const adapter = lease && await this.setup.registry.load(lease.id);
    if (adapter?.digest !== lease?.digest) {
      throw new OverloadedError(`Cannot use adapter "${lease!.id}" now: its files have just changed`);
    }
    return this.#classifiers.place(adapter, taken);
  }

  async #encode(batch: readonly Taken[]): Promise<void> {
    await this.#runner.submit(
      batch.map(({ waiting: { sequence }, lease }) => ({ ...sequence, adapter: lease, own: lease?.own })),
    );
    const results = new Map<Waiting, HostTensor>();
    await Promise.all([this.#readStates(batch, results), this.#readLogits(batch, results)]);
    for (const { waiting } of batch) {
      const result = results.get(waiting)!, { adapter } = waiting.request;
      if (!result.data.every(Number.isFinite)) {
        const who = adapter === undefined ? "the base model" : `adapter "${adapter}"`;
        this.#fail(waiting, new NonFiniteError(`Cannot encode with ${who}: its numbers overflow`));
      } else if (!waiting.done) {
        waiting.done = true;
        waiting.resolve(result);
      }
    }
  }

  async #readStates(batch: readonly Taken[], results: Map<Waiting, HostTensor>): Promise<void> {
    if (batch.every(({ classifier }) => classifier)) return;
    const { hiddenSize: width } = this.model.config, { mode, normalize } = this.pooling;
    const rows = batch.reduce((sum, { waiting }) => sum + waiting.sequence.tokens.length, 0);
    const range = { at: 0, count: rows * width };
    const all = await this.device.read(this.#runner.state.hidden, range) as Float32Array;
    let row = 0;
    for (const { waiting } of batch) {
      const count = waiting.sequence.tokens.length, { output } = waiting.request;
      const states = all.slice(row * width, (row + count) * width);
      row += count;
      if (output === "hidden") results.set(waiting, tensor(states, [count, width]));
      if (output === "embedding") {
        const seen = mode === "cls" ? states.subarray(0, width) : states;
        results.set(waiting, tensor(meanOf(seen, width, normalize), [width]));
      }
    }
  }

  async #readLogits(batch: readonly Taken[], results: Map<Waiting, HostTensor>): Promise<void> {
    const users = new Map<Classifier, number[]>();
    batch.forEach(({ classifier }, i) => {
      if (classifier) users.set(classifier, [...users.get(classifier) ?? [], i]);
    });
    for (const [classifier, sequences] of users) {
      const { labels } = classifier, logits = await this.#classifiers.run(classifier, sequences);
      sequences.forEach((sequence, i) => {
        results.set(batch[sequence].waiting, tensor(logits.slice(i * labels, (i + 1) * labels), [labels]));
      });
    }
  }

  /** Frees what it works in, once what has begun is done; the model's weights and the adapters stay. */
  async release(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#waiting) {
      this.#fail(waiting, new TypeError("Cannot encode: the encoder was released"));
    }
    await this.#running;
    this.#runner.release();
    this.#classifiers.release();
  }
}
