/**
 * Continuous batching: sequences join and leave at every step, each row with its own adapter.
 *
 * Where a device runs ahead, the next step is submitted before the tokens of the last one are read: its rows take them on
 * the device. A sequence that turns out to have ended at its end-of-text token then has one row too many, whose token is
 * dropped. A sequence with a constraint takes no part in a step before its last token and the mask that follows are known; the
 * others go on.
 *
 * @module
 */
import type { KvCacheDtype } from "../../kernels/caches/mod.ts";
import type { AdapterRegistry } from "../adapters/registry.ts";
import type { Device, Trace } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import { breathe } from "../breathe.ts";
import { isPlain, TokenCounts } from "./adjusting.ts";
import { eventsOf } from "./bursts.ts";
import type { Constraint } from "./constraint.ts";
import type { Engine, EngineStats, GenerateEvent, GenerateRequest } from "./generate.ts";
import { Landing } from "./landing.ts";
import { type CacheCounts, Paging, placeOf } from "./paging.ts";
import { randomSeed, uniforms } from "./random.ts";
import type { MergingMode } from "./merging.ts";
import { Runner } from "./runner.ts";
import { type Capacity, checkRequest, endsOf, maxStopTokenIds } from "./request.ts";
import { type Room, schedule, type Sequence, type Share } from "./schedule.ts";
import type { Scores } from "./scoring.ts";
import { cacheBytesOf, fixedLengthOf, sizesOf } from "./sizes.ts";
import { Telling } from "./telling.ts";
import { Waiting } from "./waiting.ts";

/** How an engine is set up. */
export interface EngineOptions {
  readonly eosTokenIds: readonly number[];
  /**
   * Sequences that run at once at most, as far as the cache has blocks for their tokens. Default 256; fewer where their
   * logits would take more than 256 MiB on a GPU or 64 MiB on a CPU, but at least 16; and fewer where their states would take
   * more than half of `cacheBytes`.
   */
  readonly maxSequences?: number;
  /**
   * Bytes of the key-value cache: 1 GiB by default on a GPU, whose memory cannot be asked for, 256 MiB on a CPU. A token
   * takes 2 * kvHeads * headDim * 4 bytes of each layer with attention, unless `kvCacheDtype` is another than float32. The cache
   * holds one sequence of `maxModelLen` tokens at least, and no more than `maxSequences` of them. Layers with states have
   * theirs of it: so much for each of `maxSequences`.
   */
  readonly cacheBytes?: number;
  /**
   * How the cache holds keys and values; default `float32`. `float16` halves its bytes. `int8` has a factor, 4 bytes, for each
   * head of a token's keys and of its values, beside a byte for each number. States of layers are float32 in any case.
   */
  readonly kvCacheDtype?: KvCacheDtype;
  /** Positions of a block, in which the cache is shared out; default 16. */
  readonly blockSize?: number;
  /**
   * Whether sequences that begin alike share blocks: of one adapter, or none, and one `cacheSalt`. Default true; those of
   * models whose layers carry states share none.
   */
  readonly prefixCaching?: boolean;
  /**
   * Tokens of one step at most: new ones, and chunks of prompts. Default 256. Where many sequences run, prompts have at
   * least a quarter of it, and the step is so much larger.
   */
  readonly maxStepTokens?: number;
  /** Sequences that wait at most; more are refused. Default 1024. */
  readonly maxWaiting?: number;
  /**
   * Whether steps of many rows of one adapter multiply by weights that it is merged into: `auto`, as timed on the device, by
   * default. Its results differ in their rounding, so that `never` gives the same ones at each start.
   */
  readonly merging?: MergingMode;
  /**
   * Bursts of tokens in a second at most, of all sequences together. With n sequences, tokens of one that come within n / this
   * seconds are told together, or within 50 ms; its first token and its end are told at once. So much the less is spent on
   * telling where many run fast. Default: no bound, each token is told when it is there.
   */
  readonly maxBurstsPerSecond?: number;
}

/** A step that was submitted, and its tokens, once it has run. */
interface Flight {
  readonly shares: readonly Share[];
  readonly sampled: Promise<Uint32Array>;
  readonly scores?: Promise<Scores>;
}

/** The numbers of a sequence's draws, after those of the tokens that it resumes from: one each. */
function drawsOf({ sampling, resumeTokenIds }: GenerateRequest): () => number {
  const uniform = uniforms(sampling.seed ?? randomSeed());
  resumeTokenIds?.forEach(uniform);
  return uniform;
}

/** The adapters that sequences name, each once. */
function adaptersOf(sequences: readonly Sequence[]): readonly string[] {
  const asked = sequences.flatMap(({ request: { adapter = [] } }) =>
    typeof adapter === "string" ? [adapter] : adapter.map(({ id }) => id)
  );
  return [...new Set(asked)];
}

/** See the module's documentation. */
export class BatchEngine implements Engine {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  /** How the key-value cache holds keys and values. */
  readonly kvCacheDtype: KvCacheDtype;
  /** Bytes of the key-value cache on the device, without states. */
  readonly cacheBytes: number;
  readonly #runner: Runner;
  readonly #waiting: Waiting;
  readonly #running: Sequence[] = [];
  readonly #landing: Landing;
  readonly #telling: Telling;
  readonly #paging: Paging;
  readonly #maxSequences: number;
  readonly #room: Room;
  readonly #capacity: Capacity;
  /** While sequences run. */
  #looping: Promise<void> | undefined;
  /** Whether something may go on that could not when the loop last looked. */
  #isStirred = false;
  /** Wakes a loop that waits for masks alone. */
  #wakeLoop: () => void = () => {};

  constructor(
    private readonly device: Device,
    model: Model,
    deps: { readonly registry: AdapterRegistry; readonly options: EngineOptions },
  ) {
    const { registry, options } = deps;
    const { eosTokenIds, maxWaiting = 1024, merging, prefixCaching = true, maxBurstsPerSecond } = options;
    // What is refused is refused before the device has memory for the rest.
    this.#telling = new Telling(maxBurstsPerSecond);
    const sizes = sizesOf(device, model, options);
    const { maxSequences, kvCacheDtype, blocks, blockSize, states, ...room } = sizes;
    this.kvCacheDtype = kvCacheDtype;
    this.cacheBytes = cacheBytesOf(model, sizes);
    this.maxModelLen = model.maxModelLen;
    this.vocabSize = model.config.vocabSize;
    this.#maxSequences = maxSequences;
    this.#capacity = { maxModelLen: this.maxModelLen, vocabSize: this.vocabSize, eosTokenIds };
    this.#room = { ...room, rerunBeyond: model.config.rerunBeyond };
    this.#paging = new Paging({
      ...{ blocks, blockSize, prefixCaching, states },
      fixedLength: fixedLengthOf(model),
    });
    this.#waiting = new Waiting({
      registry,
      most: maxWaiting,
      wake: () => {
        this.#start();
        this.#stir();
      },
      fail: (sequence, error) => this.#fail(sequence, error),
    });
    this.#runner = new Runner(device, model, {
      ...room,
      banks: registry.banks,
      own: registry.own,
      ...{ kvCacheDtype, blockSize, cacheRows: blocks * blockSize, states },
      maxForbidden: maxSequences * (maxStopTokenIds + new Set(eosTokenIds).size),
      merging,
    });
    this.#landing = new Landing({
      tell: (sequence) => this.#telling.tell(sequence, this.#running.length),
      advance: (sequence, tokenId) => void this.#advance(sequence, tokenId),
      finish: (sequence) => this.#finish(sequence),
      fail: (sequence, error) => this.#fail(sequence, error),
    });
  }

  /** Sequences running and waiting now. */
  get load(): { readonly running: number; readonly waiting: number } {
    const running = this.#running.filter(({ finished }) => !finished);
    return { running: running.length, waiting: this.#waiting.length };
  }

  stats(): EngineStats {
    const running = this.#running.filter(({ finished }) => !finished);
    const { blocks, usedBlocks } = this.cache;
    return {
      running: running.length,
      waiting: this.#waiting.length,
      maxSequences: this.#maxSequences,
      cacheUsage: usedBlocks / blocks,
      cache: this.cache,
      runningAdapters: adaptersOf(running),
      waitingAdapters: adaptersOf(this.#waiting.sequences),
    };
  }

  /** The key-value cache: its blocks, and how often it spared prompts' work. */
  get cache(): CacheCounts {
    return this.#paging.counts;
  }

  /**
   * Makes ready what steps of every size need of the base model. To be awaited before the first request where a device times
   * kernels at sizes that are new to it: a GPU takes some seconds at its first start. Elsewhere it does nothing.
   */
  async warm(): Promise<void> {
    await this.#runner.warm();
  }

  /**
   * What each launch of the last step took, by running that step again once nothing is generated any more.
   *
   * @throws RangeError when there was none.
   */
  async trace(): Promise<Trace> {
    await this.#looping;
    return await this.#runner.trace();
  }

  generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, void> {
    return eventsOf(this.bursts(request));
  }

  async *bursts(request: GenerateRequest): AsyncGenerator<readonly GenerateEvent[], void, void> {
    checkRequest(request, this.#capacity);
    const { signal } = request;
    signal?.throwIfAborted();
    const sequence = this.#sequenceOf(request);
    const abort = (): void => {
      this.#fail(sequence, signal!.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (request.constraint) await this.#constrain(sequence, request.constraint);
      if (!sequence.finished) this.#waiting.push(sequence);
      this.#start();
      this.#stir();
      for (;;) {
        if (sequence.events.length > 0) {
          const { events } = sequence;
          sequence.events = [];
          yield events;
          continue;
        }
        if (sequence.failure) throw sequence.failure.error;
        if (sequence.finished) return;
        await new Promise<void>((resolve) => sequence.wake = resolve);
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#finish(sequence);
    }
  }

  #sequenceOf(request: GenerateRequest): Sequence {
    return {
      request,
      passed: 0,
      ends: endsOf(request, this.#capacity),
      uniform: drawsOf(request),
      mostNew: Math.min(request.maxTokens, this.maxModelLen - request.promptTokenIds.length),
      tokens: [...request.promptTokenIds, ...request.resumeTokenIds ?? []],
      counts: isPlain(request.sampling) ? undefined : new TokenCounts(request),
      cached: 0,
      blocks: [],
      kept: 0,
      promptLogprobs: request.promptLogprobs ? [null] : [],
      events: [],
      finished: false,
      wake: () => {},
    };
  }

  /** A running one leaves between steps. A step in flight still writes its blocks, before any later step does. */
  #finish(sequence: Sequence): void {
    if (sequence.finished) return;
    sequence.finished = true;
    this.#waiting.remove(sequence);
    sequence.lease?.release();
    sequence.run?.end();
    this.#telling.end(sequence);
    this.#stir();
  }

  /** What has ended has ended: whatever fails after that is not its failure. */
  #fail(sequence: Sequence, error: unknown): void {
    if (sequence.finished) return;
    sequence.failure = { error };
    this.#finish(sequence);
  }

  /** Before it waits for its turn: who runs can sample. */
  async #constrain(sequence: Sequence, constraint: Constraint): Promise<void> {
    const run = await constraint.start(sequence.request.signal);
    if (sequence.finished) {
      run.end();
      return;
    }
    sequence.run = run;
    let mask = run.first;
    for (const tokenId of sequence.request.resumeTokenIds ?? []) {
      mask = await run.accept(tokenId);
      if (sequence.finished) return;
    }
    sequence.mask = mask;
  }

  /** Asks what may come after a token; the sequence rests meanwhile. */
  async #advance(sequence: Sequence, tokenId: number): Promise<void> {
    sequence.mask = undefined;
    try {
      sequence.mask = await sequence.run!.accept(tokenId);
    } catch (error) {
      this.#fail(sequence, error);
    }
    this.#stir();
  }

  #start(): void {
    this.#looping ??= this.#loop();
  }

  /** Tells the loop that something may go on. */
  #stir(): void {
    this.#isStirred = true;
    this.#wakeLoop();
  }

  async #loop(): Promise<void> {
    let flight: Flight | undefined;
    for (;;) {
      await breathe();
      this.#isStirred = false;
      this.#removeFinished();
      this.#admit();
      if (this.#running.length === 0 && !flight) {
        // At once: whoever comes from now on starts anew.
        this.#looping = undefined;
        return;
      }
      try {
        const next = await this.#submit();
        if (flight) await this.#land(flight);
        // Nothing runs: what is there waits for masks.
        else if (!next) await this.#stirred();
        flight = next;
        // Where no device runs ahead, a next step would only wait.
        if (flight && !this.device.runsAhead) {
          await this.#land(flight);
          flight = undefined;
        }
      } catch (error) {
        flight = undefined;
        for (const sequence of this.#running) this.#fail(sequence, error);
        this.#removeFinished();
        this.#paging.forget();
      }
    }
  }

  /** Resolves when a sequence may go on, ends, or comes; at once where one that runs waits for no mask. */
  #stirred(): Promise<void> {
    const waits = ({ run, mask, finished }: Sequence): boolean => !finished && run !== undefined && !mask;
    // Something may have come since the loop looked: its wake-up found nobody who waited.
    if (this.#isStirred || !this.#running.every(waits)) return Promise.resolve();
    return new Promise((resolve) => this.#wakeLoop = resolve);
  }

  #removeFinished(): void {
    for (let i = this.#running.length - 1; i >= 0; i--) {
      const sequence = this.#running[i];
      if (!sequence.finished) continue;
      this.#paging.keep(sequence);
      this.#paging.release(sequence);
      this.#running.splice(i, 1);
    }
  }

  #admit(): void {
    if (this.#waiting.length === 0) return;
    const room = this.#paging.admission(this.#running);
    const running = { sequences: this.#running, total: this.#maxSequences, room };
    const lanes = this.#maxSequences - this.#running.length;
    for (const sequence of this.#waiting.admit(lanes, running)) {
      if (!this.#tellAdmitted(sequence)) continue;
      sequence.salt = this.#paging.saltOf(sequence);
      this.#running.splice(placeOf(sequence, this.#running), 0, sequence);
    }
  }

  /** Tells a sequence's asker that it holds its adapter; whether it may run. */
  #tellAdmitted(sequence: Sequence): boolean {
    try {
      sequence.request.onAdmit?.(sequence.lease?.digest);
      return true;
    } catch (error) {
      this.#fail(sequence, error);
      return false;
    }
  }

  /** Submits the next step; undefined when all sequences wait for tokens of the one before. */
  async #submit(): Promise<Flight | undefined> {
    const { rows, outputs, shares } = schedule(this.#running, { room: this.#room, paging: this.#paging });
    if (rows.length === 0) return undefined;
    const { sampled, scores } = await this.#runner.submit(rows, outputs);
    for (const share of shares) {
      // One that ended meanwhile let its adapter go: the step may have run with another in its place.
      if (share.sequence.finished) continue;
      share.sequence.cached += share.count;
      share.sequence.flying = share.samples ? share : undefined;
      this.#paging.keep(share.sequence);
    }
    return { shares, sampled, scores };
  }

  /** Gives a step's tokens to its sequences. */
  async #land({ shares, sampled, scores }: Flight): Promise<void> {
    const tokens = await sampled, known = await scores;
    // In one turn: the tokens of all its sequences are there at once.
    for (const share of shares) this.#landing.take(share, tokens, known);
  }
}
