/**
 * Parameters of adapters' own with every method, in steps whose adapters are merged, and in sums: right, or refused by name.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAdapter } from "../src/adapters/peft.ts";
import {
  AdapterRegistry,
  type AdapterStore,
  type AdapterTerm,
  type Lease,
} from "../src/adapters/registry.ts";
import { combineAdapters } from "../src/combine.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { modelBase } from "../src/engine/base.ts";
import type { MergingMode } from "../src/engine/merging.ts";
import { Runner } from "../src/engine/runner.ts";
import { CombinationError } from "../src/errors.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { type Change, changed, fixtureBase, floats, load } from "./changed_fixtures.ts";
import { distance } from "./kernel_contract.ts";
import { lane } from "./lanes.ts";

const fixtures = fileURLToPath(new URL("fixtures/methods", import.meta.url));
const prefix = "base_model.model.", head = `${prefix}lm_head.weight`;

const device = cpuDevice();
const folder = await openFolder(`${fixtures}/base`), config = await readConfig(folder);
const source = await openWeights(folder, config);
const model = await loadModel(device, { config, source }).finally(() => source.close());

/** A registry of folders by name. */
function registryOf(folders: Readonly<Record<string, ReadableFolder>>): AdapterRegistry {
  const store: AdapterStore = {
    list: () => Promise.resolve(Object.keys(folders)),
    open: (id) => Promise.resolve({ folder: folders[id], version: id, modifiedUnixSeconds: 1 }),
  };
  return new AdapterRegistry(device, store, {
    linears: model.linears,
    base: modelBase(device, model),
    parameters: model.parameters,
  });
}

/** Biases of the first layer's projections that have some in the model. */
const biases: Change = {
  config: { bias: "all" },
  tensors: Object.fromEntries(
    ["q_proj", "k_proj", "v_proj"].map((name, i) => {
      const path = `model.layers.0.self_attn.${name}`;
      const { shape: { out } } = model.linears.find((one) => one.path === path)!;
      return [`${prefix}${path}.base_layer.bias`, floats([out], i - 0.5)];
    }),
  ),
};

const names = readdirSync(fixtures).filter((name) =>
  !["README.md", "base", "golden", "training"].includes(name)
).sort();
/** Those that have parameters of their own as they are. */
const withOwn = new Set([
  ...[
    "fourierft-bias",
    "fourierft-bias-all",
    "fourierft-head",
    "ln-tuning",
    "trainable-tokens",
    "boft-blocks",
  ],
  ...names.filter((name) => /^lora-(bias|heads|lora-bias|modules|tokens)/.test(name)),
]);

test("AdapterRegistry reads trained biases and saved modules beside adapters of every method", async () => {
  const change: Change = {
    config: { ...biases.config, modules_to_save: ["lm_head", "norm"] },
    tensors: {
      ...biases.tensors,
      [`${prefix}model.norm.weight`]: floats([64], 2),
      [head]: floats([512, 64], 0.25),
    },
  };
  const tested = names.filter((name) => !withOwn.has(name));
  assert.ok(tested.length > 40);
  for (const name of tested) {
    const adapter = await load(name, {}, fixtureBase);
    const registry = registryOf({ a: changed(name, change) });
    const { modules, own } = await registry.load("a");
    assert.deepEqual([...modules.keys()], [...adapter.modules.keys()], name);
    assert.equal(own!.tables.length, 1, name);
    // Three biases and a norm.
    assert.equal(own!.numbers.length, 4, name);
    (await registry.acquire("a")).release();
  }
});

test("AdapterRegistry refuses a head of its own with a module that is made of the model's head", async () => {
  for (const [name, module] of [["hra", floats([64, 1])], ["ia3", floats([512, 1])]] as const) {
    const tensor = `${prefix}lm_head.${name === "hra" ? "hra_u" : "ia3_l"}`;
    const registry = registryOf({
      a: changed(name, {
        config: {
          modules_to_save: ["lm_head"],
          target_modules: ["q_proj", "k_proj", "v_proj", "down_proj", "lm_head"],
        },
        tensors: { [head]: floats([512, 64]), [tensor]: module },
      }),
    });
    await assert.rejects(registry.load("a"), {
      name: "ConfigError",
      message:
        /module "lm_head" together with the adapter's own "lm_head\.weight": .* depends on that weight/,
    });
  }
});

const rows = 140;

/** Logits after a prompt by merged or unmerged weights, and how many weights were merged. */
async function logitsOf(
  registry: AdapterRegistry,
  lease: Lease,
  merging: MergingMode,
): Promise<{ readonly logits: Float32Array; readonly merged: number }> {
  const sizes = { maxRows: rows, maxOutputs: 1, cacheRows: rows, blockSize: 1 };
  const runner = new Runner(device, model, { banks: registry.banks, own: registry.own, ...sizes, merging });
  await runner.step(
    Array.from({ length: rows }, (_, position) => ({
      ...{ token: position * 7 % 511, position, blocks: lane(0) },
      adapters: lease.placed,
      own: lease.own,
    })),
    [{ row: rows - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }],
  );
  const logits = await runner.logits(0);
  const { launches } = await runner.trace();
  return { logits, merged: launches.filter(({ kernel }) => kernel === "add_transposed").length };
}

test("Runner: rows by merged weights have their adapter's own parameters, whatever the method does to biases", async () => {
  const own = ["fourierft-bias-all", "lora-lora-bias", "lora-tokens", "lora-modules-to-save"];
  const changing = ["ia3-all", "road-2", "dora", "hra", "oft", "boft", "c3a", "waveft"];
  const folders = Object.fromEntries([
    ...own.map((name) => [name, changed(name)] as const),
    ...changing.map((name) => [name, changed(name, biases)] as const),
    ...changing.map((name) => [`${name} alone`, changed(name)] as const),
  ]);
  const registry = registryOf(folders);
  for (const name of [...own, ...changing]) {
    const lease = await registry.acquire(name);
    assert.notEqual(lease.own, undefined, name);
    const apart = await logitsOf(registry, lease, "never"),
      merged = await logitsOf(registry, lease, "always");
    assert.equal(apart.merged, 0);
    assert.ok(merged.merged > 0, name);
    const off = distance(merged.logits, apart.logits);
    assert.ok(off < 1e-5, `${name}: ${off}`);
    if (changing.includes(name)) {
      const alone = await logitsOf(registry, await registry.acquire(`${name} alone`), "always");
      assert.ok(distance(alone.logits, merged.logits) > 1e-3, name);
    }
  }
});

test("Runner without their bank refuses rows with own parameters", async () => {
  const registry = registryOf({ a: changed("ln-tuning") }), { placed, own } = await registry.acquire("a");
  const runner = new Runner(device, model, {
    banks: registry.banks,
    maxRows: 1,
    maxOutputs: 1,
    cacheRows: 1,
    blockSize: 1,
  });
  await assert.rejects(
    runner.step([{ token: 1, position: 0, blocks: lane(0), adapters: placed, own }], []),
    /RangeError: Cannot run rows whose adapters have parameters of their own without their bank/,
  );
});

test("combinations refuse adapters with parameters of their own by name, whatever is known or held", async () => {
  const tested = ["lora-lora-bias", "lora-tokens", "lora-modules-to-save", "fourierft-bias-all", "ln-tuning"];
  const registry = registryOf(
    Object.fromEntries([...tested, "lora", "vera"].map((name) => [name, changed(name)])),
  );
  async function refusesAll(): Promise<void> {
    for (const id of tested) {
      const sums: (readonly AdapterTerm[])[] = [
        [{ id, scale: 0.5 }],
        [{ id, scale: 0 }],
        [{ id }, { id: "lora" }],
        [{ id: "vera", scale: 2 }, { id }],
        [{ id }, { id: "lora", scale: 0 }],
      ];
      for (const terms of sums) {
        await assert.rejects(registry.acquire(terms), (error: Error) => {
          assert.ok(error instanceof CombinationError, error.message);
          assert.equal(
            error.message,
            `Cannot scale adapter "${id}", or add it to others: it has biases, norms, embeddings or heads of its own. ` +
              "Such an adapter is used alone, at scale 1",
          );
          return true;
        });
      }
    }
  }
  await refusesAll();
  const held: Lease[] = [];
  for (const id of [...tested, "lora"]) {
    const one = await registry.acquire([{ id, scale: 0.25 + 0.75 }]), alone = await registry.acquire(id);
    assert.deepEqual([one.placed, one.own], [alone.placed, alone.own]);
    assert.equal(one.own === undefined, id === "lora");
    held.push(alone);
    one.release();
  }
  await refusesAll();
  for (const one of held) one.release();
  assert.equal((await registry.acquire([{ id: "lora" }, { id: "vera" }])).own, undefined);
});

test("combineAdapters refuses adapters with parameters of their own by name", async () => {
  const out = { write: () => Promise.reject(new Error("written")) };
  const at = async (name: string) => await loadAdapter(await openFolder(`${fixtures}/${name}`), fixtureBase);
  for (const name of ["lora-lora-bias", "lora-tokens", "ln-tuning"]) {
    const adapter = await at(name), adapters = [{ name, adapter }];
    await assert.rejects(combineAdapters({ adapters, out }), {
      name: "CombinationError",
      message: new RegExp(
        `adapter "${name}", or add it to others: it has biases, norms, embeddings or heads`,
      ),
    });
  }
});
