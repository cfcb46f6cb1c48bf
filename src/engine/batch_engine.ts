/**
 * Continuous batching: sequences join and leave at every step, each row with its own adapter.
 *
 * @module
 */
import type { AdapterRegistry, Lease } from "../adapters/registry.ts";
import type { Device, Trace } from "../device/device.ts";
import { OverloadedError } from "../errors.ts";
import type { LlamaModel } from "../models/llama.ts";
import { breathe } from "./breathe.ts";
import type { Engine, GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import { logprobsOf } from "./logprobs.ts";
import { randomSeed, uniforms } from "./random.ts";
import { Runner } from "./runner.ts";
import type { Output, Row } from "./step_inputs.ts";

/** How an engine is set up. */
export interface EngineOptions {
  readonly eosTokenIds: readonly number[];
  /** Sequences that run at once; each has a cache of the model's whole length. Default 16. */
  readonly maxSequences?: number;
  /** Tokens of one step at most: new ones, and chunks of prompts. Default 256. */
  readonly maxStepTokens?: number;
  /** Sequences that wait at most; more are refused. Default 1024. */
  readonly maxWaiting?: number;
}

/** Float32 logits a step may hold. */
const maxLogits = 2 ** 24;

/** A running or waiting sequence. */
interface Sequence {
  readonly request: GenerateRequest;
  readonly lease?: Lease;
  readonly uniform: () => number;
  /** Prompt and new tokens. */
  readonly tokens: number[];
  /** Tokens already in the cache. */
  cached: number;
  /** Cache lane; -1 while waiting. */
  lane: number;
  readonly promptLogprobs: (TokenLogprobs | null)[];
  readonly events: GenerateEvent[];
  failure?: { readonly error: unknown };
  finished: boolean;
  wake: () => void;
}

/** What a step computes for one sequence. */
interface Share {
  readonly sequence: Sequence;
  /** Tokens fed in this step. */
  readonly count: number;
  /** Outputs in this step: index of the first, and how many. */
  readonly firstOutput: number;
  readonly outputs: number;
  /** Whether the last output is the prompt's end or a new token's: then a token is taken. */
  readonly samples: boolean;
}

/** See the module's documentation. */
export class BatchEngine implements Engine {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly #runner: Runner;
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #freeLanes: number[];
  readonly #maxRows: number;
  readonly #maxOutputs: number;
  readonly #maxWaiting: number;
  readonly #eos: ReadonlySet<number>;
  /** While sequences run. */
  #looping: Promise<void> | undefined;

  constructor(
    device: Device,
    model: LlamaModel,
    private readonly deps: { readonly registry: AdapterRegistry; readonly options: EngineOptions },
  ) {
    const { eosTokenIds, maxSequences = 16, maxStepTokens = 256, maxWaiting = 1024 } = deps.options;
    this.maxModelLen = model.maxModelLen;
    this.vocabSize = model.config.vocabSize;
    this.#eos = new Set(eosTokenIds);
    this.#maxWaiting = maxWaiting;
    this.#maxRows = Math.max(maxStepTokens, maxSequences);
    this.#maxOutputs = Math.max(
      maxSequences,
      Math.min(this.#maxRows, Math.floor(maxLogits / this.vocabSize)),
    );
    this.#freeLanes = Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
    this.#runner = new Runner(device, model, {
      banks: deps.registry.banks,
      maxRows: this.#maxRows,
      maxOutputs: this.#maxOutputs,
      cacheRows: maxSequences * model.maxModelLen,
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
      // A running one leaves between steps: the step in flight still writes its lane.
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
    for (;;) {
      await breathe();
      this.#removeFinished();
      this.#admit();
      if (this.#running.length === 0) return;
      try {
        await this.#step();
      } catch (error) {
        for (const sequence of this.#running) this.#fail(sequence, error);
      }
    }
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

  async #step(): Promise<void> {
    const rows: Row[] = [];
    const outputs: Output[] = [];
    const shares: Share[] = [];
    // Sequences that only need their next token come first: they take one row each, and there is room for all.
    const byNeed = this.#running.toSorted((a, b) =>
      (a.tokens.length - a.cached) - (b.tokens.length - b.cached)
    );
    for (const sequence of byNeed) {
      const share = this.#share(sequence, this.#maxRows - rows.length, { used: outputs.length });
      if (!share) continue;
      this.#fill(share, rows, outputs);
      shares.push(share);
    }
    const sampled = await this.#runner.step(rows, outputs);
    for (const share of shares) await this.#take(share, sampled);
  }

  #share(sequence: Sequence, room: number, { used }: { used: number }): Share | undefined {
    const pending = sequence.tokens.length - sequence.cached;
    const scored = sequence.request.promptLogprobs &&
      sequence.cached < sequence.request.promptTokenIds.length;
    const outputRoom = this.#maxOutputs - used;
    const count = Math.min(pending, room, scored ? outputRoom : Infinity);
    const samples = count === pending;
    if (count === 0 || (samples && outputRoom === 0)) return undefined;
    return { sequence, count, firstOutput: used, outputs: scored ? count : Number(samples), samples };
  }

  #fill({ sequence, count, outputs: wanted }: Share, rows: Row[], outputs: Output[]): void {
    const { lease, lane, cached, tokens, request, uniform } = sequence;
    const first = lane * this.maxModelLen;
    for (let i = 0; i < count; i++) {
      const position = cached + i;
      if (count - i <= wanted) {
        const { temperature, topP, topK } = request.sampling;
        const last = i === count - 1;
        outputs.push({
          row: rows.length,
          temperature: last ? temperature : 0,
          topP,
          topK,
          uniform: last ? uniform() : 0,
        });
      }
      rows.push({ token: tokens[position], position, first, adapter: lease });
    }
  }

  async #take(share: Share, sampled: Uint32Array): Promise<void> {
    const { sequence, count, firstOutput, outputs, samples } = share;
    const { request, tokens } = sequence;
    const scoredFrom = sequence.cached;
    sequence.cached += count;
    if (sequence.finished) return;
    if (request.promptLogprobs && scoredFrom < request.promptTokenIds.length) {
      await this.#scorePrompt(share, scoredFrom);
    }
    if (!samples) return;
    if (tokens.length === request.promptTokenIds.length && request.promptLogprobs) {
      sequence.events.push({ kind: "prompt", logprobs: sequence.promptLogprobs });
    }
    const room = Math.min(request.maxTokens, this.maxModelLen - request.promptTokenIds.length);
    if (room === 0) return this.#end(sequence, "length");
    const last = firstOutput + outputs - 1;
    const tokenId = sampled[last];
    if (this.#eos.has(tokenId)) return this.#end(sequence, "stop");
    const logprobs = request.logprobs === undefined
      ? undefined
      : logprobsOf(await this.#runner.logits(last), tokenId, request.logprobs);
    tokens.push(tokenId);
    sequence.events.push({ kind: "token", tokenId, logprobs });
    if (tokens.length - request.promptTokenIds.length >= room) this.#end(sequence, "length");
    else sequence.wake();
  }

  /** Each output of a prompt's chunk scores the token that follows it. */
  async #scorePrompt({ sequence, count, firstOutput }: Share, from: number): Promise<void> {
    const { promptTokenIds, logprobs = 0 } = sequence.request;
    for (let i = 0; i < count && from + i + 1 < promptTokenIds.length; i++) {
      const logits = await this.#runner.logits(firstOutput + i);
      sequence.promptLogprobs.push(logprobsOf(logits, promptTokenIds[from + i + 1], logprobs));
    }
  }

  #end(sequence: Sequence, finishReason: "stop" | "length"): void {
    sequence.events.push({ kind: "end", finishReason });
    this.#finish(sequence);
  }
}
