/**
 * Adapters that are made ready with their base, under everything that may happen meanwhile.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import type { Linear } from "../src/adapters/bank.ts";
import { baseLinear } from "../src/adapters/base.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { AdapterRegistry, type AdapterStore } from "../src/adapters/registry.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import { MissingFileError, type ReadableFolder } from "../src/folder.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { until } from "./until.ts";

const shape = { out: 6, in: 4 }, path = "model.layers.0.q_proj";
const linears: readonly Linear[] = [{ path, shape }];

/** A DoRA adapter whose numbers come of a seed. */
function folderOf(seed: number, a = normals(8, uniforms(seed))): ReadableFolder {
  const random = uniforms(seed + 1), named = (name: string): string => `base_model.model.${path}.${name}`;
  const weights = writeSafetensors([
    fromTensor(named("lora_A.weight"), tensor(a, [2, 4])),
    fromTensor(named("lora_B.weight"), tensor(normals(12, random), [6, 2])),
    fromTensor(named("lora_magnitude_vector.weight"), tensor(normals(6, random), [6])),
  ]);
  const config = JSON.stringify({ peft_type: "LORA", use_dora: true, r: 2, lora_alpha: 2 });
  return {
    open: (name) =>
      name === "adapter_model.safetensors"
        ? Promise.resolve(bytesSource(weights))
        : Promise.reject(new MissingFileError(`Cannot open file "${name}": there is no such file`)),
    readText: () => Promise.resolve(config),
    exists: (name) => Promise.resolve(name.startsWith("adapter_") && !name.endsWith(".bin")),
  };
}

/** A store of one adapter "a", whose base's squares wait for a gate, and how often they were made. */
function opened(device: Device = cpuDevice()) {
  const weight = device.upload(tensor(normals(24, uniforms(1)), [6, 4]));
  const own = baseLinear(device, weight);
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => open = resolve);
  const state = { seed: 1, asked: 0 };
  const store: AdapterStore = {
    list: () => Promise.resolve(["a"]),
    open: () =>
      Promise.resolve({ folder: folderOf(state.seed), version: `${state.seed}`, modifiedUnixSeconds: 1 }),
  };
  const registry = new AdapterRegistry(device, store, {
    linears,
    capacity: 1,
    base: () => ({
      ...own,
      squares: async () => {
        state.asked++;
        await passed;
        return await own.squares();
      },
    }),
  });
  return { registry, state, open, own, device };
}

test("AdapterRegistry.acquire that is aborted while an adapter is made ready holds nothing, and the work serves the next", async () => {
  const { registry, state, open } = opened();
  const stop = new AbortController();
  const first = registry.acquire("a", { signal: stop.signal });
  await until(() => state.asked > 0);
  stop.abort(new Error("enough"));
  await assert.rejects(first, /enough/);
  const second = registry.acquire("a");
  open();
  const lease = await second;
  assert.equal(lease.slot, 0);
  assert.equal(state.asked, 1);
  lease.release();
});

test("AdapterRegistry.acquire of an adapter that is replaced while it is made ready gives the new one", async () => {
  const { registry, state, open, own, device } = opened();
  const asked = registry.acquire("a");
  await until(() => state.asked > 0);
  state.seed = 7;
  open();
  const lease = await asked;
  const now = await registry.load("a");
  const wanted = await madeReady(device, await loadAdapter(folderOf(7)), () => own);
  assert.equal(now.digest, wanted.digest);
  assert.deepEqual(now.modules.get(path)!.pack(shape).values, wanted.modules.get(path)!.pack(shape).values);
  const x = device.upload(tensor(Float32Array.of(1, 2, 3, 4), [1, 4])), y = device.alloc([1, 6], "float32");
  const slots = device.upload(tensor(Uint32Array.of(lease.slot)));
  device.run(await device.prepare([lease.bank.beside({ first: 0, count: 1 }, { x, y, slots, rows: 1 })]));
  const { values } = wanted.modules.get(path)!.pack(shape);
  const down = [0, 1].map((r) => [1, 2, 3, 4].reduce((sum, value, k) => sum + value * values[4 * r + k], 0));
  const found = await device.read(y);
  found.forEach((value, o) => {
    const expected = values[8 + o] * down[0] + values[14 + o] * down[1];
    assert.ok(Math.abs(value - expected) < 1e-5, `output ${o}`);
  });
});

test("AdapterRegistry leaves nothing on the device of what made an adapter ready", async () => {
  const cpu = cpuDevice();
  let tensors = 0;
  const device: Device = {
    ...cpu,
    alloc(dims, dtype) {
      tensors++;
      return cpu.alloc(dims, dtype);
    },
    upload(t) {
      tensors++;
      return cpu.upload(t);
    },
    release(t) {
      tensors--;
      cpu.release(t);
    },
  };
  const { registry, open } = opened(device);
  open();
  const before = tensors;
  await registry.load("a");
  assert.equal(tensors, before);
});

test("AdapterRegistry refuses a DoRA adapter without its base, and one whose row float32 cannot tell, by name", async () => {
  const { device } = opened();
  const store = (folder: ReadableFolder): AdapterStore => ({
    list: () => Promise.resolve(["a"]),
    open: () => Promise.resolve({ folder, version: "1", modifiedUnixSeconds: 1 }),
  });
  await assert.rejects(
    new AdapterRegistry(device, store(folderOf(1)), { linears }).acquire("a"),
    /^ConfigError: Cannot use adapter "a": Cannot use module "model\.layers\.0\.q_proj" without its base model's weight: DoRA depends on it/,
  );
  // A row of zeros, and no update: its direction does not exist.
  const zeros = baseLinear(device, device.upload(tensor(new Float32Array(24), [6, 4])));
  const broken = new AdapterRegistry(device, store(folderOf(1, new Float32Array(8))), {
    linears,
    base: () => zeros,
  });
  await assert.rejects(
    broken.acquire("a"),
    /^ConfigError: Cannot use adapter "a": Cannot use module "model\.layers\.0\.q_proj" as DoRA: row 0 of W \+ scale B A has a norm of NaN/,
  );
});

test("a DoRA module that is ready is made ready anew with another base", async () => {
  const { own, device } = opened();
  const other = baseLinear(device, device.upload(tensor(normals(24, uniforms(9)), [6, 4])));
  const loaded = await loadAdapter(folderOf(1));
  const [first, second, direct] = [
    await madeReady(device, loaded, () => own),
    await madeReady(device, await madeReady(device, loaded, () => own), () => other),
    await madeReady(device, loaded, () => other),
  ].map(({ modules }) => modules.get(path)!.pack(shape).values);
  assert.notDeepEqual(second, first);
  assert.deepEqual(second, direct);
});
