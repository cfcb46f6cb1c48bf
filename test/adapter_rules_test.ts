/**
 * Rules of adapters' files at their edges, what is made of a new adapter, and banks that are nearly full.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import {
  AdapterRegistry,
  applyModule,
  Bank,
  cpuDevice,
  deltaOf,
  type Device,
  fourierft,
  fourierModule,
  loadAdapter,
  type ReadableFolder,
  tensor,
  train,
} from "../mod.ts";
import { Arena } from "../src/adapters/arena.ts";
import { adapterPlan, createAdapter } from "../src/adapters/create.ts";
import { describeAdapter } from "../src/adapters/describe.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import type { HostTensor } from "../src/tensor.ts";
import { randomSource } from "./kernel_contract.ts";
import { memoryFolder, tinyFolder, type Weights, weightsFile } from "./model_folders.ts";
import { turns } from "./until.ts";

const q = "model.layers.0.self_attn.q_proj";

const ones = (...shape: number[]): HostTensor =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape);

const spectrum: Weights = { [`base_model.model.${q}.fourierft_spectrum`]: ones(3) };
const factors = (a: HostTensor, b: HostTensor): Weights => ({
  [`base_model.model.${q}.lora_A.weight`]: a,
  [`base_model.model.${q}.lora_B.weight`]: b,
});

const folderOf = (config: Record<string, unknown>, weights: Weights): ReadableFolder =>
  memoryFolder({
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": weightsFile(weights),
  });

const refusesLora = (config: Record<string, unknown>, weights: Weights, message: RegExp): Promise<void> =>
  assert.rejects(loadAdapter(folderOf({ peft_type: "LORA", ...config }, weights)), {
    name: "ConfigError",
    message,
  });

test("loadAdapter takes the whole of a tensor's name, not a part", async () => {
  const { [`base_model.model.${q}.lora_A.weight`]: a, [`base_model.model.${q}.lora_B.weight`]: b } = factors(
    ones(2, 3),
    ones(4, 2),
  );
  for (const [before, after] of [["x.", ""], ["", ".x"]]) {
    const name = (which: string): string => `${before}base_model.model.${q}.lora_${which}.weight${after}`;
    await refusesLora({}, { [name("A")]: a, [name("B")]: b }, /Cannot read adapter tensor ".*" as LORA/);
    // Neither is a copy of a base's weight.
    for (const copied of ["lm_head", "model.embed_tokens", "lm_head.base_layer"]) {
      const copy = `${before}base_model.model.${copied}.weight${after}`;
      await refusesLora({}, { ...factors(a, b), [copy]: ones(2, 2) }, /Cannot read adapter tensor/);
    }
    const spectral = `${before}base_model.model.${q}.fourierft_spectrum${after}`;
    await assert.rejects(loadAdapter(folderOf({ peft_type: "FOURIERFT" }, { [spectral]: ones(3) })), {
      message: /as FOURIERFT: only base_model\.model\.<module>\.fourierft_spectrum is supported/,
    });
  }
});

test("loadAdapter refuses LoRA's factors that are no matrices, or have no rank", async () => {
  for (
    const [a, b] of [
      [ones(2, 3, 1), ones(4, 2)],
      [ones(2, 3), ones(4, 2, 1)],
      [ones(2, 3), ones(4)],
      [ones(2), ones(4, 2)],
      [ones(0, 3), ones(4, 0)],
      [ones(3, 2), ones(4, 2)],
    ]
  ) {
    await refusesLora(
      {},
      factors(a, b),
      new RegExp(`"${q}": lora_A must be .* they are \\(${a.shape}\\) and \\(${b.shape}\\)`),
    );
  }
});

test("loadAdapter refuses a field that says anything, by its value cut short", async () => {
  for (const value of [0, "", 1, true, "x", [0], { a: 1 }]) {
    await refusesLora(
      { future: value },
      factors(ones(2, 3), ones(4, 2)),
      new RegExp(`field "future" = ${JSON.stringify(value).replace(/[[\]{}]/g, "\\$&")}: it may change`),
    );
  }
  const long = "y".repeat(100);
  await refusesLora({ future: long }, factors(ones(2, 3), ones(4, 2)), /= "y{76}\.\.\.: it may/);
  const fits = "y".repeat(78);
  await refusesLora({ future: fits }, factors(ones(2, 3), ones(4, 2)), /= "y{78}": it may/);
});

test("loadAdapter refuses an alpha_pattern and numbers of other kinds", async () => {
  const weights = factors(ones(2, 3), ones(4, 2));
  await refusesLora({ alpha_pattern: [1] }, weights, /field "alpha_pattern" as an object: it is \[1\]/);
  await refusesLora({ alpha_pattern: 3 }, weights, /field "alpha_pattern" as an object: it is 3/);
  await refusesLora({ lora_alpha: null }, weights, /field "lora_alpha" as a finite number: it is null/);
  await loadAdapter(folderOf({ peft_type: "LORA", alpha_pattern: null, use_rslora: null }, weights));
});

test("loadAdapter bounds what it reads of a config, and closes the weights in every case", async () => {
  const limits: unknown[] = [];
  let open = 0;
  const watched = (folder: ReadableFolder): ReadableFolder => ({
    ...folder,
    readText(name, options) {
      limits.push([name, options?.maxBytes]);
      return folder.readText(name, options);
    },
    async open(name) {
      const source = await folder.open(name);
      open++;
      return { ...source, close: () => Promise.resolve(void open--) };
    },
  });
  const folder = watched(folderOf({ peft_type: "FOURIERFT" }, spectrum));
  const { sizeBytes } = await loadAdapter(folder);
  assert.deepEqual(limits, [["adapter_config.json", 2 ** 20]]);
  assert.equal(open, 0);
  const weightBytes = weightsFile(spectrum).length;
  assert.equal(sizeBytes, weightBytes + '{"peft_type":"FOURIERFT"}'.length);
  await loadAdapter(folder, { maxBytes: weightBytes });
  await assert.rejects(loadAdapter(folder, { maxBytes: weightBytes - 1 }), /at most \d+ are accepted/);
  assert.equal(open, 0);
});

test("loadAdapter has another digest for other bytes of config or weights alone", async () => {
  const digestOf = async (config: Record<string, unknown>, weights: Weights): Promise<string> =>
    (await loadAdapter(folderOf(config, weights))).digest;
  const config = { peft_type: "FOURIERFT" };
  const digest = await digestOf(config, spectrum);
  const bytes = Uint8Array.of(
    ...new TextEncoder().encode(JSON.stringify(config)),
    ...weightsFile(spectrum),
  );
  const sha = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  assert.equal(digest, Array.from(sha, (byte) => byte.toString(16).padStart(2, "0")).join(""));
  assert.notEqual(await digestOf({ ...config, scaling: 3 }, spectrum), digest);
  const other = { [`base_model.model.${q}.fourierft_spectrum`]: tensor(Float32Array.of(1, 1, 2)) };
  assert.notEqual(await digestOf(config, other), digest);
});

test("applyModule says which input has which dtype", async () => {
  const { method, modules } = await loadAdapter(folderOf({ peft_type: "FOURIERFT" }, spectrum));
  const linear = { method, module: modules.get(q)!, shape: { out: 4, in: 3 } };
  const x = ones(2, 3), bits = tensor(new Uint32Array(8), [2, 4]);
  await assert.rejects(applyModule(cpuDevice(), linear, { x, y: bits }), {
    name: "TypeError",
    message: 'Cannot use "y" as uint32: it must be float32',
  });
  await assert.rejects(applyModule(cpuDevice(), linear, { x: tensor(new Uint32Array(6), [2, 3]) }), {
    name: "TypeError",
    message: 'Cannot use "x" as uint32: it must be float32',
  });
});

const linears = [
  { path: "layers.0.q_proj", shape: { out: 4, in: 6 } },
  { path: "layers.0.k_proj", shape: { out: 2, in: 6 } },
  { path: "layers.1.q_proj", shape: { out: 4, in: 6 } },
  { path: "head", shape: { out: 5, in: 6 } },
];

test("createAdapter takes target modules as PEFT does: a whole path, or its end from a dot on", () => {
  const pathsOf = (...targetModules: string[]): string[] => [
    ...createAdapter(linears, adapterPlan({ peftType: "LORA", targetModules }), () => 0.5).modules.keys(),
  ];
  assert.deepEqual(pathsOf("q_proj"), ["layers.0.q_proj", "layers.1.q_proj"]);
  assert.deepEqual(pathsOf("1.q_proj", "k_proj"), ["layers.0.k_proj", "layers.1.q_proj"]);
  assert.deepEqual(pathsOf("head"), ["head"]);
  assert.deepEqual(pathsOf("layers.0.k_proj"), ["layers.0.k_proj"]);
  for (const none of ["proj", "_proj", "layers", "q_proj.x", ""]) {
    assert.throws(() => pathsOf("q_proj", none), {
      name: "ConfigError",
      message: `Cannot train target module "${none}": no linear of the model's layers has that name`,
    });
  }
});

test("createAdapter makes adapters that add nothing yet, with PEFT's fields", async () => {
  const random = randomSource(4);
  for (const peftType of ["LORA", "FOURIERFT"]) {
    const options = peftType === "LORA"
      ? { peftType, r: 3, loraAlpha: 6 } as const
      : { peftType: "FOURIERFT", nFrequency: 100, scaling: 20, randomLocSeed: 11 } as const;
    const adapter = createAdapter(linears, adapterPlan({ ...options, targetModules: ["k_proj"] }), random);
    const module = adapter.modules.get("layers.0.k_proj")!, { shape } = linears[1];
    const { data } = await deltaOf(cpuDevice(), { method: adapter.method, module, shape });
    assert.deepEqual(data, new Float32Array(12));
    // No more frequencies than the weight has.
    assert.equal(module.summary, peftType === "LORA" ? "r = 3, scale 2" : "n = 12, seed 11, scaling 20");
    const common = {
      peft_type: peftType,
      task_type: "CAUSAL_LM",
      base_model_name_or_path: null,
      inference_mode: true,
      target_modules: ["k_proj"],
      modules_to_save: null,
      layers_to_transform: null,
      layers_pattern: null,
      exclude_modules: null,
      fan_in_fan_out: false,
      bias: "none",
    };
    const own = {
      LORA: {
        r: 3,
        lora_alpha: 6,
        lora_dropout: 0,
        use_rslora: false,
        use_dora: false,
        init_lora_weights: true,
      },
      FOURIERFT: {
        n_frequency: 100,
        n_frequency_pattern: { "layers.0.k_proj": 12 },
        scaling: 20,
        random_loc_seed: 11,
        init_weights: true,
      },
    };
    assert.deepEqual(adapter.config, { ...common, ...own[peftType as keyof typeof own] });
  }
});

test("createAdapter refuses modules of more numbers than can be trained, before it allocates them", () => {
  for (
    const [options, by] of [
      [{ peftType: "LORA", r: 1e8 }, "r 100000000"],
      [{ peftType: "LORA", r: 1e8, useDora: true }, "r 100000000"],
      [{ peftType: "VBLORA", r: 4, numVectors: 1e9, vectorLength: 2 }, "num_vectors 1000000000"],
    ] as const
  ) {
    const plan = adapterPlan({ ...options, targetModules: ["q_proj"] });
    assert.throws(() => createAdapter(linears, plan, () => 0.5), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.ok(error.message.startsWith('Cannot make module "layers.0.q_proj" with r '), error.message);
      assert.ok(error.message.includes(by), error.message);
      return true;
    });
  }
});

test("createAdapter refuses names of IA3's feedforward_modules that no target has", () => {
  const shapeOf = (feedforwardModules?: string[]) => {
    const plan = adapterPlan({ peftType: "IA3", targetModules: ["k_proj", "head"], feedforwardModules });
    const { config, modules } = createAdapter(linears, plan, () => 0.5);
    return [config.feedforward_modules, [...modules.values()].map(({ summary }) => summary)];
  };
  const outputs = ["scales 2 outputs", "scales 5 outputs"];
  assert.deepEqual(shapeOf(), [[], outputs]);
  assert.deepEqual(shapeOf([]), [[], outputs]);
  assert.deepEqual(shapeOf(["head"]), [["head"], ["scales 2 outputs", "scales 6 inputs"]]);
  assert.throws(() => shapeOf(["head", "heda"]), {
    name: "RangeError",
    message:
      'Cannot take "heda" as one of feedforward_modules: of target_modules (k_proj, head), none is named so',
  });
});

test("createAdapter draws LoRA's A evenly from -1 / sqrt(in) to 1 / sqrt(in)", () => {
  const draws = [0, 0.25, 0.5, 1 - 2 ** -53];
  let at = 0;
  const plan = adapterPlan({ peftType: "LORA", targetModules: ["head"], r: 2, loraAlpha: 8 });
  const { modules } = createAdapter(linears, plan, () => draws[at++ % 4]);
  const { values, count, scale } = modules.get("head")!.pack(linears[3].shape);
  const bound = Math.fround(1 / Math.sqrt(6));
  assert.deepEqual([...values.slice(0, 4)], [-bound, -bound / 2, 0, bound]);
  assert.deepEqual(values.slice(12), new Float32Array(10));
  assert.deepEqual([count, scale, at], [2, 4, 12]);
});

test("adapterPlan refuses a method that is unknown, and says which there are", () => {
  assert.equal(adapterPlan({ peftType: "LORA" }).method.peftType, "LORA");
  assert.throws(() => adapterPlan({ peftType: "PREFIX" as "LORA" }), {
    name: "RangeError",
    message: /^Cannot train an adapter of peftType "PREFIX": it must be FOURIERFT or LORA or /,
  });
});

for (
  const [peftType, weights] of [
    ["FOURIERFT", { [`base_model.model.${q}.fourierft_spectrum`]: tensor(normals(40, randomSource(1))) }],
    [
      "LORA",
      factors(
        tensor(normals(2 * 16, randomSource(2)), [2, 16]),
        tensor(normals(16 * 2, randomSource(3)), [16, 2]),
      ),
    ],
  ] as const
) {
  test(`train that moves nothing writes the tensors that it was given: ${peftType}`, async () => {
    const { files } = await train(cpuDevice(), {
      folder: tinyFolder("llama", { fields: { eos_token_id: 1 } }),
      data: { content: "w1 w2 w3 w4 w5 w6 w7 w8 w9" },
      adapter: { init: await loadAdapter(folderOf({ peft_type: peftType }, weights)) },
      steps: 1,
      batchSize: 1,
      contextLength: 8,
      lr: 1e-30,
    });
    const { tensors, read } = parseSafetensors(files.get("adapter_model.safetensors")!);
    assert.deepEqual([...tensors.keys()].sort(), Object.keys(weights).sort());
    for (const [name, { data, shape }] of Object.entries(weights)) {
      assert.deepEqual([tensors.get(name)!.shape, toFloat32(read(name))], [shape, data], name);
    }
  });
}

/** A CPU whose tensors hold no more than `elements`. */
const small = (elements: number): Device => ({ ...cpuDevice(), maxTensorBytes: 4 * elements });

/** Coefficients of 40 frequencies, of a seed of their own. */
const seeded = (seed: number) => {
  const coefficients = normals(40, randomSource(seed));
  return new Map([["a", fourierModule({ coefficients, seed, scaling: 9 })]]);
};

test("Bank.load finds no room for another table, takes none, and finds it once another is unloaded", () => {
  const shape = { out: 8, in: 8 };
  const bank = new Bank(small(160), fourierft, { linears: [{ path: "a", shape }], capacity: 8 });
  const slots: (number | undefined)[] = [];
  for (let seed = 0; slots.at(-1) !== undefined || seed === 0; seed++) slots.push(bank.load(seeded(seed)));
  const loaded = slots.length - 1;
  // A table is longer than the values that it is for: values of one more would fit.
  assert.ok(loaded >= 2 && (loaded + 1) * 40 <= 160, `${loaded}`);
  for (let i = 0; i < 20; i++) assert.equal(bank.load(seeded(100 + i)), undefined);
  assert.equal(bank.size, loaded);
  // An adapter of a seed that is there needs no table.
  const shared = bank.load(seeded(0));
  assert.notEqual(shared, undefined);
  bank.unload(shared!);
  // The table of seed 0 stays, for the first adapter.
  assert.equal(bank.load(seeded(100)), undefined);
  bank.unload(slots[0]!);
  assert.equal(bank.load(seeded(100)), slots[0]);
});

test("Bank.beside refuses linears that cannot share one: more than three, or of other inputs", () => {
  const device = cpuDevice();
  const shapes = [6, 6, 6, 6, 7].map((size, i) => ({ path: `${i}`, shape: { out: 2, in: size } }));
  const bank = new Bank(device, fourierft, { linears: shapes, capacity: 1 });
  const buffer = device.alloc([64], "float32");
  const io = { x: buffer, y: buffer, slots: device.alloc([1], "uint32"), rows: 1 };
  bank.beside({ first: 0, count: 3 }, io);
  for (const [first, count, inputs] of [[0, 4, "6,6,6,6"], [3, 2, "6,7"]] as const) {
    assert.throws(() => bank.beside({ first, count }, io), {
      name: "RangeError",
      message: `Cannot adapt linears of inputs ${inputs} in one step: up to three may share one`,
    });
  }
});

test("Bank tells which groups its slots adapt, and remembers of unloaded ones that steps may be there", () => {
  const shape = { out: 8, in: 8 };
  const paths = ["a", "b", "c", "d"].map((path) => ({ path, shape }));
  const bank = new Bank(cpuDevice(), fourierft, { linears: paths, capacity: 2 });
  const module = seeded(1).get("a")!;
  const slot = bank.load(new Map([["b", module]]))!;
  const groups = [[0, 1], [0, 2], [1, 1], [1, 2], [2, 2]].map(([first, count]) => ({ first, count }));
  const adapted = [false, true, true, true, false];
  assert.deepEqual(groups.map((group) => bank.slotAdapts(slot, group)), adapted);
  assert.deepEqual(groups.map((group) => bank.slotAdapts(slot + 1, group)), adapted.map(() => false));
  bank.unload(slot);
  bank.unload(slot);
  assert.deepEqual(groups.map((group) => bank.slotAdapts(slot, group)), adapted.map(() => false));
  assert.deepEqual(groups.map((group) => bank.acts("beside", group)), adapted);
  // A slot that is unloaded twice is free once.
  const slots = [1, 2, 3].map(() => bank.load(new Map([["b", module]])));
  assert.deepEqual([new Set(slots.slice(0, 2)).size, slots[2]], [2, undefined]);
});

test("Arena gives out ranges that never meet, and finds all of its room again, in whatever order they are freed", () => {
  const device = cpuDevice();
  const request = fc.oneof(
    fc.record({ put: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ free: fc.nat() }),
  );
  fc.assert(fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
    const arena = new Arena({ ...device, maxTensorBytes: 4 * 32 }, "uint32", 8);
    const ranges: { at: number; count: number }[] = [];
    for (const one of requests) {
      if ("put" in one) {
        const at = arena.put(new Uint32Array(one.put));
        const used = ranges.reduce((sum, { count }) => sum + count, 0);
        // Where nothing is taken there is room.
        if (at === undefined) assert.ok(used > 0);
        else ranges.push({ at, count: one.put });
      } else if (ranges.length > 0) {
        const [{ at, count }] = ranges.splice(one.free % ranges.length, 1);
        arena.free(at, count);
      }
      const taken = ranges.flatMap(({ at, count }) => Array.from({ length: count }, (_, i) => at + i));
      assert.equal(new Set(taken).size, taken.length);
      assert.ok(taken.every((place) => place < arena.tensor.shape[0]));
    }
    for (const { at, count } of ranges) arena.free(at, count);
    assert.equal(arena.put(new Uint32Array(32)), 0);
    assert.equal(arena.put(new Uint32Array(1)), undefined);
    assert.equal(arena.put(new Uint32Array(0)), 0);
  }));
});

test("Arena grows to twice its size or to what is needed, at most to what the device holds", () => {
  const sizeAfter = (...puts: number[]): number => {
    const arena = new Arena({ ...cpuDevice(), maxTensorBytes: 4 * 40 }, "float32", 8);
    for (const count of puts) assert.notEqual(arena.put(new Float32Array(count)), undefined);
    return arena.tensor.shape[0];
  };
  assert.equal(sizeAfter(8), 8);
  assert.equal(sizeAfter(8, 1), 16);
  assert.equal(sizeAfter(6, 12), 18);
  assert.equal(sizeAfter(8, 8, 8), 32);
  assert.equal(sizeAfter(8, 8, 8, 9), 40);
  assert.equal(sizeAfter(40), 40);
  const arena = new Arena({ ...cpuDevice(), maxTensorBytes: 4 * 40 }, "float32", 100);
  assert.equal(arena.tensor.shape[0], 40);
  assert.deepEqual([arena.holds(40), arena.holds(41)], [true, false]);
});

test("Bank.revision is another one when a load both adapts a linear for the first time and moves its numbers", () => {
  const shape = { out: 64, in: 64 };
  const bank = new Bank(cpuDevice(), fourierft, { linears: [{ path: "a", shape }], capacity: 4 });
  const before = bank.revision;
  const module = fourierModule({ coefficients: normals(1100, randomSource(1)), seed: 1, scaling: 9 });
  bank.load(new Map([["a", module]]));
  assert.ok(bank.revision > before);
  const { revision } = bank;
  bank.load(new Map([["a", module]]));
  assert.ok(bank.revision > revision);
});

test("check refuses LoRA's factors of another width alone, and of another height alone", async () => {
  const { modules } = await loadAdapter(folderOf({ peft_type: "LORA" }, factors(ones(2, 3), ones(4, 2))));
  modules.get(q)!.check(q, { out: 4, in: 3 });
  for (const shape of [{ out: 4, in: 2 }, { out: 5, in: 3 }]) {
    assert.throws(() => modules.get(q)!.check(q, shape), {
      name: "RangeError",
      message:
        `Cannot use module "${q}": its factors make a (4, 3) update, the weight is (${shape.out}, ${shape.in})`,
    });
  }
});

test("FoundAdapter needs reading until it is read or on the device, and puts nothing into a bank that is full", async () => {
  const folder = folderOf({ peft_type: "FOURIERFT" }, spectrum);
  const store = {
    list: () => Promise.resolve(["x"]),
    open: () => Promise.resolve({ folder, version: "1", modifiedUnixSeconds: 1 }),
  };
  const registry = new AdapterRegistry(cpuDevice(), store, {
    linears: [{ path: q, shape: { out: 4, in: 3 } }],
    capacity: 1,
  });
  const found = await registry.find("x");
  assert.equal(found.needsReading, true);
  assert.equal(found.hold(), "unread");
  await found.read();
  assert.equal(found.needsReading, false);
  const full = new Set(registry.banks);
  assert.equal(found.hold(full), "full");
  const again = await registry.find("x");
  assert.equal(again.needsReading, true);
  (await registry.acquire("x")).release();
  assert.equal(again.needsReading, false);
  const lease = again.hold(full);
  assert.ok(typeof lease === "object" && lease.id === "x");
});

test("loadAdapter says what a config is that is no object, and that one is missing", async () => {
  const weights = weightsFile(spectrum);
  for (const text of ["3", "null", '"x"', "[]", "true"]) {
    const folder = memoryFolder({ "adapter_config.json": text, "adapter_model.safetensors": weights });
    await assert.rejects(loadAdapter(folder), {
      name: "ConfigError",
      message: "Cannot read adapter_config.json: it must be a JSON object",
    });
  }
  await assert.rejects(loadAdapter(memoryFolder({ "adapter_model.safetensors": weights })), {
    name: "ConfigError",
    message: "Cannot find adapter_config.json in the adapter's folder",
  });
});

test("loadAdapter keeps what a weights file's fault comes of, and bounds its header", async () => {
  const fourier = JSON.stringify({ peft_type: "FOURIERFT" });
  const bytes = new Uint8Array(2 ** 24 + 16);
  new DataView(bytes.buffer).setUint32(0, 2 ** 24 + 8, true);
  const folder = memoryFolder({ "adapter_config.json": fourier, "adapter_model.safetensors": bytes });
  const isFault = (error: Error): boolean => {
    assert.match(error.message, /16777216/);
    return true;
  };
  await assert.rejects(loadAdapter(folder), (error: Error) => {
    assert.equal((error.cause as Error).name, "SafetensorsError");
    return isFault(error);
  });
  await assert.rejects(describeAdapter(folder), isFault);
  const bits = folderOf({ peft_type: "FOURIERFT" }, {
    [`base_model.model.${q}.fourierft_spectrum`]: tensor(new Uint32Array(2)),
  });
  await assert.rejects(loadAdapter(bits), /it must hold floats, it holds uint32/);
});

test("describeAdapter closes the weights, and takes as many bytes as it may", async () => {
  let open = 0;
  const folder = folderOf({ peft_type: "FOURIERFT" }, spectrum);
  const watched: ReadableFolder = {
    ...folder,
    async open(name) {
      const source = await folder.open(name);
      open++;
      return { ...source, close: () => Promise.resolve(void open--) };
    },
  };
  const { length } = weightsFile(spectrum);
  const { sizeBytes, digest } = await describeAdapter(watched, { maxBytes: length });
  assert.deepEqual([sizeBytes, digest], [length + 25, undefined]);
  await assert.rejects(describeAdapter(watched, { maxBytes: length - 1 }), /are accepted/);
  assert.equal(open, 0);
});

test("loadAdapter takes every way to initialise LoRA that leaves the base as it is", async () => {
  for (const init of [true, false, null, "gaussian", "eva", "orthogonal", undefined]) {
    const { modules } = await loadAdapter(
      folderOf({ peft_type: "LORA", init_lora_weights: init }, factors(ones(2, 3), ones(4, 2))),
    );
    const { parameters, shape } = modules.get(q)!;
    assert.deepEqual([parameters, shape], [14, { out: 4, in: 3 }]);
  }
});

test("loadAdapter takes factors up to the last that float32 holds, and refuses the next", async () => {
  const least = 2 ** -126, greatest = 2 ** 128 - 2 ** 104;
  const one = { out: 1, in: 1 };
  const name = "base_model.model.a.fourierft_spectrum";
  const checks = async (scaling: number, value = 1): Promise<void> => {
    const weights = { [name]: tensor(Float32Array.of(value)) };
    const { modules } = await loadAdapter(folderOf({ peft_type: "FOURIERFT", scaling }, weights));
    modules.get("a")!.check("a", one);
  };
  await checks(least);
  await checks(-least);
  await checks(greatest);
  await checks(1, greatest);
  await checks(0);
  for (const scaling of [least / 2, greatest * 1.001, -greatest * 1.001]) {
    await assert.rejects(checks(scaling), { name: "ConfigError", message: /field "scaling"/ });
  }
  await assert.rejects(checks(2, greatest), /it may come to/);
  // Half of the least float64 is 0, though its field is not.
  await refusesLora({ lora_alpha: 5e-324 }, factors(ones(2, 3), ones(4, 2)), /field "lora_alpha" = 5e-324/);
});

test("loadAdapter finds by each row of A whether LoRA's product is past float32", async () => {
  const rows = (first: number, second: number): HostTensor =>
    tensor(Float32Array.of(1, first, 1, second, 1, 1), [2, 3]);
  const columns = (first: number, second: number): HostTensor =>
    tensor(Float32Array.of(1, 1, first, second), [2, 2]);
  const config = { peft_type: "LORA", lora_alpha: 2 };
  await loadAdapter(folderOf(config, factors(rows(1e20, 1), columns(1, 1e20))));
  await loadAdapter(folderOf(config, factors(rows(1, 1e20), columns(1e20, 1))));
  await refusesLora(config, factors(rows(1e20, 1), columns(1e20, 1)), /product of adapter tensors/);
  await refusesLora(config, factors(rows(1, -1e20), columns(1, 1e20)), /product of adapter tensors/);
  // A scale below 1 does not make the product itself smaller.
  await refusesLora(
    { lora_alpha: 1e-9 },
    factors(rows(1e20, 1), columns(1e20, 1)),
    /product of adapter tensors/,
  );
});

const stored = (folders: Readonly<Record<string, ReadableFolder>>) => ({
  list: () => Promise.resolve(Object.keys(folders)),
  open: (id: string) =>
    Promise.resolve(
      Object.hasOwn(folders, id) ? { folder: folders[id], version: "1", modifiedUnixSeconds: 1 } : undefined,
    ),
});

test("AdapterRegistry makes room in the bank of an adapter's own method, and leaves others' adapters", async () => {
  const fourier = (value: number): ReadableFolder =>
    folderOf({ peft_type: "FOURIERFT" }, {
      [`base_model.model.${q}.fourierft_spectrum`]: tensor(Float32Array.of(value, 1, 1)),
    });
  const store = stored({
    lora: folderOf({ peft_type: "LORA" }, factors(ones(2, 3), ones(4, 2))),
    one: fourier(1),
    two: fourier(2),
  });
  const shape = { out: 4, in: 3 };
  const registry = new AdapterRegistry(cpuDevice(), store, { linears: [{ path: q, shape }], capacity: 1 });
  for (const id of ["lora", "one", "two"]) (await registry.acquire(id)).release();
  const resident: boolean[] = [];
  for (const id of ["lora", "one", "two"]) resident.push((await registry.card(id)).resident);
  assert.deepEqual(resident, [true, false, true]);
  assert.deepEqual(registry.banks.map(({ size }) => size).filter(Boolean), [1, 1]);
});

test("AdapterRegistry.load reads files once, however often it is asked", async () => {
  let opened = 0;
  const folder = folderOf({ peft_type: "FOURIERFT" }, spectrum);
  const counted = { ...folder, open: (name: string) => (opened++, folder.open(name)) };
  const registry = new AdapterRegistry(cpuDevice(), stored({ x: counted }));
  const first = await registry.load("x");
  assert.equal(await registry.load("x"), first);
  assert.equal(opened, 1);
});

test("AdapterRegistry.list has an adapter that was read whole while its description failed", async () => {
  const folder = folderOf({ peft_type: "FOURIERFT" }, spectrum);
  let opens = 0, fail = (): void => {};
  const broken = new Promise<never>((_, reject) => fail = () => reject(new Error("gone")));
  const registry = new AdapterRegistry(
    cpuDevice(),
    stored({ x: { ...folder, open: (name) => opens++ === 0 ? broken : folder.open(name) } }),
  );
  const listed = registry.list();
  while (opens === 0) await turns(1);
  const { digest } = await registry.load("x");
  fail();
  assert.deepEqual((await listed).map((card) => card.digest), [digest]);
});

test("AdapterRegistry.acquire leaves nothing on the signal that could have ended it", async () => {
  const registry = new AdapterRegistry(
    cpuDevice(),
    stored({ x: folderOf({ peft_type: "FOURIERFT" }, spectrum) }),
    {
      linears: [{ path: q, shape: { out: 4, in: 3 } }],
    },
  );
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  Object.assign(signal, {
    addEventListener: (_: string, listener: unknown) => listeners.add(listener),
    removeEventListener: (_: string, listener: unknown) => listeners.delete(listener),
  });
  (await registry.acquire("x", { signal })).release();
  assert.equal(listeners.size, 0);
});
