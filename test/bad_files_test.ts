/**
 * What no adapter of any method may have: a field that nobody reads, a tensor missing, of another shape, of numbers that are
 * none, and an index outside. The table is made of the list of methods and the tensors of their adapters.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Method } from "../src/adapters/method.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { AdapterRegistry, type StoredAdapter } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { modelBase } from "../src/engine/base.ts";
import { copyFaults } from "../src/models/copies.ts";
import { openModel } from "../src/open.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, type TensorView } from "../src/safetensors/mod.ts";
import { type Change, changed, fixtureBase } from "./changed_fixtures.ts";
import { adapterBytes, methodFixture } from "./method_fixtures.ts";

const fixtures = fileURLToPath(new URL("fixtures/methods", import.meta.url));
const device = cpuDevice();
const folder = await openFolder(join(fixtures, "base"));
const { model } = await openModel(device, { folder });
const copyFault = copyFaults(folder);

/** What a server does to read an adapter. */
async function read(name: string, change: Change): Promise<void> {
  const stored: StoredAdapter = { folder: changed(name, change), version: "1", modifiedUnixSeconds: 0 };
  const registry = new AdapterRegistry(device, {
    list: () => Promise.resolve([]),
    open: () => Promise.resolve(stored),
  }, { linears: model.linears, parameters: model.parameters, base: modelBase(device, model), copyFault });
  await registry.load("a");
}

/** The fixtures of each method: the tensors of their first module, and those of all modules. */
async function fixturesOf(method: Method): Promise<{ name: string; tensors: TensorView[] }[]> {
  const found = [];
  for (const name of readdirSync(fixtures).sort()) {
    if (!existsSync(join(fixtures, name, "adapter_config.json"))) continue;
    const adapter = await loadAdapter(await methodFixture(name), fixtureBase);
    if (adapter.method !== method) continue;
    const file = parseSafetensors(adapterBytes(name));
    const views = [...file.tensors.keys()].map((one) => file.read(one));
    const [first] = adapter.modules.keys();
    const own = (one: TensorView): boolean =>
      first === undefined || one.name.includes(`${first}.`) || !one.name.includes("layers.");
    found.push({ name, tensors: views.filter(own) });
  }
  return found;
}

const bytesOf = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, U8: 1 } as const;

/** One more along an axis, of zeros. */
function longer({ shape, dtype }: TensorView, axis: number): Partial<TensorView> {
  const size = shape.map((one, i) => i === axis ? one + 1 : one);
  const count = size.reduce((all, one) => all * one, bytesOf[dtype as keyof typeof bytesOf]);
  return { shape: size, bytes: new Uint8Array(count) };
}

const filled = ({ bytes }: TensorView, byte: number): Partial<TensorView> => ({
  bytes: new Uint8Array(bytes.length).fill(byte),
});

/** Sizes that a file may have as it likes: the tensor says them, or modules take the first numbers. */
const free: readonly (readonly [tensor: RegExp, axis: number])[] = [
  [/_spectrum$/, 0],
  [/miss_block$/, 0],
  [/vera_A$/, 1],
  [/vera_B$/, 0],
  [/vblora_vector_bank$/, 0],
];
/** Tensors without which an adapter is another one. */
const optional = /lora_B\.bias$|randlora_[AB]$|base_layer\.|lm_head\.weight$|trainable_tokens_delta$/;

/** What is broken, and the change. */
function* breaks(tensors: readonly TensorView[]): Generator<readonly [what: string, change: Change]> {
  const isOneOfMany = tensors.filter(({ name }) => !optional.test(name)).length > 1;
  yield ["a field that nobody reads", { config: { no_such_field: 1 } }];
  for (const t of tensors) {
    const change = (to: Partial<TensorView> | undefined): Change => ({ tensors: { [t.name]: to } });
    // Without its only tensor a module is not adapted.
    if (isOneOfMany && !optional.test(t.name)) yield [`${t.name} missing`, change(undefined)];
    for (let axis = 0; axis < t.shape.length; axis++) {
      if (free.some(([name, at]) => name.test(t.name) && at === axis)) continue;
      yield [`${t.name} longer at ${axis}`, change(longer(t, axis))];
    }
    yield t.dtype === "F32"
      ? [`${t.name} of NaN`, change(filled(t, 255))]
      : [`${t.name} of places outside`, change(filled(t, 127))];
  }
}

/** Methods that replace parameters have a tensor for each: none needs another. */
const ofParameters = ["LN-tuning", "trainable tokens"];

for (const method of methods) {
  test(`${method.name}: files that are broken in one place are refused by a ConfigError`, async () => {
    const all = await fixturesOf(method);
    assert.ok(all.length > 0, "there is no adapter of it");
    for (const { name, tensors } of all) {
      await read(name, {});
      for (const [what, change] of breaks(tensors)) {
        if (ofParameters.includes(method.name) && what.endsWith("missing")) continue;
        await assert.rejects(
          read(name, change),
          { name: "ConfigError", message: /^Cannot / },
          `${name}: ${what}`,
        );
      }
    }
  });
}
