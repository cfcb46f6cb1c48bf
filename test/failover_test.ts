/**
 * A served model whose device is lost: its sequences go on as if nothing had happened, or end with the device's error.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, ObjectStore, openModel, webgpuDevice } from "../mod.ts";
import { DeviceError } from "../src/device/device.ts";
import type { Constraint } from "../src/engine/constraint.ts";
import type { Engine, GenerateEvent, GenerateRequest } from "../src/engine/generate.ts";
import { NotFoundError, OverloadedError } from "../src/errors.ts";
import { type Served, withFallback } from "../src/failover.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openGpu } from "../src/runtime/gpu.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { inEveryGpuCase, onGpu } from "./devices.ts";
import { HandStorage, smallAdapter } from "./hand_storage.ts";
import { turn } from "./until.ts";

const greedy = { temperature: 0, topP: 1, topK: 0 };
const request: GenerateRequest = { promptTokenIds: [1], maxTokens: 2, sampling: greedy };

/** A model whose engine reports tokens `id`, and throws `error` before event `failsAt`. */
function served(
  id: number,
  { failsAt = Infinity, error = new DeviceError("lost"), digest, asked = [] }: {
    readonly failsAt?: number;
    readonly error?: unknown;
    readonly digest?: string;
    /** Takes what the engine is asked. */
    readonly asked?: GenerateRequest[];
  } = {},
): Served {
  const engine: Engine = {
    maxModelLen: 8,
    vocabSize: 9,
    async *generate(request): AsyncGenerator<GenerateEvent> {
      asked.push(request);
      request.onAdmit?.(digest);
      for (let i = request.resumeTokenIds?.length ?? 0; i < 2; i++) {
        if (i >= failsAt) throw error;
        await Promise.resolve();
        yield { kind: "token", tokenId: id };
      }
      yield { kind: "end", finishReason: "length" };
    },
  };
  const list = () => failsAt < Infinity ? Promise.reject(error) : Promise.resolve([]);
  return { engine, registry: { list } as unknown as Served["registry"] };
}

async function tokens({ engine }: Served, more: Partial<GenerateRequest> = {}): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of engine.generate({ ...request, ...more })) {
    if (event.kind === "token") ids.push(event.tokenId);
  }
  return ids;
}

const opens = (...models: Served[]) => models.map((model) => () => Promise.resolve(model));

test("withFallback: requests that had not begun when the device was lost run on the replacement, opened once", async () => {
  let opened = 0;
  const lines: string[] = [];
  const reopen = () => Promise.resolve((opened++, served(2)));
  const model = withFallback(served(1, { failsAt: 0 }), {
    reopen: [reopen, reopen],
    log: (line) => lines.push(line),
  });
  assert.deepEqual(await Promise.all([tokens(model), tokens(model)]), [[2, 2], [2, 2]]);
  assert.deepEqual(await model.registry.list(), []);
  assert.equal(opened, 1);
  assert.equal(lines.length, 1);
});

test("withFallback: adapters tell their modules and the model's linears, before and after the device is lost", async () => {
  const shape = { out: 256, in: 256 };
  const answers: Pick<Served["registry"], "linear" | "module"> = {
    linear: () => shape,
    module: (_, path) => Promise.reject(new NotFoundError(path)),
  };
  const withModules = (model: Served) => ({ ...model, registry: { ...model.registry, ...answers } });
  const lost = withModules(served(1));
  const model = withFallback(
    { ...lost, registry: { ...lost.registry, module: () => Promise.reject(new DeviceError("lost")) } },
    { reopen: opens(withModules(served(2))) },
  );
  assert.deepEqual(model.registry.linear?.("q_proj"), shape);
  await assert.rejects(model.registry.module!("kjv", "q_proj"), NotFoundError); // the replacement's own answer
  assert.deepEqual(model.registry.linear?.("q_proj"), shape);
  const plain = withFallback(served(1), { reopen: [] }).registry;
  assert.deepEqual([plain.linear, plain.module], [undefined, undefined]);
});

test("withFallback: a sequence that had begun goes on after its tokens, with the seed that it began with", async () => {
  const asked: GenerateRequest[] = [];
  const model = withFallback(served(1, { failsAt: 1, asked }), { reopen: opens(served(2, { asked })) });
  assert.deepEqual(await tokens(model), [1, 2]);
  assert.deepEqual(asked.map(({ resumeTokenIds }) => resumeTokenIds), [undefined, [1]]);
  assert.equal(typeof asked[0].sampling.seed, "number");
  assert.equal(asked[0].sampling.seed, asked[1].sampling.seed);
});

test("withFallback: a device that is lost while sequences move to it, or cannot be opened, is the next way's", async () => {
  const lines: string[] = [];
  const model = withFallback(served(1, { failsAt: 1 }), {
    reopen: [
      () => Promise.reject(new Error("no adapter")),
      ...opens(served(2, { failsAt: 1 }), served(3)),
    ],
    log: (line) => lines.push(line),
  });
  assert.deepEqual(await Promise.all([tokens(model), tokens(model)]), [[1, 3], [1, 3]]);
  assert.equal(lines.filter((line) => line.includes("no adapter")).length, 1);
});

test("withFallback: other errors pass, and each way is tried once", async () => {
  let opened = 0;
  const reopen = () => Promise.resolve((opened++, served(2, { failsAt: 0 })));
  const bad = served(1, { failsAt: 0, error: new RangeError("bad") });
  await assert.rejects(tokens(withFallback(bad, { reopen: [reopen] })), RangeError);
  assert.equal(opened, 0);
  const lost = withFallback(served(1, { failsAt: 0 }), { reopen: [reopen, reopen] });
  await assert.rejects(tokens(lost), DeviceError);
  await assert.rejects(tokens(lost), DeviceError);
  assert.equal(opened, 2);
});

test("withFallback: a sequence whose adapter was replaced fails as the device did, and opens nothing", async () => {
  let opened = 0;
  const reopen = () => Promise.resolve((opened++, served(2, { digest: "new" })));
  const model = withFallback(served(1, { failsAt: 1, digest: "old" }), { reopen: [reopen, reopen] });
  await assert.rejects(tokens(model), { name: "DeviceError", message: /adapter was replaced/ });
  assert.deepEqual(await tokens(model), [2, 2]);
  assert.equal(opened, 1);
});

test("withFallback: while the model opens, who leaves leaves at once, and only so many wait", async () => {
  const opening = Promise.withResolvers<Served>(), leaves = new AbortController();
  const model = withFallback(served(1, { failsAt: 1 }), { reopen: [() => opening.promise], maxWaiting: 1 });
  const begun = model.engine.generate({ ...request, signal: leaves.signal })[Symbol.asyncIterator]();
  await begun.next();
  const next = begun.next();
  // The loss is noticed in the turn that `next` begins.
  await turn();
  await assert.rejects(tokens(model), OverloadedError);
  leaves.abort(new Error("left"));
  await assert.rejects(next, { message: "left" });
  const patient = tokens(model);
  opening.resolve(served(2));
  assert.deepEqual(await patient, [2, 2]);
});

const base = cpuDevice();
const files = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
/** The tiny model, with an end token. */
const folder: ReadableFolder = {
  ...files,
  readText: async (name, options) => {
    const text = await files.readText(name, options);
    return name === "config.json" ? JSON.stringify({ ...JSON.parse(text), eos_token_id: 2 }) : text;
  },
};
const { model: { config: { vocabSize } } } = await openModel(base, { folder });

/** The device, which is lost once it has run so many steps; later calls fail, too. */
function losing(device: Device, steps: number): Device {
  let left = steps;
  const lost = () => new DeviceError("the device is lost");
  return new Proxy(device, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name === "write" || name === "run") {
        return (...given: unknown[]) => {
          if (left < 0) throw lost();
          return value.apply(target, given);
        };
      }
      if (name === "prepare" || name === "read" || name === "runAndRead") {
        return async (...given: unknown[]) => {
          if (name === "runAndRead") left--;
          if (left < 0) throw lost();
          return await value.apply(target, given);
        };
      }
      return value.bind(target);
    },
  });
}

const store = new ObjectStore(new HandStorage());
const projections = [0, 1].map((layer) => `model.layers.${layer}.self_attn.q_proj`);
for (const seed of [1, 2]) await store.publish(`adapter-${seed}`, smallAdapter(seed, projections));

async function servedOn(device: Device): Promise<Served> {
  const engine = { maxSequences: 6, maxStepTokens: 8, merging: "never" } as const;
  return await openModel(device, { folder, adapters: store, engine });
}

/** Odd tokens after even ones. */
const alternating: Constraint = {
  vocabSize,
  start: () => {
    const after = (odd: boolean) =>
      new Uint32Array(Math.ceil(vocabSize / 32)).fill(odd ? 0xaaaaaaaa : 0x55555555);
    let odd = false;
    const accept = (tokenId: number) => {
      assert.equal(tokenId % 2, odd ? 1 : 0);
      return Promise.resolve(after(odd = !odd));
    };
    return Promise.resolve({ first: after(false), accept, end: () => {} });
  },
};

/** What a batch asks: of each kind of state that a sequence has. */
const batch: readonly GenerateRequest[] = Array.from({ length: 9 }, (_, i) => ({
  promptTokenIds: Array.from({ length: 1 + 2 * i }, (_, at) => 3 + (7 * at + i) % 28),
  maxTokens: 6 + i,
  ignoreEos: i % 4 !== 0,
  sampling: [
    greedy,
    { temperature: 0.9, topP: 0.95, topK: 0, seed: i },
    { temperature: 1.2, topP: 1, topK: 20, minP: 0.01, seed: 2n ** 60n + BigInt(i) },
    { ...greedy, presencePenalty: 1, frequencyPenalty: 0.5, repetitionPenalty: 1.3 },
  ][i % 4],
  ...(i % 3 === 1 ? { logprobs: 2, promptLogprobs: true } : {}),
  ...(i % 3 === 2 ? { minTokens: 4 } : {}),
  ...(i % 5 > 0 ? { adapter: `adapter-${1 + i % 2}` } : {}),
  ...(i === 8 ? { constraint: alternating } : {}),
}));

/** A batch's events, with log-probabilities to so many digits: sums of other rows round otherwise. */
async function eventsOf({ engine }: Served): Promise<string[]> {
  const rounded = (_: string, value: unknown) => typeof value === "number" ? Number(value.toFixed(3)) : value;
  const all = batch.map(async (one) => JSON.stringify(await Array.fromAsync(engine.generate(one)), rounded));
  return await Promise.all(all);
}

test("withFallback: a batch tells the same whenever its devices are lost, greedy, drawn, penalized, scored, by a rule", async () => {
  const undisturbed = await eventsOf(await servedOn(base));
  for (let steps = 0; steps < 20; steps++) {
    let opened = 0;
    const reopen = [losing(base, steps % 7), losing(base, 3), base].map((device) => () => {
      opened++;
      return servedOn(device);
    });
    const events = await eventsOf(withFallback(await servedOn(losing(base, steps)), { reopen }));
    assert.deepEqual(events, undisturbed, `lost after ${steps} steps`);
    assert.equal(opened, 3, `lost after ${steps} steps`);
  }
});

test("BatchEngine refuses to resume after as many tokens as a sequence may have, and after ids that are none", async () => {
  const { engine } = await servedOn(base);
  await assert.rejects(
    tokens({ engine } as Served, { resumeTokenIds: [1, 2] }),
    /Cannot resume after 2 tokens/,
  );
  await assert.rejects(tokens({ engine } as Served, { resumeTokenIds: [-1] }), /id -1 of resumeTokenIds/);
});

const onOneGpu = { skip: onGpu.skip || inEveryGpuCase.skip };

test("withFallback: a GPU that is destroyed under a batch loses no token", onOneGpu, async () => {
  const { device: gpu, destroy } = await openGpu({ features: [], prefer: "dawn" });
  const reopen = [() => servedOn(base)];
  const { engine } = withFallback(await servedOn(webgpuDevice(gpu)), { reopen });
  const some = batch.slice(0, 4).map((one) => ({ ...one, maxTokens: 12, ignoreEos: true }));
  let made = 0;
  const told = await Promise.all(some.map(async (one) => {
    const onToken = () => {
      if (++made === 10) gpu.destroy();
    };
    const events = await Array.fromAsync(engine.generate({ ...one, onToken }));
    return events.flatMap((event) => event.kind === "token" ? event.tokenId : []);
  }));
  const undisturbed = await Promise.all(some.map(async (one) => await tokens(await servedOn(base), one)));
  destroy();
  assert.deepEqual(told, undisturbed);
});
