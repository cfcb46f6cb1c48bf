/** Weighted sums of adapters as folders: what is read again has the sum of the dW. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { normals } from "../kernels/kernel.ts";
import {
  combineAdapters,
  cpuDevice,
  deltaOf,
  type LinearShape,
  loadAdapter,
  type LoadedAdapter,
  tensor,
  type WeightedAdapter,
} from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { uniforms } from "../src/engine/random.ts";
import type { HostTensor } from "../src/tensor.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { distance } from "./kernel_contract.ts";
import { isSum } from "../src/adapters/alone.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { baseOn, chosenOf, filesOf, folderOf, linears } from "./method_contract.ts";
import { subjects } from "./subjects.ts";

const device = cpuDevice();

/** Linears by path. */
const shapes: Readonly<Record<string, LinearShape>> = {
  "model.layers.0.a": { out: 12, in: 16 },
  "model.layers.0.b": { out: 10, in: 16 },
  "model.layers.1.a": { out: 12, in: 16 },
};
const [first, second, third] = Object.keys(shapes);
const shapeOf = (path: string): LinearShape | undefined => shapes[path];
const prefix = "base_model.model.";

async function read(config: object, tensors: ReadonlyMap<string, HostTensor>): Promise<LoadedAdapter> {
  return await loadAdapter(folderOf(adapterFiles({ ...config }, tensors)), { shapeOf });
}

/** A FourierFT adapter: coefficients for each of the paths. */
async function fourier(counts: Readonly<Record<string, number>>, fields: object): Promise<LoadedAdapter> {
  const random = uniforms(Object.keys(counts).length);
  const tensors = new Map(
    Object.entries(counts).map(([path, n]) =>
      [`${prefix}${path}.fourierft_spectrum`, tensor(normals(n, random))] as const
    ),
  );
  return await read({ peft_type: "FOURIERFT", task_type: "CAUSAL_LM", ...fields }, tensors);
}

/** A LoRA adapter: a rank for each of the paths. */
async function low(ranks: Readonly<Record<string, number>>, fields: object = {}): Promise<LoadedAdapter> {
  const random = uniforms(7), tensors = new Map<string, HostTensor>();
  for (const [path, r] of Object.entries(ranks)) {
    const { out, in: inSize } = shapes[path];
    tensors.set(`${prefix}${path}.lora_A.weight`, tensor(normals(r * inSize, random), [r, inSize]));
    tensors.set(`${prefix}${path}.lora_B.weight`, tensor(normals(out * r, random), [out, r]));
  }
  return await read({ peft_type: "LORA", task_type: "CAUSAL_LM", lora_alpha: 3, ...fields }, tensors);
}

const shapeOfLinear = (path: string): LinearShape | undefined =>
  shapeOf(path) ?? linears.find((one) => one.path === path)?.shape;

/** What is written. */
async function writtenFiles(adapters: readonly WeightedAdapter[]) {
  const files = new Map<string, Uint8Array>();
  const told = await combineAdapters({
    adapters,
    shapeOf: shapeOfLinear,
    out: {
      async write(name, parts) {
        const bytes: number[] = [];
        for await (const part of parts) bytes.push(...part);
        files.set(name, Uint8Array.from(bytes));
      },
    },
  });
  assert.deepEqual([...files.keys()], ["adapter_config.json", "adapter_model.safetensors"]);
  return { told, files };
}

/** What is written, read again. */
async function combined(adapters: readonly WeightedAdapter[]) {
  const { told, files } = await writtenFiles(adapters);
  return { told, adapter: await loadAdapter(folderOf(files)) };
}

/** dW at a path; zeros where the adapter has no such module. */
async function deltaAt(path: string, { method, modules }: LoadedAdapter): Promise<Float64Array> {
  const shape = shapes[path], module = modules.get(path);
  if (!module) return new Float64Array(shape.out * shape.in);
  return Float64Array.from((await deltaOf(device, { method, module, shape })).data);
}

/** Checks each linear's dW, and gives the config. */
async function isTheSum(adapters: readonly WeightedAdapter[]) {
  const { told, adapter } = await combined(adapters);
  for (const path of Object.keys(shapes)) {
    const expected = new Float64Array(shapes[path].out * shapes[path].in);
    for (const { adapter: own, weight = 1 } of adapters) {
      (await deltaAt(path, own)).forEach((value, i) => expected[i] += weight * value);
    }
    const off = distance(await deltaAt(path, adapter), expected);
    assert.ok(off < 2e-6, `${path}: ${off}`);
  }
  const all = new Set(adapters.flatMap(({ adapter }) => [...adapter.modules.keys()]));
  assert.deepEqual([...adapter.modules.keys()].sort(), [...all].sort());
  assert.deepEqual([...(adapter.config.target_modules as string[])].sort(), [...all].sort());
  assert.equal(told.modules, all.size);
  assert.equal(told.peftType, adapter.config.peft_type);
  return adapter.config;
}

test("combineAdapters adds FourierFT of one seed up, whatever their counts and scalings are", async () => {
  const one = await fourier({ [first]: 20, [second]: 30 }, { scaling: 90, random_loc_seed: 5 });
  const other = await fourier(
    { [first]: 31, [second]: 8, [third]: 30 },
    { scaling: -20, random_loc_seed: 5, base_model_name_or_path: "x" },
  );
  const config = await isTheSum([
    { name: "one", adapter: one, weight: 0.5 },
    { name: "other", adapter: other, weight: -2 },
    { name: "other", adapter: other },
  ]);
  assert.equal(config.n_frequency, 30);
  assert.deepEqual(config.n_frequency_pattern, { [first]: 31 });
  assert.equal(config.random_loc_seed, 5);
  assert.equal(config.task_type, "CAUSAL_LM");
  assert.equal(config.base_model_name_or_path, null, "they name different ones");
});

test("combineAdapters scales one adapter, and leaves its numbers as they are", async () => {
  const spectral = await fourier({ [first]: 20 }, { scaling: 90 });
  const { adapter } = await combined([{ name: "a", adapter: spectral, weight: 0.25 }]);
  assert.equal(adapter.config.scaling, 22.5);
  assert.deepEqual(adapter.modules.get(first)!.coefficients, spectral.modules.get(first)!.coefficients);
  await isTheSum([{ name: "a", adapter: spectral, weight: -3 }]);
  await isTheSum([{ name: "a", adapter: spectral, weight: 0 }]);
  const factors = await low({ [first]: 2 });
  const own = (await combined([{ name: "b", adapter: factors, weight: 4 }])).adapter;
  assert.deepEqual([own.config.r, own.config.lora_alpha], [2, 12]);
  assert.deepEqual(
    own.modules.get(first)!.pack(shapes[first]).values,
    factors.modules.get(first)!.pack(shapes[first]).values,
  );
});

test("combineAdapters concatenates factors: ranks, alphas and patterns of each module", async () => {
  const config = await isTheSum([
    { name: "one", adapter: await low({ [first]: 2, [second]: 2, [third]: 2 }), weight: 0.7 },
    { name: "other", adapter: await low({ [second]: 3 }, { use_rslora: true, lora_alpha: -5 }), weight: 2 },
  ]);
  assert.equal(config.r, 2);
  assert.deepEqual(config.rank_pattern, { [second]: 5 });
  assert.equal(Object.keys(config.alpha_pattern as object)[0], second);
});

test("combineAdapters makes LoRA of methods that are served as factors", async () => {
  const fixture = async (name: string) =>
    await loadAdapter(await openFolder(fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url))));
  const [lora, vblora] = [await fixture("lora"), await fixture("vblora")];
  const adapters = [{ name: "lora", adapter: lora, weight: 0.5 }, {
    name: "vblora",
    adapter: vblora,
    weight: 3,
  }];
  const { told, adapter } = await combined(adapters);
  assert.equal(told.peftType, "LORA");
  for (const [path, module] of adapter.modules) {
    const shape = module.shape!, expected = new Float64Array(shape.out * shape.in);
    for (const { adapter: { method, modules }, weight } of adapters) {
      const own = modules.get(path);
      if (!own) continue;
      const { data } = await deltaOf(device, { method, module: own, shape });
      data.forEach((value, i) => expected[i] += weight * value);
    }
    const { data } = await deltaOf(device, { method: adapter.method, module, shape });
    assert.ok(distance(data, expected) < 2e-6, path);
  }
});

/** What a method refuses: how many adapters, and by which words. */
const noFile: Readonly<Record<string, { readonly from: number; readonly message: RegExp }>> = {
  HRA: { from: 1, message: /a sum of HRA as one adapter: no method of PEFT has a file of it$/ },
  RandLoRA: { from: 2, message: /adapters "a0" and "a1" as one: a RandLoRA file has one lambda and gamma/ },
};

for (const subject of subjects.filter(({ method }) => isSum(method))) {
  const { method } = subject;
  test(`combineAdapters of ${method.name}: one scaled and two added up, or a refusal by name`, async () => {
    const { baseOf } = baseOn(device),
      load = async (files: ReadonlyMap<string, Uint8Array>) =>
        await loadAdapter(folderOf(files), { shapeOf: shapeOfLinear });
    const adapters: LoadedAdapter[] = [];
    for (const [seed, adapted] of [[0, 1, 2], [0, 2]].entries()) {
      const chosen = chosenOf(subject, adapted);
      adapters.push(
        await load(await filesOf(device, subject, { chosen, seed: 3 * seed + 1, baseOf, drawSeed: 5 })),
      );
    }
    const deltas = async (adapter: LoadedAdapter): Promise<Map<string, Float64Array>> => {
      const ready = await madeReady(device, adapter, baseOf), found = new Map<string, Float64Array>();
      for (const [path, module] of ready.modules) {
        const linear = { method: ready.method, module, shape: shapeOfLinear(path)!, base: baseOf(path)! };
        found.set(path, Float64Array.from((await deltaOf(device, linear)).data));
      }
      return found;
    };
    for (const weights of [[-1.5], [0.5, -2]]) {
      const terms = weights.map((weight, i) => ({ name: `a${i}`, adapter: adapters[i], weight }));
      const refusal = noFile[method.name];
      if (refusal && weights.length >= refusal.from) {
        await assert.rejects(writtenFiles(terms), (error: Error) => {
          assert.equal(error.name, "CombinationError", error.message);
          assert.match(error.message, refusal.message);
          return true;
        });
        continue;
      }
      const sum = await load((await writtenFiles(terms)).files), found = await deltas(sum);
      const own = await Promise.all(terms.map(({ adapter }) => deltas(adapter)));
      assert.deepEqual([...found.keys()].sort(), [...new Set(own.flatMap((one) => [...one.keys()]))].sort());
      for (const [path, delta] of found) {
        const expected = new Float64Array(delta.length);
        own.forEach((one, i) => one.get(path)?.forEach((value, at) => expected[at] += weights[i] * value));
        const off = distance(delta, expected);
        assert.ok(off < 2e-6, `${weights.length} at ${path}: ${off}`);
      }
    }
  });
}

test("combineAdapters refuses what no file can hold, by name", async () => {
  const one = { name: "one", adapter: await fourier({ [first]: 20 }, { random_loc_seed: 5 }) };
  const seed = { name: "seed", adapter: await fourier({ [first]: 20 }, { random_loc_seed: 6 }) };
  const factors = { name: "factors", adapter: await low({ [first]: 2 }) };
  const c3a = {
    name: "c3a",
    adapter: await read(
      { peft_type: "C3A" },
      new Map([[`${prefix}${first}.c3a_kernel`, tensor(new Float32Array(48), [3, 4, 4])]]),
    ),
  };
  const blocks = {
    name: "blocks",
    adapter: await read(
      { peft_type: "C3A" },
      new Map([[`${prefix}${first}.c3a_kernel`, tensor(new Float32Array(96), [6, 8, 2])]]),
    ),
  };
  const ia3 = {
    name: "ia3",
    adapter: await read(
      { peft_type: "IA3" },
      new Map([[`${prefix}${first}.ia3_l`, tensor(new Float32Array(12), [12, 1])]]),
    ),
  };
  const wide = {
    name: "wide",
    adapter: await read(
      { peft_type: "LORA" },
      new Map([
        [`${prefix}${first}.lora_A.weight`, tensor(new Float32Array(8), [1, 8])],
        [`${prefix}${first}.lora_B.weight`, tensor(new Float32Array(12), [12, 1])],
      ]),
    ),
  };
  for (
    const [adapters, message] of [
      [[], /no adapters/],
      [[one, seed], /random_loc_seed 5 and 6 as one: a FourierFT file draws all places from one seed/],
      [
        [one, factors],
        /a sum of FourierFT and LoRA as one adapter: .*\. A server adds adapters of several methods up/,
      ],
      [[c3a, blocks], /"model.layers.0.a" of adapter "blocks" into a sum: it has blocks of 2 .* of 4 for/],
      [[c3a, one], /a sum of C3A and FourierFT as one adapter: .*A server adds/],
      [[ia3], /adapter "ia3".*IA3/],
      [[{ ...one, weight: Infinity }], /adapter "one" at scale Infinity/],
      [[wide, factors], /the weight is \(12, 8\)|weights \(12, 8\) and \(12, 16\)/],
      [Array.from({ length: 9 }, () => one), /Cannot add up 9 adapters: at most 8/],
      [
        [{ name: "copies", adapter: { ...factors.adapter, modules: new Map() } }],
        /adapter "copies": it adapts no linear layer/,
      ],
    ] as const
  ) {
    await assert.rejects(combined(adapters), (error: Error) => {
      assert.equal(error.name, "CombinationError", error.message);
      assert.match(error.message, message);
      return true;
    });
  }
});
