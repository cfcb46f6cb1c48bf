import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { normals } from "../kernels/kernel.ts";
import { noSlot } from "../kernels/record.ts";
import { Bank } from "../src/adapters/bank.ts";
import type { Method } from "../src/adapters/method.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { svft } from "../src/adapters/methods/svft.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { linearWeights, loadModel, type Model, type WeightSource } from "../src/models/model.ts";
import { stepPlan } from "../src/models/step_plan.ts";
import { floatsOf } from "../src/models/weights.ts";
import { readConfig } from "../src/models/families.ts";
import { openFolder } from "../src/runtime/file.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { onGpu, testDevices, testGpu } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import { newModule } from "./new_module.ts";

const devices = await testDevices();
const inFeatures = 12;
const outs = [20, 7, 9];
const linears = outs.map((out, i) => ({ path: `l${i}`, shape: { out, in: inFeatures } }));

/** An adapter of some of the linears, its numbers drawn. */
function adapter(method: Method, adapted: readonly number[], seed: number) {
  const random = uniforms(seed);
  return new Map(adapted.map((i) => {
    const { path, shape } = linears[i];
    const made = newModule(
      method,
      shape,
      { n_frequency: 11, scaling: 9, random_loc_seed: seed, r: 3, block_size: 1 },
      random,
    );
    // A new adapter adds nothing: give it numbers.
    const pack: typeof made.pack = (of) => {
      const packed = made.pack(of);
      return { ...packed, values: normals(packed.values.length, random) };
    };
    return [path, { ...made, pack }];
  }));
}

/** y after the bank's step for linears `first` to `first + count - 1`. */
async function stepped(
  device: Device,
  bank: Bank,
  { first, y, ...host }: { first: number; y: Float32Array[]; x: Float32Array; slots: Uint32Array },
): Promise<Float32Array[]> {
  const rows = host.slots.length;
  const width = y.map((part) => part.length / rows);
  const rowOf = (r: number) => y.flatMap((part, i) => [...part.subarray(r * width[i], (r + 1) * width[i])]);
  const io = {
    x: device.upload(tensor(host.x)),
    slots: device.upload(tensor(host.slots)),
    y: device.upload(tensor(Float32Array.from([...host.slots.keys()].flatMap(rowOf)))),
  };
  const program = await device.prepare([bank.beside({ first, count: y.length }, { ...io, rows })]);
  device.run(program);
  const all = await device.read(io.y) as Float32Array;
  const total = width.reduce((sum, w) => sum + w, 0);
  let at = 0;
  return width.map((w) => {
    const begin = at;
    at += w;
    return Float32Array.from({ length: rows * w }, (_, i) => all[Math.floor(i / w) * total + begin + i % w]);
  });
}

/**
 * Those that are made anew and act beside the product alone, the first of each step. SVFT's are made with a base: the
 * contract of methods has them.
 */
const besides = methods.filter((method) =>
  method.training && !method.after && !method.before && method !== svft
).filter(
  ({ beside }, i, all) => all.findIndex((one) => one.beside === beside) === i,
);

for (const device of devices) {
  for (const method of besides) {
    test(`Bank.beside on ${device.kind}: a group of ${method.name} linears is each linear's own, adapted or not`, async () => {
      const bank = new Bank(device, method, { linears, capacity: 4 });
      // As q and v alone, as k alone, and as all three.
      const slots = [[0, 2], [1], [0, 1, 2]].map((adapted, i) => bank.load(adapter(method, adapted, i + 1))!);
      const rows = Uint32Array.from([slots[1], slots[0], noSlot, slots[2], slots[0]]);
      const random = uniforms(5);
      const x = normals(rows.length * inFeatures, random);
      const y = outs.map((out) => normals(rows.length * out, random));
      const together = await stepped(device, bank, { first: 0, y, x, slots: rows });
      for (const [i, part] of y.entries()) {
        const [alone] = await stepped(device, bank, { first: i, y: [part], x, slots: rows });
        assert.ok(distance(alone, part) > 0.01, `linear ${i} is adapted`);
        assert.ok(distance(together[i], alone) <= 1e-6, `linear ${i}: ${distance(together[i], alone)}`);
      }
      const [, ...pair] = await stepped(device, bank, { first: 1, y: y.slice(1), x, slots: rows });
      assert.ok(distance(pair[0], together[2]) <= 1e-6);
      bank.release();
    });
  }
}

test("Bank.beside refuses linears of unlike inputs, and more than three", () => {
  const device = cpuDevice();
  const shapes = [3, 3, 3, 3, 4].map((size, i) => ({ path: `${i}`, shape: { out: 2, in: size } }));
  const bank = new Bank(device, methods[0], { linears: shapes, capacity: 1 });
  const t = device.alloc([8], "float32");
  const io = { x: t, y: t, slots: device.alloc([1], "uint32"), rows: 1 };
  assert.throws(() => bank.beside({ first: 3, count: 2 }, io), {
    name: "RangeError",
    message: "Cannot adapt linears of inputs 3,4 in one step: up to three may share one",
  });
  assert.throws(() => bank.beside({ first: 0, count: 4 }, io), RangeError);
});

async function openTiny(
  device: Device,
  name: string,
  changed: (source: WeightSource) => WeightSource = (s) => s,
) {
  const folder = await openFolder(fileURLToPath(new URL(`fixtures/tiny/${name}`, import.meta.url)));
  const source = await openCheckpoint(folder);
  const weights = new Map<string, HostTensor>();
  const kept: WeightSource = {
    ...changed(source),
    names: source.names,
    info: (weight) => source.info(weight),
    async read(weight) {
      const host = await changed(source).read(weight);
      weights.set(weight, host);
      return host;
    },
  };
  const model = await loadModel(device, { config: await readConfig(folder), source: kept });
  await source.close();
  return { model, weights };
}

/** A linear's weight and bias as a CPU device holds them. */
function held(model: Model, index: number): Record<string, number[]> {
  const { weight, bias } = linearWeights(model, index);
  return Object.fromEntries(
    Object.entries({ weight: floatsOf(weight)!, ...(bias && { bias }) })
      .map(([name, t]) => [name, [...(t as HostTensor).data]]),
  );
}

test("loadModel puts linears of one input into one projection, and linearWeights finds each again", async () => {
  const device = cpuDevice();
  const { model, weights } = await openTiny(device, "llama-bias-tied");
  const [qkv, , gateUp] = model.projections.slice(4);
  assert.deepEqual(qkv.shape, { out: 24 + 12 + 12, in: 16 });
  assert.deepEqual(gateUp.shape, { out: 40, in: 16 });
  for (const [index, { path }] of model.linears.slice(0, -1).entries()) {
    assert.deepEqual(held(model, index), {
      weight: [...weights.get(`${path}.weight`)!.data],
      bias: [...weights.get(`${path}.bias`)!.data],
    }, path);
  }
});

test("loadModel widens linears of unlike dtypes that share a projection", async () => {
  const device = cpuDevice();
  const halved = (source: WeightSource): WeightSource => ({
    ...source,
    names: source.names,
    info: (name) => source.info(name),
    read: async (name) =>
      name.endsWith("1.self_attn.k_proj.weight")
        ? tensor(new Uint16Array((await source.read(name)).data.length).fill(0x3c00), [8, 16], {
          dtype: "float16",
        })
        : await source.read(name),
  });
  const { model, weights } = await openTiny(device, "llama", halved);
  assert.equal(floatsOf(model.projections[4].weight)?.dtype, "float32");
  assert.deepEqual(held(model, 8).weight, Array(8 * 16).fill(1));
  assert.deepEqual(held(model, 9).weight, [...weights.get("model.layers.1.self_attn.v_proj.weight")!.data]);
});

test("linearWeights has a copy of a part that a GPU cannot bind where it lies", onGpu, async () => {
  const gpu = await testGpu();
  const { model, weights } = await openTiny(gpu, "mistral-sharded");
  const [{ copies }] = model.projections;
  assert.deepEqual(copies?.map((copy) => copy !== undefined), [false, false, true]);
  for (const [i, name] of ["q_proj", "k_proj", "v_proj"].entries()) {
    const { data } = weights.get(`model.layers.0.self_attn.${name}.weight`)!;
    assert.deepEqual(await gpu.read(floatsOf(linearWeights(model, i).weight)!), data, name);
  }
});

test("stepPlan takes nine steps a layer, and four more for adapters of all its linears", async () => {
  const device = cpuDevice();
  const { model } = await openTiny(device, "llama");
  const { state } = new Runner(device, model, {
    banks: [],
    maxRows: 4,
    maxOutputs: 2,
    cacheRows: 8,
    blockSize: 1,
  });
  const count = (outputs: number, adapters: number): number => {
    const [step] = stepPlan(model, state, { rows: 1, outputs: 0, project: () => [] });
    return stepPlan(model, state, { rows: 3, outputs, project: () => Array(1 + adapters).fill(step) })
      .length;
  };
  assert.equal(count(0, 0), 2 + 2 * 9);
  assert.equal(count(0, 1), 2 + 2 * 13);
  assert.equal(count(2, 0), 2 + 2 * 9 + 4);
});
