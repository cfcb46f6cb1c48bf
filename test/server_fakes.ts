/**
 * An engine and an adapter service whose answers are known, for tests of the server.
 *
 * @module
 */
import type { AdapterCard, AdapterService } from "../src/adapters/service.ts";
import type { Engine, GenerateEvent, GenerateRequest, TokenLogprobs } from "../src/engine/generate.ts";
import { NotFoundError } from "../src/errors.ts";
import { tensor } from "../src/tensor.ts";
import { turn as step } from "./until.ts";

/** An engine that records what it is asked. */
export interface FakeEngine extends Engine {
  readonly requests: GenerateRequest[];
  /** How each sequence ended: `done`, `returned` when its reader left, or the name of the error it threw. */
  readonly ends: string[];
  /** Most sequences open at once. */
  mostOpen: number;
  /** Sequences that wait, or have waited, for their abort. */
  hanging: number;
  /** Resolves when `condition` holds; it is looked at whenever a sequence starts, waits or ends. */
  until(condition: () => boolean): Promise<void>;
}

/** What a fake engine does. */
export interface Script {
  /** New tokens of a request, as many as there are. */
  readonly reply: (request: GenerateRequest) => readonly number[];
  readonly maxModelLen?: number;
  /** Thrown before a sequence's token of that index; 0 is at the first `next`. In all sequences, or in the one started so. */
  readonly failure?: { readonly at: number; readonly error: Error; readonly sequence?: number };
  /** After the reply, wait until the signal aborts. */
  readonly hangs?: boolean;
  /** Sequences wait for their turn until their signals abort. */
  readonly waits?: boolean;
}

/** The most likely tokens at a position, and the chosen one's probability: each is told by its id. */
export function fakeLogprobs(tokenId: number, top: number): TokenLogprobs {
  return {
    logprob: -tokenId / 100,
    top: Array.from({ length: top }, (_, i) => ({ tokenId: 33 + i, logprob: -(33 + i) / 100 })),
  };
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** An engine that follows a script. */
export function fakeEngine(script: Script): FakeEngine {
  let open = 0;
  const watchers = new Set<() => void>();
  const look = (): void => watchers.forEach((watcher) => watcher());
  async function* run(request: GenerateRequest, sequence: number): AsyncGenerator<GenerateEvent> {
    const fails = (at: number): boolean => {
      return script.failure?.at === at && (script.failure.sequence ?? sequence) === sequence;
    };
    const { logprobs, maxTokens, signal } = request;
    if (script.waits) await untilAborted(signal!);
    request.onAdmit?.();
    const tokens = script.reply(request);
    if (fails(0)) throw script.failure!.error;
    if (request.promptLogprobs) {
      const rest = request.promptTokenIds.slice(1).map((id) => fakeLogprobs(id, logprobs ?? 0));
      yield { kind: "prompt", logprobs: [null, ...rest] };
    }
    for (const [i, tokenId] of tokens.slice(0, maxTokens).entries()) {
      await step();
      signal?.throwIfAborted();
      if (i > 0 && fails(i)) throw script.failure!.error;
      request.onToken?.();
      yield logprobs === undefined
        ? { kind: "token", tokenId }
        : { kind: "token", tokenId, logprobs: fakeLogprobs(tokenId, logprobs) };
    }
    if (script.hangs) {
      engine.hanging++;
      look();
      await untilAborted(signal!);
    }
    yield { kind: "end", finishReason: tokens.length >= maxTokens ? "length" : "stop" };
  }
  const engine: FakeEngine = {
    maxModelLen: script.maxModelLen ?? 64,
    vocabSize: 4096,
    requests: [],
    ends: [],
    mostOpen: 0,
    hanging: 0,
    until: (condition) =>
      new Promise((resolve) => {
        const watcher = (): void => {
          if (!condition()) return;
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
        watcher();
      }),
    async *generate(request) {
      const sequence = engine.requests.push(request) - 1;
      engine.mostOpen = Math.max(engine.mostOpen, ++open);
      let end = "returned";
      try {
        for await (const event of run(request, sequence)) {
          if (event.kind === "end") end = "done";
          yield event;
        }
      } catch (error) {
        end = (error as Error).name;
        throw error;
      } finally {
        open--;
        engine.ends.push(end);
        look();
      }
    },
  };
  return engine;
}

const cards: readonly AdapterCard[] = [
  {
    id: "kjv",
    peftType: "FOURIERFT",
    sizeBytes: 8000,
    digest: "ab12",
    resident: true,
    createdUnixSeconds: 1700000001,
  },
  { id: "lora-kjv", peftType: "LORA", sizeBytes: 90000, resident: false, createdUnixSeconds: 1700000002 },
];

const modulePath = "model.layers.0.self_attn.q_proj";

/** Two adapters whose dW is 2 at every place, for linears of 3 outputs and 2 inputs unless a shape is given. */
export function fakeAdapters(over: Partial<AdapterService> = {}): AdapterService {
  const card = (id: string): Promise<AdapterCard> => {
    const found = cards.find((one) => one.id === id);
    return found ? Promise.resolve(found) : Promise.reject(new NotFoundError(`Cannot find adapter "${id}"`));
  };
  const check = async (id: string, module: string): Promise<void> => {
    await card(id);
    if (module !== modulePath) throw new NotFoundError(`Cannot find module "${module}" in adapter "${id}"`);
  };
  return {
    list: () => Promise.resolve(cards),
    card,
    modules: () => Promise.resolve([modulePath]),
    async apply(id, module, { x, y, shape = { out: 3, in: 2 } }) {
      await check(id, module);
      if (x.dtype !== "float32") throw new TypeError(`Cannot use "x" as ${x.dtype}: it must be float32`);
      if (x.shape.length !== 2 || x.shape[1] !== shape.in) {
        throw new RangeError(`Cannot use "x" of shape [${x.shape}]: it must be (rows, ${shape.in})`);
      }
      const result = new Float32Array(x.shape[0] * shape.out);
      for (let i = 0; i < result.length; i++) {
        const row = Math.floor(i / shape.out);
        let sum = y ? y.data[i] : 0;
        for (let k = 0; k < shape.in; k++) sum += 2 * x.data[row * shape.in + k];
        result[i] = sum;
      }
      return tensor(result, [x.shape[0], shape.out]);
    },
    async delta(id, module, shape = { out: 3, in: 2 }) {
      await check(id, module);
      return tensor(new Float32Array(shape.out * shape.in).fill(2), [shape.out, shape.in]);
    },
    ...over,
  };
}
