/**
 * Parameters of adapters' own: what files may not hold, by name and rule; which steps a plan has; room on a device.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LoadedAdapter } from "../src/adapters/peft.ts";
import {
  AdapterRegistry,
  type AdapterStore,
  type Lease,
  type RegistryOptions,
} from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { modelBase } from "../src/engine/base.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { mergeFolder } from "../src/merge.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import type { Plan } from "../src/plan.ts";
import { train } from "../src/train.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { SafetensorsError } from "../src/safetensors/mod.ts";
import { type Change, changed, floats, load } from "./changed_fixtures.ts";
import { lane } from "./lanes.ts";

const path = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const prefix = "base_model.model.";
const embedding = `${prefix}model.embed_tokens`, head = `${prefix}lm_head`;
const layer = `${prefix}model.layers.0`;

const device = cpuDevice();

async function openBase(name: string, on: Device = device): Promise<Model> {
  const folder = await openFolder(path(name)), config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadModel(on, { config, source }).finally(() => source.close());
}

const models = { llama: await openBase("methods/base"), tied: await openBase("tiny/llama-bias-tied") };

const registryOf = (model: Model, store: AdapterStore, options: RegistryOptions = {}, on: Device = device) =>
  new AdapterRegistry(on, store, {
    linears: model.linears,
    base: modelBase(on, model),
    parameters: model.parameters,
    ...options,
  });

/** One adapter, "a". */
const storeOf = (folder: ReadableFolder): AdapterStore => ({
  list: () => Promise.resolve(["a"]),
  open: (id) => Promise.resolve(id === "a" ? { folder, version: "1", modifiedUnixSeconds: 1 } : undefined),
});

type Refusal = readonly [fixture: string, what: string, change: Change, rule: RegExp];

/** What a file says against itself. */
const broken: readonly Refusal[] = [
  ["lora-tokens", "an id twice", { config: { trainable_token_indices: [1, 2, 3, 1] } }, /an id comes twice/],
  [
    "lora-tokens",
    "too few ids",
    { config: { trainable_token_indices: [1, 2, 3] } },
    /_delta" of shape \(4,64\): it must be \(3, width\), a row for each id of "trainable_token_indices"/,
  ],
  [
    "lora-tokens",
    "no ids",
    { config: { trainable_token_indices: null } },
    /as the token ids of "model\.embed_t/,
  ],
  [
    "lora-tokens",
    "a negative id",
    { config: { trainable_token_indices: [1, 2, -3, 4] } },
    /as the token ids/,
  ],
  ["lora-tokens", "ids of text", { config: { trainable_token_indices: ["a"] } }, /as the token ids/],
  [
    "lora-tokens",
    "ids of another embedding",
    { config: { trainable_token_indices: { other_tokens: [1, 2, 3, 4] } } },
    /as the token ids of "model\.embed_tokens"/,
  ],
  [
    "trainable-tokens",
    "a vector",
    { tensors: { [`${embedding}.trainable_tokens_delta`]: floats([4]) } },
    /_delta" of shape \(4\)/,
  ],
  [
    "trainable-tokens",
    "another's tensor",
    { tensors: { [`${layer}.x.lora_A.weight`]: floats([1, 1]) } },
    /lora_A\.weight" as TRAINABLE_TOKENS: only/,
  ],
  [
    "ln-tuning",
    "another's tensor",
    { tensors: { [`${layer}.x.lora_A.weight`]: floats([1, 1]) } },
    /lora_A\.weight" as LN_TUNING: only/,
  ],
  [
    "ln-tuning",
    "NaN",
    { tensors: { [`${prefix}model.norm.ln_tuning_layers.weight`]: floats([64], NaN) } },
    /norm\.ln_tuning_layers\.weight": element 0 is NaN/,
  ],
  [
    "lora-bias-only",
    "an infinite bias",
    { tensors: { [`${layer}.self_attn.q_proj.base_layer.bias`]: floats([64], Infinity) } },
    /q_proj\.base_layer\.bias": element 0 is Infinity/,
  ],
  [
    "lora-bias-only",
    "a bias twice",
    {
      config: { bias: "all" },
      tensors: { [`${layer}.self_attn.q_proj.bias`]: floats([64]) },
    },
    /q_proj\.base_layer\.bias" and ".*q_proj\.bias" together: both change "model\.layers\.0\.self_attn\.q_proj\.bias"/,
  ],
  ["lora-lora-bias", "no lora_bias", { config: { lora_bias: false } }, /"lora_bias" of .* is not true/],
  [
    "lora-lora-bias",
    "a bias of another size",
    { tensors: { [`${layer}.self_attn.q_proj.lora_B.bias`]: floats([63]) } },
    /lora_B\.bias" of shape \(63\): it must be \(64\)/,
  ],
  [
    "lora-heads",
    "half an embedding's factors",
    { tensors: { [`${embedding}.lora_embedding_B`]: undefined } },
    /Cannot find .*lora_embedding_B": .*lora_embedding_A" needs it/,
  ],
  [
    "lora-heads",
    "factors of two ranks",
    { tensors: { [`${embedding}.lora_embedding_B`]: floats([64, 3]) } },
    /of embedding "model\.embed_tokens": lora_embedding_A must be \(r, entries\)/,
  ],
  [
    "lora-modules-to-save",
    "names of no list",
    { config: { modules_to_save: { lm_head: true } } },
    /"modules_to_save" as a list of names/,
  ],
];

for (const [fixture, what, change, rule] of broken) {
  test(`loadAdapter refuses ${fixture} with ${what}, by name`, async () => {
    await assert.rejects(load(fixture, change), { name: "ConfigError", message: rule });
  });
}

/** What does not go with the base model. */
const misfits: readonly Refusal[] = [
  [
    "lora-tokens",
    "a token past the vocabulary",
    { config: { trainable_token_indices: [3, 512, 1, 2] } },
    /it has a row for token 512, the base model's "model\.embed_tokens\.weight" has rows for 0\.\.511/,
  ],
  [
    "trainable-tokens",
    "rows of another width",
    { tensors: { [`${embedding}.trainable_tokens_delta`]: floats([4, 63]) } },
    /in the place of the base model's "model\.embed_tokens\.weight": it has rows of 63, the model's shape is \[512,64\]/,
  ],
  [
    "lora-modules-to-save",
    "a head of another vocabulary",
    { tensors: { [`${head}.weight`]: floats([513, 64]) } },
    /lm_head\.weight" in the place of .*: it has \[513,64\], the model's shape is \[512,64\]/,
  ],
  [
    "lora-modules-to-save",
    "a saved linear",
    {
      config: { modules_to_save: ["o_proj"] },
      tensors: { [`${layer}.self_attn.o_proj.weight`]: floats([64, 64]) },
    },
    /o_proj\.weight": the base model has no bias, norm, embedding or head "model\.layers\.0\.self_attn\.o_proj\.weight"/,
  ],
  [
    "lora-bias-only",
    "a bias of another size",
    { tensors: { [`${layer}.self_attn.q_proj.base_layer.bias`]: floats([32]) } },
    /it has \[32\], the model's shape is \[64\]/,
  ],
  [
    "lora-bias-only",
    "a bias of no linear",
    { tensors: { [`${layer}.self_attn.x_proj.base_layer.bias`]: floats([32]) } },
    /x_proj\.base_layer\.bias": the base model has no bias, norm, embedding or head "model\.layers\.0\.self_attn\.x_proj/,
  ],
  [
    "ln-tuning",
    "a norm's bias",
    { tensors: { [`${prefix}model.norm.ln_tuning_layers.bias`]: floats([64]) } },
    /the base model has no bias, norm, embedding or head "model\.norm\.bias"/,
  ],
  [
    "lora-heads",
    "factors of another vocabulary",
    { tensors: { [`${embedding}.lora_embedding_A`]: floats([4, 511]) } },
    /it has factors \(511, 4\) and \(64, 4\), the model's shape is \[512,64\]/,
  ],
  [
    "lora-heads",
    "an embedding's factors on a norm",
    {
      tensors: {
        [`${prefix}model.norm.lora_embedding_A`]: floats([4, 64]),
        [`${prefix}model.norm.lora_embedding_B`]: floats([1, 4]),
      },
    },
    /for the base model's "model\.norm\.weight": it has rows of a table/,
  ],
  [
    "ia3",
    "a head of its own that it scales",
    {
      config: {
        modules_to_save: ["lm_head"],
        target_modules: ["q_proj", "v_proj", "down_proj", "lm_head"],
      },
      tensors: { [`${head}.weight`]: floats([512, 64]), [`${head}.ia3_l`]: floats([512, 1]) },
    },
    /module "lm_head" together with the adapter's own "lm_head\.weight": IA3 depends on that weight/,
  ],
];

for (const [fixture, what, change, rule] of misfits) {
  test(`AdapterRegistry refuses ${fixture} with ${what}, by name`, async () => {
    const registry = registryOf(models.llama, storeOf(await changed(fixture, change)));
    await assert.rejects(registry.load("a"), { name: "ConfigError", message: rule });
  });
}

test("AdapterRegistry refuses a tied embedding whose head the file leaves out, by name", async () => {
  const folder = await changed("../parameters/tied/lora-save-embedding", {
    config: { ensure_weight_tying: true },
  });
  await assert.rejects(registryOf(models.tied, storeOf(folder)).load("a"), {
    name: "ConfigError",
    message: /embed_tokens\.weight" with "ensure_weight_tying": the file has nothing for "lm_head\.weight"/,
  });
});

test("AdapterRegistry without parameters refuses adapters with their own", async () => {
  for (const fixture of ["ln-tuning", "lora-lora-bias"]) {
    const registry = new AdapterRegistry(device, storeOf(await changed(fixture)), {
      linears: models.llama.linears,
    });
    await assert.rejects(registry.load("a"), { name: "ConfigError", message: /the base model has no/ });
  }
});

test("train and mergeFolder refuse what they cannot do with an adapter's own parameters", async () => {
  const folder = await openFolder(path("methods/base"));
  const data = { content: "Some text to evaluate on. ".repeat(9) };
  const refused: [string, RegExp][] = [
    ["lora-bias-all", /^Cannot train adapter tensor ".*\.bias": biases of linears are not trained$/],
    ["lora-lora-bias", /^Cannot train an adapter whose module ".*" has a bias/],
    ["vblora-topk", /^Cannot train module ".*" on: .*"save_only_topk_weights".* or train a new one$/],
  ];
  for (const [name, message] of refused) {
    const settings = { folder, data, adapter: { init: await load(name) }, steps: 1, batchSize: 1 };
    await assert.rejects(train(device, { ...settings, contextLength: 8 }), { name: "ConfigError", message });
  }
  const out = { write: () => Promise.reject(new Error("written")) };
  const merge = (adapter: LoadedAdapter) => mergeFolder(device, { model: folder, adapter, out });
  await assert.rejects(merge(await load("lora-lora-bias")), {
    name: "ConfigError",
    message: /the bias of module "model\.layers\.0\.mlp\.down_proj" into .* it has no such tensor/,
  });
  await assert.rejects(
    merge(
      await load("ln-tuning", {
        tensors: { [`${prefix}model.x.ln_tuning_layers.weight`]: floats([64]) },
      }),
    ),
    /ln_tuning_layers\.weight" into the model's "model\.x\.weight": it has no such tensor/,
  );
  await assert.rejects(
    merge(await load("lora-modules-to-save", { tensors: { [`${head}.weight`]: floats([513, 64]) } })),
    /it has \[513,64\], the model's shape is \[512,64\]/,
  );
});

/** A device that keeps the plans it prepares. */
function watched(): { readonly watching: Device; readonly plans: Plan[] } {
  const cpu = cpuDevice(), plans: Plan[] = [];
  return {
    plans,
    watching: {
      ...cpu,
      prepare(plan: Plan) {
        plans.push(plan);
        return cpu.prepare(plan);
      },
    },
  };
}

test("Runner: a plan has steps of own parameters only where a row's adapter has any", async () => {
  const { watching, plans } = watched();
  const model = await openBase("methods/base", watching);
  const registry = registryOf(model, await openAdapterStore(path("methods")), {}, watching);
  const runner = new Runner(watching, model, {
    banks: registry.banks,
    own: registry.own,
    maxRows: 4,
    maxOutputs: 4,
    cacheRows: 16,
    blockSize: 1,
  });
  async function kernelsOf(leases: readonly (Lease | undefined)[]): Promise<string[]> {
    plans.length = 0;
    await runner.step(
      leases.map((lease, i) => ({
        ...{ token: i + 1, position: 0, blocks: lane(4 * i) },
        adapters: lease?.placed,
        own: lease?.own,
      })),
      leases.map((_, row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })),
    );
    return plans.flat().map(({ kernel }) => kernel.name);
  }
  const isOwn = (name: string): boolean => /^own_|^take_rows$/.test(name);
  const lora = await registry.acquire("lora");
  const before = await kernelsOf([undefined, lora]);
  const own = await registry.acquire("ln-tuning");
  // Nothing that others have is in their steps, and nothing is prepared anew.
  assert.deepEqual(await kernelsOf([undefined, lora]), []);
  assert.deepEqual(before.filter(isOwn), []);
  const norms = (await kernelsOf([own, lora])).filter(isOwn);
  assert.deepEqual(norms, Array(5).fill("own_norm"));
  const saved = await registry.acquire("lora-modules-to-save");
  // One product by the model's head, and one by the adapter's.
  const heads = await kernelsOf([saved, undefined]);
  assert.equal(heads.filter((name) => name === "take_rows").length, 1);
});

test("AdapterRegistry keeps whole heads within tableBytes, and evicts for them", async () => {
  const bytes = 4 * 512 * 64;
  const folders: Readonly<Record<string, ReadableFolder>> = {
    a: await changed("lora-modules-to-save"),
    b: await changed("lora-modules-to-save", { tensors: { [`${head}.weight`]: floats([512, 64]) } }),
    none: await changed("lora"),
  };
  const store: AdapterStore = {
    list: () => Promise.resolve(Object.keys(folders)),
    open: (id) => Promise.resolve({ folder: folders[id], version: id, modifiedUnixSeconds: 1 }),
  };
  const registry = registryOf(models.llama, store, { tableBytes: bytes });
  const first = await registry.acquire("a");
  await assert.rejects(registry.acquire("b"), {
    name: "OverloadedError",
    message: /"b": 1 adapters in use that have biases, norms, embeddings or heads of their own take all/,
  });
  // Others need no such room.
  (await registry.acquire("none")).release();
  first.release();
  const second = await registry.acquire("b");
  const [table] = registry.own!.tablesOf(second.own!);
  assert.equal((await device.read(table.tensor))[7], 0.5);
  assert.equal(registry.own!.size, 1);
  second.release();
  const small = registryOf(models.llama, store, { tableBytes: bytes - 1 });
  await assert.rejects(small.acquire("a"), {
    name: "RangeError",
    message: new RegExp(`its own embeddings and heads have ${bytes} bytes, at most ${bytes - 1} are kept`),
  });
  assert.equal(small.banks.reduce((sum, { size }) => sum + size, 0), 0);
});

test("AdapterRegistry: a slot that was freed leaves nothing of its adapter's own", async () => {
  const names = ["lora-bias-all", "lora-tokens", "ln-tuning", "lora-heads", "lora-modules-to-save", "lora"];
  const store = await openAdapterStore(path("methods"));
  async function logitsOf(registry: AdapterRegistry, name: string): Promise<Float32Array> {
    const lease = await registry.acquire(name);
    const runner = new Runner(device, models.llama, {
      banks: registry.banks,
      own: registry.own,
      maxRows: 2,
      maxOutputs: 1,
      cacheRows: 4,
      blockSize: 1,
    });
    await runner.step(
      [3, 77].map((token, position) => ({
        ...{ token, position, blocks: lane(0) },
        adapters: lease.placed,
        own: lease.own,
      })),
      [{ row: 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }],
    );
    lease.release();
    return await runner.logits(0);
  }
  const one = registryOf(models.llama, store, { capacity: 1 });
  for (const name of [...names, ...names.toReversed()]) {
    const fresh = registryOf(models.llama, store);
    assert.deepEqual(await logitsOf(one, name), await logitsOf(fresh, name), name);
  }
});

test("adapters with parameters of their own, changed at random, are right or refused by name", async () => {
  const fixtures = ["lora-bias-all", "lora-tokens", "trainable-tokens", "ln-tuning", "lora-heads"];
  const seed = 0x5eed, random = uniforms(BigInt(seed));
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)];
  const count = (most: number): number => Math.floor(random() * most);
  const changes: readonly (() => Change)[] = [
    () => ({ config: { trainable_token_indices: Array.from({ length: 4 }, () => count(520)) } }),
    () => ({ config: { token_indices: Array.from({ length: count(6) }, () => count(600) - 20) } }),
    () => ({ config: { bias: pick(["none", "all", "x_only", 3, null, {}]) } }),
    () => ({
      config: { modules_to_save: pick<unknown>([[], ["norm"], "norm", [3], [""], ["q_proj"], null]) },
    }),
    () => ({ config: { ensure_weight_tying: pick([true, false, "yes"]) } }),
    () => ({ tensors: { [`${embedding}.lora_embedding_A`]: floats([count(6), 512]) } }),
    () => ({ tensors: { [`${prefix}model.norm.ln_tuning_layers.weight`]: floats([count(70)]) } }),
    () => ({ tensors: { [`${layer}.self_attn.q_proj.base_layer.bias`]: floats([64, count(2)]) } }),
    () => ({ tensors: { [`${embedding}.weight`]: floats([512, 63 + count(3)]) } }),
    () => ({ tensors: { [`${head}.base_layer.bias`]: floats([512], random() < 0.5 ? 1 : NaN) } }),
  ];
  let refused = 0, taken = 0;
  for (let i = 0; i < 150; i++) {
    const fixture = pick(fixtures), [one, other] = [pick(changes)(), pick(changes)()];
    const change = {
      config: { ...one.config, ...other.config },
      tensors: { ...one.tensors, ...other.tensors },
    };
    const registry = registryOf(models.llama, storeOf(await changed(fixture, change)));
    try {
      (await registry.acquire("a")).release();
      taken++;
    } catch (error) {
      const { name, message } = error as Error;
      const isNamed = name === "ConfigError" || error instanceof SafetensorsError;
      assert.ok(isNamed && /"[^"]+"/.test(message), `${fixture}, ${JSON.stringify(change.config)}: ${error}`);
      refused++;
    }
  }
  assert.ok(refused > 30 && taken > 10, `${refused} refused, ${taken} taken`);
});
