/**
 * Continuous batching: sequences join and leave at every step, each row with its own adapter.
 *
 * Where a device runs ahead, the next step is submitted before the tokens of the last one are read: its rows take them on
 * the device. A sequence that turns out to have ended at its end-of-text token then has one row too many, whose token is
 * dropped. Steps whose logits are read are waited for.
 *
 * @module
 */
import type { AdapterRegistry } from "../adapters/registry.ts";
import type { Device, Trace } from "../device/device.ts";
import { OverloadedError } from "../errors.ts";
import type { LlamaModel } from "../models/llama.ts";
import { breathe } from "../breathe.ts";
import type { Engine, GenerateEvent, GenerateRequest } from "./generate.ts";
import { logprobsOf } from "./logprobs.ts";
import { randomSeed, uniforms } from "./random.ts";
import type { MergingMode } from "./merging.ts";
import { Runner } from "./runner.ts";
import { type Room, schedule, type Sequence, type Share } from "./schedule.ts";

/** How an engine is set up. */
export interface EngineOptions {
  readonly eosTokenIds: readonly number[];
  /** Sequences that run at once; each has a cache of the model's whole length. Default 16. */
  readonly maxSequences?: number;
  /** Tokens of one step at most: new ones, and chunks of prompts. Default 256. */
  readonly maxStepTokens?: number;
  /** Sequences that wait at most; more are refused. Default 1024. */
  readonly maxWaiting?: number;
  /**
   * Whether steps of many rows of one adapter multiply by weights that it is merged into: `auto`, as timed on the device, by
   * default. Its results differ in their rounding, so that `never` gives the same ones at each start.
   */
  readonly merging?: MergingMode;
}

/** Float32 logits a step may hold. */
const maxLogits = 2 ** 24;

/** A step that was submitted, and its tokens, once it has run. */
interface Flight {
  readonly shares: readonly Share[];
  readonly sampled: Promise<Uint32Array>;
}

/** See the module's documentation. */
export class BatchEngine implements Engine {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly #runner: Runner;
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #freeLanes: number[];
  readonly #room: Room;
  readonly #maxWaiting: number;
  readonly #eos: ReadonlySet<number>;
  /** While sequences run. */
  #looping: Promise<void> | undefined;

  constructor(
    private readonly device: Device,
    model: LlamaModel,
    private readonly deps: { readonly registry: AdapterRegistry; readonly options: EngineOptions },
  ) {
    const { eosTokenIds, maxSequences = 16, maxStepTokens = 256, maxWaiting = 1024, merging } = deps.options;
    this.maxModelLen = model.maxModelLen;
    this.vocabSize = model.config.vocabSize;
    this.#eos = new Set(eosTokenIds);
    this.#maxWaiting = maxWaiting;
    const cacheRows = maxSequences * model.maxModelLen;
    const maxRows = Math.min(Math.max(maxStepTokens, maxSequences), cacheRows);
    const maxOutputs = Math.max(maxSequences, Math.min(maxRows, Math.floor(maxLogits / this.vocabSize)));
    this.#room = { maxRows, maxOutputs, maxModelLen: this.maxModelLen };
    this.#freeLanes = Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
    this.#runner = new Runner(device, model, {
      banks: deps.registry.banks,
      maxRows,
      maxOutputs,
      cacheRows,
      merging,
    });
  }

  /** Sequences running and waiting now. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running.length, waiting: this.#waiting.length };
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

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, void> {
    this.#check(request);
    request.signal?.throwIfAborted();
    const lease = request.adapter === undefined
      ? undefined
      : await this.deps.registry.acquire(request.adapter);
    const sequence: Sequence = {
      request,
      lease,
      uniform: uniforms(request.sampling.seed ?? randomSeed()),
      mostNew: Math.min(request.maxTokens, this.maxModelLen - request.promptTokenIds.length),
      tokens: [...request.promptTokenIds],
      cached: 0,
      lane: -1,
      promptLogprobs: request.promptLogprobs ? [null] : [],
      events: [],
      finished: false,
      wake: () => {},
    };
    const abort = (): void => {
      this.#fail(sequence, request.signal!.reason);
    };
    request.signal?.addEventListener("abort", abort, { once: true });
    try {
      this.#waiting.push(sequence);
      this.#start();
      yield* this.#drain(sequence);
    } finally {
      request.signal?.removeEventListener("abort", abort);
      this.#finish(sequence);
      lease?.release();
    }
  }

  #check({ promptTokenIds, maxTokens }: GenerateRequest): void {
    if (promptTokenIds.length === 0) {
      throw new RangeError("Cannot generate from an empty prompt: it needs at least one token");
    }
    if (!Number.isInteger(maxTokens) || maxTokens < 0) {
      throw new RangeError(`Cannot generate ${maxTokens} tokens: the count must be an integer of 0 or more`);
    }
    if (promptTokenIds.length > this.maxModelLen) {
      throw new RangeError(
        `Cannot generate from ${promptTokenIds.length} tokens: the context holds ${this.maxModelLen}`,
      );
    }
    const bad = promptTokenIds.find((id) => !Number.isInteger(id) || id < 0 || id >= this.vocabSize);
    if (bad !== undefined) {
      throw new RangeError(`Cannot use token id ${bad}: ids are integers in 0..${this.vocabSize - 1}`);
    }
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new OverloadedError(`Cannot queue another sequence: ${this.#waiting.length} are waiting already`);
    }
  }

  async *#drain(sequence: Sequence): AsyncGenerator<GenerateEvent, void, void> {
    for (;;) {
      while (sequence.events.length > 0) yield sequence.events.shift()!;
      if (sequence.failure) throw sequence.failure.error;
      if (sequence.finished) return;
      await new Promise<void>((resolve) => sequence.wake = resolve);
    }
  }

  #finish(sequence: Sequence): void {
    if (!sequence.finished) {
      sequence.finished = true;
      if (sequence.lane < 0) this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
      // A running one leaves between steps. A step in flight still writes its lane, before any later step does.
    }
    sequence.wake();
  }

  #fail(sequence: Sequence, error: unknown): void {
    sequence.failure ??= { error };
    this.#finish(sequence);
  }

  #start(): void {
    if (this.#looping) return;
    this.#looping = this.#loop().finally(() => this.#looping = undefined);
  }

  async #loop(): Promise<void> {
    let flight: Flight | undefined;
    for (;;) {
      await breathe();
      this.#removeFinished();
      this.#admit();
      if (this.#running.length === 0 && !flight) return;
      try {
        const next = await this.#submit();
        if (flight) await this.#land(flight);
        flight = next;
        if (flight && !this.#mayStayUp(flight)) {
          await this.#land(flight);
          flight = undefined;
        }
      } catch (error) {
        flight = undefined;
        for (const sequence of this.#running) this.#fail(sequence, error);
      }
    }
  }

  /** Whether the next step may be submitted before this one's results are read: it overwrites the logits. */
  #mayStayUp({ shares }: Flight): boolean {
    const readsLogits = shares.some(({ sequence: { request } }) =>
      request.logprobs !== undefined || request.promptLogprobs
    );
    return this.device.runsAhead && !readsLogits;
  }

  #removeFinished(): void {
    for (let i = this.#running.length - 1; i >= 0; i--) {
      if (!this.#running[i].finished) continue;
      this.#freeLanes.push(this.#running[i].lane);
      this.#running.splice(i, 1);
    }
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#freeLanes.length > 0) {
      const sequence = this.#waiting.shift()!;
      sequence.lane = this.#freeLanes.pop()!;
      this.#running.push(sequence);
    }
  }

  /** Submits the next step; undefined when all sequences wait for tokens of the one before. */
  async #submit(): Promise<Flight | undefined> {
    const { rows, outputs, shares } = schedule(this.#running, this.#room);
    if (rows.length === 0) return undefined;
    const { sampled } = await this.#runner.submit(rows, outputs);
    for (const share of shares) {
      share.sequence.cached += share.count;
      share.sequence.flying = share.samples ? share : undefined;
    }
    return { shares, sampled };
  }

  /** Gives a step's tokens to its sequences. */
  async #land({ shares, sampled }: Flight): Promise<void> {
    const tokens = await sampled;
    for (const share of shares) await this.#take(share, tokens);
  }

  async #take(share: Share, sampled: Uint32Array): Promise<void> {
    const { sequence, begin, firstOutput, outputs, samples } = share;
    const { request, tokens, mostNew } = sequence;
    if (sequence.flying === share) sequence.flying = undefined;
    if (sequence.finished) return;
    if (request.promptLogprobs && begin < request.promptTokenIds.length) await this.#scorePrompt(share);
    if (!samples) return;
    if (tokens.length === request.promptTokenIds.length && request.promptLogprobs) {
      sequence.events.push({ kind: "prompt", logprobs: sequence.promptLogprobs });
    }
    if (mostNew === 0) return this.#end(sequence, "length");
    const last = firstOutput + outputs - 1;
    const tokenId = sampled[last];
    if (this.#eos.has(tokenId)) return this.#end(sequence, "stop");
    const logprobs = request.logprobs === undefined
      ? undefined
      : logprobsOf(await this.#runner.logits(last), tokenId, request.logprobs);
    tokens.push(tokenId);
    sequence.events.push({ kind: "token", tokenId, logprobs });
    if (tokens.length - request.promptTokenIds.length >= mostNew) this.#end(sequence, "length");
    else sequence.wake();
  }

  /** Each output of a prompt's chunk scores the token that follows it. */
  async #scorePrompt({ sequence, begin, count, firstOutput }: Share): Promise<void> {
    const { promptTokenIds, logprobs = 0 } = sequence.request;
    for (let i = 0; i < count && begin + i + 1 < promptTokenIds.length; i++) {
      const logits = await this.#runner.logits(firstOutput + i);
      sequence.promptLogprobs.push(logprobsOf(logits, promptTokenIds[begin + i + 1], logprobs));
    }
  }

  #end(sequence: Sequence, finishReason: "stop" | "length"): void {
    sequence.events.push({ kind: "end", finishReason });
    this.#finish(sequence);
  }
}
