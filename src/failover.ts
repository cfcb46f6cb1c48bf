/**
 * A model that outlives its device. When the device is lost, the model is opened again, and its sequences go on after the
 * tokens that they have.
 *
 * Each opening is a generation: an error of an earlier one opens nothing, and its sequences move to the newest. A sequence
 * reads from one engine at a time, so that late tokens of a lost device reach nobody.
 *
 * @module
 */
import { orAborted } from "./abandon.ts";
import type { AdapterService } from "./adapters/service.ts";
import { DeviceError } from "./device/device.ts";
import { burstsOf, eventsOf } from "./engine/bursts.ts";
import type { Engine, GenerateEvent, GenerateRequest } from "./engine/generate.ts";
import { randomSeed } from "./engine/random.ts";
import { OverloadedError } from "./errors.ts";

/** A sequence that no opening helps. Told as a lost device. */
class ReplacedError extends DeviceError {}

/** What is replaced together: both work on one device. */
export interface Served {
  readonly engine: Engine;
  readonly registry: AdapterService;
}

/** How a model is opened again. */
export interface FallbackOptions {
  /** Ways to open the model on another device. Each is tried once, in order. */
  readonly reopen: readonly (() => Promise<Served>)[];
  /** Calls and sequences that wait for an opening at most; more are refused. Default 1024. */
  readonly maxWaiting?: number;
  readonly log?: (line: string) => void;
}

/** The generations of a model. */
class Generations {
  #current: Served;
  #opening: Promise<void> | undefined;
  #waiting = 0;
  readonly #ways: (() => Promise<Served>)[];
  readonly #log: (line: string) => void;
  readonly #mostWaiting: number;

  constructor(first: Served, { reopen, maxWaiting = 1024, log = () => {} }: FallbackOptions) {
    this.#current = first;
    this.#ways = [...reopen];
    this.#mostWaiting = maxWaiting;
    this.#log = log;
  }

  /** The newest that was opened, lost or not. */
  get newest(): Served {
    return this.#current;
  }

  /**
   * The model to ask.
   *
   * @throws OverloadedError when too many wait for an opening; the signal's reason once it is aborted.
   */
  async current(signal?: AbortSignal): Promise<Served> {
    if (this.#opening) {
      if (this.#waiting >= this.#mostWaiting) {
        throw new OverloadedError(`Cannot wait for the model to open again: ${this.#waiting} wait already`);
      }
      await this.#opened(this.#opening, signal);
    }
    return this.#current;
  }

  /**
   * Has the model opened again after an error of `failed`, unless it was since.
   *
   * @throws The error where it is no device's, and where no way is left.
   */
  async recover(error: unknown, { failed, signal }: { failed: Served; signal?: AbortSignal }): Promise<void> {
    if (!(error instanceof DeviceError) || error instanceof ReplacedError) throw error;
    if (failed === this.#current) {
      this.#opening ??= this.#open(error).finally(() => this.#opening = undefined);
    }
    if (this.#opening) await this.#opened(this.#opening, signal);
  }

  async #opened(opening: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    this.#waiting++;
    try {
      await orAborted(opening, signal);
    } finally {
      this.#waiting--;
    }
  }

  async #open(lost: DeviceError): Promise<void> {
    for (let way = this.#ways.shift(); way; way = this.#ways.shift()) {
      this.#log(`${lost.message} Opening the model again.`);
      try {
        this.#current = await way();
        return;
      } catch (error) {
        this.#log(`the model cannot be opened again: ${(error as Error).message}`);
      }
    }
    throw lost;
  }
}

/** A sequence, and what an engine is asked to go on with it. */
class Progress {
  readonly #request: GenerateRequest;
  readonly #tokenIds: number[];
  #begun = false;
  /** The adapter that its first event is of. */
  #digest: string | undefined;

  constructor(request: GenerateRequest) {
    // Chosen here: the draws of another engine go on where the first one's ended.
    const { sampling } = request, seed = sampling.seed ?? randomSeed();
    this.#request = { ...request, sampling: { ...sampling, seed } };
    this.#tokenIds = [...request.resumeTokenIds ?? []];
  }

  get request(): GenerateRequest {
    const request = { ...this.#request, onAdmit: (digest?: string) => this.#admitted(digest) };
    return this.#begun ? { ...request, promptLogprobs: false, resumeTokenIds: [...this.#tokenIds] } : request;
  }

  take(event: GenerateEvent): void {
    this.#begun = true;
    if (event.kind === "token") this.#tokenIds.push(event.tokenId);
  }

  #admitted(digest: string | undefined): void {
    // Half a text by each of two adapters would be nobody's.
    if (this.#begun && digest !== this.#digest) {
      throw new ReplacedError("Cannot go on after the device was lost: the sequence's adapter was replaced");
    }
    this.#digest = digest;
    this.#request.onAdmit?.(digest);
  }
}

async function* continued(
  generations: Generations,
  request: GenerateRequest,
): AsyncGenerator<readonly GenerateEvent[], void, void> {
  const { signal } = request, progress = new Progress(request);
  for (;;) {
    const served = await generations.current(signal);
    try {
      for await (const events of burstsOf(served.engine, progress.request)) {
        for (const event of events) progress.take(event);
        yield events;
      }
      return;
    } catch (error) {
      await generations.recover(error, { failed: served, signal });
    }
  }
}

/** All members of T by name, so that a new optional member is not forgotten. */
type EveryMember<T> = { readonly [K in keyof Required<T>]: T[K] };

/**
 * Wraps an opened model. Sequences and calls that meet a lost device wait for the model to be opened again, and go on there.
 * They fail with the device's error when no way to open the model is left. A sequence whose adapter was replaced since
 * it began fails, too.
 */
export function withFallback(first: Served, options: FallbackOptions): Served {
  const generations = new Generations(first, options);
  const { engine: { maxModelLen, vocabSize, stats }, registry } = first;

  async function call<T>(ask: (adapters: AdapterService) => Promise<T>): Promise<T> {
    for (;;) {
      const served = await generations.current();
      try {
        return await ask(served.registry);
      } catch (error) {
        await generations.recover(error, { failed: served });
      }
    }
  }

  const adapters: EveryMember<AdapterService> = {
    list: () => call((adapters) => adapters.list()),
    page: registry.page && ((options) => call((adapters) => adapters.page!(options))),
    card: (id) => call((adapters) => adapters.card(id)),
    linear: registry.linear && ((module) => generations.newest.registry.linear!(module)),
    modules: (id) => call((adapters) => adapters.modules(id)),
    module: registry.module && ((id, path) => call((adapters) => adapters.module!(id, path))),
    apply: (id, module, input) => call((adapters) => adapters.apply(id, module, input)),
    delta: (id, module, shape) => call((adapters) => adapters.delta(id, module, shape)),
    stats: registry.stats && (() => generations.newest.registry.stats!()),
    preload: registry.preload && ((id) => call((adapters) => adapters.preload!(id))),
    unload: registry.unload && ((id) => call((adapters) => adapters.unload!(id))),
    pin: registry.pin && ((id, pinned) => call((adapters) => adapters.pin!(id, pinned))),
  };
  return {
    engine: {
      ...{ maxModelLen, vocabSize },
      stats: stats && (() => generations.newest.engine.stats!()),
      generate: (request) => eventsOf(continued(generations, request)),
      bursts: (request) => continued(generations, request),
    },
    registry: adapters,
  };
}
