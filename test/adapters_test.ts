import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AdapterRegistry,
  type AdapterRegistry as Registry,
  type AdapterStore,
  applyModule,
  ConfigError,
  cpuDevice,
  deltaOf,
  lazyMethods,
  loadAdapter,
  type LoadedAdapter,
  methods,
  MissingFileError,
  NotFoundError,
  OverloadedError,
  type ReadableFolder,
  type StoredAdapter,
  tensor,
} from "../mod.ts";
import { frequencies } from "../kernels/mod.ts";
import { hasBanksApart } from "../src/adapters/method_list.ts";
import { bytesSource, SafetensorsError, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { distance } from "./kernel_contract.ts";
import { naiveProduct } from "./naive.ts";

const configName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";
const q = "model.layers.0.self_attn.q_proj";

type Files = Readonly<Record<string, string | Uint8Array>>;

/** A folder in memory. */
function folderOf(files: Files): ReadableFolder {
  const bytesOf = (name: string): Uint8Array => {
    const content = files[name];
    if (content === undefined) {
      throw new MissingFileError(`Cannot open file "${name}": there is no such file`);
    }
    return typeof content === "string" ? new TextEncoder().encode(content) : content;
  };
  return {
    open: (name) => Promise.resolve(bytesSource(bytesOf(name))),
    readText: (name) => Promise.resolve(new TextDecoder().decode(bytesOf(name))),
    exists: (name) => Promise.resolve(name in files),
  };
}

function view(
  name: string,
  values: Iterable<number>,
  shape?: readonly number[],
  dtype: "F32" | "I32" | "F16" | "BF16" = "F32",
): TensorView {
  const makers = { F32: Float32Array, I32: Int32Array, F16: Uint16Array, BF16: Uint16Array };
  const data = makers[dtype].from(values);
  return { name, dtype, shape: shape ?? [data.length], bytes: new Uint8Array(data.buffer) };
}

const spectrumName = `base_model.model.${q}.fourierft_spectrum`;
const nameA = `base_model.model.${q}.lora_A.weight`;
const nameB = `base_model.model.${q}.lora_B.weight`;

const fourierConfig = { peft_type: "FOURIERFT", scaling: 10, random_loc_seed: 777, n_frequency: 3 };
const loraConfig = { peft_type: "LORA", r: 2, lora_alpha: 4, init_lora_weights: true };

/** A (out 4, in 3), rank 2 pair. */
const loraTensors = [
  view(nameA, [1, 2, 3, 4, 5, 6], [2, 3]),
  view(nameB, [1, -1, 2, 0.5, 0, 3, -2, 1], [4, 2]),
];

function files(config: Record<string, unknown>, tensors: readonly TensorView[]): Files {
  return {
    [configName]: JSON.stringify(config),
    [weightsName]: writeSafetensors(tensors, { metadata: { format: "pt" } }),
  };
}

const fourierFiles = (
  config: Record<string, unknown> = {},
  tensors: readonly TensorView[] = [view(spectrumName, [1, 2, 3])],
): Files => files({ ...fourierConfig, ...config }, tensors);
const loraFiles = (
  config: Record<string, unknown> = {},
  tensors: readonly TensorView[] = loraTensors,
): Files => files({ ...loraConfig, ...config }, tensors);

const doraFiles = (
  config: Record<string, unknown> = {},
  magnitudes: readonly number[] = [1, 2, 3, 4],
  name = `base_model.model.${q}.lora_magnitude_vector`,
): Files => loraFiles({ use_dora: true, ...config }, [...loraTensors, view(name, magnitudes)]);

function load(given: Files): Promise<LoadedAdapter> {
  return loadAdapter(folderOf(given));
}

/** Every way a folder is refused: what is wrong with it, its files, and what the message must say. */
const refusals: readonly (readonly [string, Files, ...RegExp[]])[] = [
  ["no config", { [weightsName]: new Uint8Array() }, /adapter_config\.json/],
  ["a config that is no JSON", { ...fourierFiles(), [configName]: "{" }, /adapter_config\.json as JSON/],
  ["a config that is a list", { ...fourierFiles(), [configName]: "[]" }, /must be a JSON object/],
  ["no weights", { [configName]: JSON.stringify(fourierConfig) }, /Cannot find adapter_model\.safetensors/],
  [
    "pickled weights alone",
    { [configName]: JSON.stringify(fourierConfig), "adapter_model.bin": "x" },
    /adapter_model\.bin/,
    /pickle/,
    /safe_serialization/,
  ],
  [
    "a checkpoint of ETHER's authors alone",
    { "lit_model_ether_finetuned.pth": "x" },
    /Cannot read lit_model_ether_finetuned\.pth: pickle files can run code; examples\/checkpoint_to_safetensors/,
  ],
  ["weights without a tensor", fourierFiles({}, []), /holds no tensor/],
  ["an unknown peft_type", fourierFiles({ peft_type: "POLY" }), /"peft_type" = "POLY"/, /FOURIERFT, LORA/],
  ["no peft_type", fourierFiles({ peft_type: undefined }), /"peft_type"/],
  ["a null seed", fourierFiles({ random_loc_seed: null }), /"random_loc_seed" = null/, /without the seed/],
  ["no frequencies", fourierFiles({ n_frequency: 0 }), /"n_frequency" = 0: the rule is an integer above 0/],
  ["fewer frequencies than none", fourierFiles({ n_frequency: -5 }), /"n_frequency" = -5/],
  [
    "a pattern of none",
    fourierFiles({ n_frequency_pattern: { q_proj: 0 } }),
    /"n_frequency_pattern.q_proj" = 0/,
  ],
  ["a seed that is no integer", fourierFiles({ random_loc_seed: 1.5 }), /"random_loc_seed" as an integer/],
  ["a seed that is text", fourierFiles({ random_loc_seed: "777" }), /"random_loc_seed" as a finite number/],
  ["a null scaling", fourierFiles({ scaling: null }), /"scaling" as a finite number: it is null/],
  [
    "saved modules of no names",
    fourierFiles({ modules_to_save: "head" }),
    /"modules_to_save" as a list of names/,
  ],
  ["a field nobody knows", fourierFiles({ future_mode: 3 }), /"future_mode" = 3/, /not supported/],
  [
    "NaN among the coefficients",
    fourierFiles({}, [view(spectrumName, [1, NaN])]),
    /fourierft_spectrum": element 1 is NaN/,
  ],
  [
    "infinity in float16",
    fourierFiles({}, [view(spectrumName, [0x3c00, 0x7c00], [2], "F16")]),
    /fourierft_spectrum": element 1 is Infinity/,
  ],
  [
    "integer coefficients",
    fourierFiles({}, [view(spectrumName, [1], [1], "I32")]),
    /must hold floats.*int32/,
  ],
  [
    "a spectrum of two dimensions",
    fourierFiles({}, [view(spectrumName, [1, 2], [2, 1])]),
    /fourierft_spectrum": its shape must be \[n\].*\[2,1\]/,
  ],
  ["an empty spectrum", fourierFiles({}, [view(spectrumName, [])]), /its shape must be \[n\] with n > 0/],
  [
    "a bias tensor beside spectra",
    fourierFiles({}, [view(spectrumName, [1]), view(`base_model.model.${q}.bias`, [1])]),
    /tensor "base_model\.model\.model\.layers\.0\.self_attn\.q_proj\.bias" as FOURIERFT/,
  ],
  [
    "weights that are no safetensors",
    { ...fourierFiles(), [weightsName]: "garbage!" },
    /safetensors|header/i,
  ],
  [
    "DoRA without magnitudes",
    loraFiles({ use_dora: true }),
    /Cannot find .*lora_magnitude_vector": DoRA needs it/,
  ],
  [
    "DoRA with magnitudes of another size",
    doraFiles({}, [1, 1, 1]),
    /lora_magnitude_vector": its shape must be \[4\], it is \[3\]/,
  ],
  [
    "DoRA with a magnitude that is no number",
    doraFiles({}, [1, NaN, 1, 1]),
    /magnitude_vector": element 1 is NaN/,
  ],
  ["DoRA with biases of B", doraFiles({ lora_bias: true }), /"lora_bias" = true: biases of B/],
  ["use_dora that is no flag", loraFiles({ use_dora: "yes" }), /"use_dora" as true or false/],
  [
    "DoRA's magnitudes",
    loraFiles({}, [...loraTensors, view(`base_model.model.${q}.lora_magnitude_vector`, [1, 1, 1, 1])]),
    /lora_magnitude_vector" as LORA/,
  ],
  ["LoRA biases of text", loraFiles({ lora_bias: "yes" }), /"lora_bias" as true or false/],
  ["activated LoRA", loraFiles({ alora_invocation_tokens: [1] }), /"alora_invocation_tokens"/],
  ["replicated layers", loraFiles({ layer_replication: [[0, 4]] }), /"layer_replication"/],
  [
    "PiSSA",
    loraFiles({ init_lora_weights: "pissa_niter_4" }),
    /"init_lora_weights" = "pissa_niter_4"/,
    /base/,
  ],
  ["OLoRA", loraFiles({ init_lora_weights: "olora" }), /"init_lora_weights" = "olora"/],
  [
    "a regular expression as alpha_pattern's key",
    loraFiles({ alpha_pattern: { ".*q_proj|x": 2 } }),
    /"alpha_pattern" key "\.\*q_proj\|x"/,
    /regular expressions/,
  ],
  [
    "a rank_pattern that the tensors contradict",
    loraFiles({ rank_pattern: { k_proj: 9, q_proj: 3 } }),
    /field "rank_pattern\.q_proj" = 3: the factors of module ".*q_proj" have rank 2/,
  ],
  ["a rank that is text", loraFiles({ rank_pattern: { q_proj: "2" } }), /"rank_pattern\.q_proj"/],
  ["an alpha that is text", loraFiles({ alpha_pattern: { q_proj: "2" } }), /"alpha_pattern\.q_proj"/],
  ["LoRA without B", loraFiles({}, [loraTensors[0]]), /Cannot find adapter tensor ".*lora_B\.weight"/],
  ["LoRA without A", loraFiles({}, [loraTensors[1]]), /Cannot find adapter tensor ".*lora_A\.weight"/],
  [
    "A and B of different ranks",
    loraFiles({}, [loraTensors[0], view(nameB, [1, 2, 3, 4], [4, 1])]),
    /q_proj": lora_A must be \(r, in\) and lora_B \(out, r\).*\(2,3\) and \(4,1\)/,
  ],
  [
    "half of LoRA on an embedding",
    loraFiles({}, [view("base_model.model.model.embed_tokens.lora_embedding_A", [1], [1, 1])]),
    /Cannot find .*lora_embedding_B": .*lora_embedding_A" needs it/,
  ],
];

for (const [what, given, ...says] of refusals) {
  test(`loadAdapter refuses ${what}, and says where and why`, async () => {
    await assert.rejects(load(given), (error: Error) => {
      assert.ok(error instanceof ConfigError || error instanceof SafetensorsError, `${error}`);
      assert.match(error.message, /^Cannot /);
      for (const rule of says) assert.match(error.message, rule);
      return true;
    });
  });
}

test("loadAdapter refuses more bytes than it is allowed to read, before it reads them", async () => {
  await assert.rejects(
    loadAdapter(folderOf(fourierFiles()), { maxBytes: 50 }),
    /Cannot read adapter_model\.safetensors: it has \d+ bytes, at most 50 are accepted/,
  );
});

test("loadAdapter takes empty fields of any name, and PEFT's defaults where fields are absent", async () => {
  const config = { peft_type: "FOURIERFT", future: null, other: {}, third: [], fourth: false, bias: "none" };
  const { modules, method, digest } = await load(files(config, [view(spectrumName, [1, 2])]));
  assert.equal(method.peftType, "FOURIERFT");
  assert.deepEqual([...modules.keys()], [q]);
  assert.equal(modules.get(q)!.summary, "n = 2, seed 777, scaling 150");
  assert.match(digest, /^[0-9a-f]{64}$/);
});

test("loadAdapter widens float16 and bfloat16 coefficients exactly", async () => {
  const half = await load(fourierFiles({}, [view(spectrumName, [0x3c00, 0xc100], [2], "F16")]));
  const brain = await load(fourierFiles({}, [view(spectrumName, [0x3f80, 0xc020], [2], "BF16")]));
  for (const { modules } of [half, brain]) {
    assert.deepEqual(modules.get(q)!.spectrum!({ out: 4, in: 3 }).c, Float32Array.of(1, -2.5));
  }
});

test("check refuses n > out * in, and factors of another shape, by the module's path", async () => {
  const fourier = (await load(fourierFiles())).modules.get(q)!;
  assert.throws(() => fourier.check(q, { out: 1, in: 2 }), {
    name: "RangeError",
    message: `Cannot place 3 frequencies in module "${q}": its weight (1, 2) has 2`,
  });
  fourier.check(q, { out: 1, in: 3 });
  assert.throws(() => frequencies(3, { out: 1, in: 2 }, { seed: 1 }), RangeError);
  const factors = (await load(loraFiles())).modules.get(q)!;
  assert.throws(() => factors.check(q, { out: 3, in: 4 }), {
    name: "RangeError",
    message: `Cannot use module "${q}": its factors make a (4, 3) update, the weight is (3, 4)`,
  });
});

test("LoRA's scale follows alpha, alpha_pattern, the tensors' rank and use_rslora, as PEFT's does", async () => {
  const product = naiveProduct([1, -1, 2, 0.5, 0, 3, -2, 1], [1, 4, 2, 5, 3, 6], { out: 3, in: 2 });
  const scales: readonly (readonly [Record<string, unknown>, number])[] = [
    [{}, 4 / 2],
    [{ lora_alpha: undefined }, 8 / 2],
    [{ r: 64 }, 4 / 2],
    [{ rank_pattern: { q_proj: 2, proj: 9 }, r: 64 }, 4 / 2],
    // PEFT takes the first key that fits, and this expression may.
    [{ rank_pattern: { ".*q_proj": 2, q_proj: 9 } }, 4 / 2],
    [{ alpha_pattern: { q_proj: 3 } }, 3 / 2],
    [{ alpha_pattern: { "self_attn.q_proj": 5, q_proj: 3 } }, 5 / 2],
    [{ alpha_pattern: { [q]: 7 } }, 7 / 2],
    [{ alpha_pattern: { proj: 9, v_proj: 9 } }, 4 / 2],
    [{ use_rslora: true }, 4 / Math.SQRT2],
    [{ use_rslora: true, alpha_pattern: { q_proj: 3 } }, 3 / Math.SQRT2],
  ];
  const shape = { out: 4, in: 3 };
  const x = tensor(Float32Array.of(1, 2, -1), [1, 3]);
  for (const [config, scale] of scales) {
    const { method, modules } = await load(loraFiles(config));
    const linear = { method, module: modules.get(q)!, shape };
    const expected = product.map((value) => value * scale);
    const what = `${JSON.stringify(config)} has scale ${scale}`;
    assert.ok(distance((await deltaOf(cpuDevice(), linear)).data, expected) < 1e-6, what);
    const y = (await applyModule(cpuDevice(), linear, { x })).data;
    assert.ok(distance(y, naiveProduct(x.data, expected, shape)) < 1e-6, what);
  }
});

test("applyModule refuses inputs of other widths, rows and dtypes", async () => {
  const { method, modules } = await load(fourierFiles());
  const linear = { method, module: modules.get(q)!, shape: { out: 4, in: 3 } };
  const apply = (x: ReturnType<typeof tensor>, y?: ReturnType<typeof tensor>) =>
    applyModule(cpuDevice(), linear, { x, y });
  const x = tensor(new Float32Array(6), [2, 3]);
  await assert.rejects(
    apply(tensor(new Float32Array(6), [3, 2])),
    /"x" of shape \[3,2\]: it must be \(rows, 3\)/,
  );
  await assert.rejects(apply(x, tensor(new Float32Array(4), [1, 4])), /"y" of 1 rows: "x" has 2/);
  await assert.rejects(apply(x, tensor(new Float32Array(6), [2, 3])), /"y" of shape \[2,3\]/);
  await assert.rejects(apply(tensor(new Uint32Array(6), [2, 3])), TypeError);
  assert.deepEqual((await apply(tensor(new Float32Array(0), [0, 3]))).shape, [0, 4]);
});

/** A store in memory that counts what is asked of it; a changed folder has a new version. */
function storeOf(folders: Map<string, Files>): AdapterStore & { reads: string[] } {
  const reads: string[] = [];
  const versions = new Map<Files, string>();
  return {
    reads,
    list: () => Promise.resolve([...folders.keys()]),
    open(id): Promise<StoredAdapter | undefined> {
      const found = folders.get(id);
      if (!found) return Promise.resolve(undefined);
      if (!versions.has(found)) versions.set(found, `v${versions.size}`);
      const folder = folderOf(found);
      const counted: ReadableFolder = {
        ...folder,
        open(name) {
          reads.push(`${id}/${name}`);
          return folder.open(name);
        },
      };
      return Promise.resolve({ folder: counted, version: versions.get(found)!, modifiedUnixSeconds: 5 });
    },
  };
}

const spectrumOf = (value: number): Files => fourierFiles({}, [view(spectrumName, [value, 1])]);
const base = [{ path: q, shape: { out: 4, in: 3 } }];

function registryOf(
  folders: Map<string, Files>,
  options: { capacity?: number; log?: (line: string) => void } = {},
): { registry: Registry; reads: string[] } {
  const store = storeOf(folders);
  return {
    registry: new AdapterRegistry(cpuDevice(), store, { linears: base, ...options }),
    reads: store.reads,
  };
}

test("AdapterRegistry reads an adapter when it is first asked for, once, however many ask", async () => {
  const { registry, reads } = registryOf(new Map([["a", spectrumOf(1)], ["b", spectrumOf(2)]]));
  assert.deepEqual(reads, []);
  const leases = await Promise.all([registry.acquire("a"), registry.acquire("a"), registry.acquire("a")]);
  assert.deepEqual(reads, ["a/adapter_model.safetensors"]);
  assert.equal(new Set(leases.map(({ slot }) => slot)).size, 1);
  assert.equal((await registry.card("a")).resident, true);
  assert.equal((await registry.card("b")).resident, false);
});

test("AdapterRegistry serves a folder that was added later, and forgets one that was removed", async () => {
  const folders = new Map<string, Files>();
  const { registry } = registryOf(folders);
  await assert.rejects(registry.acquire("late"), NotFoundError);
  folders.set("late", spectrumOf(1));
  assert.equal((await registry.acquire("late")).id, "late");
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["late"]);
  folders.delete("late");
  await assert.rejects(registry.acquire("late"), NotFoundError);
  assert.deepEqual(await registry.list(), []);
});

test("AdapterRegistry reads a replaced folder anew, and who holds the old one keeps it", async () => {
  const folders = new Map([["a", spectrumOf(1)]]);
  const { registry } = registryOf(folders);
  const old = await registry.acquire("a");
  const before = await registry.delta("a", q);
  folders.set("a", spectrumOf(5));
  const replaced = await registry.acquire("a");
  assert.notEqual(replaced.slot, old.slot);
  assert.notDeepEqual((await registry.delta("a", q)).data, before.data);
  assert.notEqual((await registry.card("a")).digest, undefined);
});

test("AdapterRegistry gives one slot to equal files under two names", async () => {
  const { registry } = registryOf(new Map([["a", spectrumOf(1)], ["b", spectrumOf(1)]]));
  assert.equal((await registry.acquire("a")).slot, (await registry.acquire("b")).slot);
});

test("AdapterRegistry takes off the least recently used adapter, never one in use, and refuses when all are", async () => {
  const { registry } = registryOf(new Map(["a", "b", "c", "d"].map((id, i) => [id, spectrumOf(i)])), {
    capacity: 2,
  });
  const resident = async (): Promise<string[]> =>
    (await registry.list()).filter((card) => card.resident).map(({ id }) => id);
  const a = await registry.acquire("a");
  (await registry.acquire("b")).release();
  a.release();
  (await registry.acquire("a")).release();
  const c = await registry.acquire("c");
  assert.deepEqual(await resident(), ["a", "c"]);
  const d = await registry.acquire("d");
  assert.deepEqual(await resident(), ["c", "d"]);
  await assert.rejects(registry.acquire("a"), (error: Error) => {
    assert.ok(error instanceof OverloadedError);
    assert.match(error.message, /Cannot load adapter "a": 2 FOURIERFT adapters in use take all slots/);
    return true;
  });
  assert.deepEqual(await resident(), ["c", "d"]);
  d.release();
  d.release();
  const again = await registry.acquire("d");
  c.release();
  assert.equal((await registry.acquire("a")).slot, c.slot);
  assert.deepEqual(await resident(), ["a", "d"]);
  again.release();
});

test("AdapterRegistry refuses a module that the base model lacks, and one that does not fit it", async () => {
  const stranger = fourierFiles({}, [view("base_model.model.vision.proj.fourierft_spectrum", [1])]);
  const large = fourierFiles({}, [view(spectrumName, new Float32Array(13))]);
  const { registry } = registryOf(new Map([["stranger", stranger], ["large", large]]));
  await assert.rejects(registry.acquire("stranger"), {
    name: "ConfigError",
    message:
      'Cannot use adapter "stranger": Cannot use adapter module "vision.proj": the base model has no such linear layer',
  });
  await assert.rejects(registry.acquire("large"), /Cannot place 13 frequencies in module ".*q_proj"/);
  // A refusal is not remembered as an answer.
  await assert.rejects(registry.acquire("stranger"), ConfigError);
});

test("AdapterRegistry leaves a broken folder out of its list, with a line in the log, and shows the rest", async () => {
  const lines: string[] = [];
  const folders = new Map<string, Files>([["good", spectrumOf(1)], ["broken", { [configName]: "{" }]]);
  const { registry } = registryOf(folders, { log: (line) => lines.push(line) });
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["good"]);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /adapter "broken" is left out: Cannot read adapter_config\.json as JSON/);
  await assert.rejects(registry.card("broken"), ConfigError);
});

test("AdapterRegistry finds no name that breaks the name rule, and does not ask the store for it", async () => {
  const bad = [
    "../a",
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "a\\b",
    "a:b",
    "a\0",
    "a\nb",
    "\x9b",
    "\ud800",
    "é".repeat(128),
  ];
  const folders = new Map(bad.map((id) => [id, spectrumOf(1)]));
  const store = storeOf(folders);
  const asked: string[] = [];
  const spy: AdapterStore = {
    list: store.list,
    open(id) {
      asked.push(id);
      return store.open(id);
    },
  };
  const registry = new AdapterRegistry(cpuDevice(), spy, { linears: base });
  for (const id of bad) await assert.rejects(registry.acquire(id), NotFoundError, id);
  assert.deepEqual(await registry.list(), []);
  assert.deepEqual(asked, []);
  for (const id of ["a-1.b_2", "My-SQL-LoRA", "sql lora v2", "über-lora", "日本語", "-a", "a".repeat(255)]) {
    folders.set(id, spectrumOf(1));
    assert.equal((await registry.acquire(id)).id, id);
  }
});

test("AdapterRegistry without a base applies single modules where the shape is given", async () => {
  const store = storeOf(new Map([["a", spectrumOf(2)]]));
  const registry = new AdapterRegistry(cpuDevice(), store);
  await assert.rejects(registry.delta("a", q), /no base model is loaded, give OUTxIN/);
  const { shape } = await registry.delta("a", q, { out: 5, in: 2 });
  assert.deepEqual(shape, [5, 2]);
  await assert.rejects(registry.delta("a", "other", { out: 5, in: 2 }), NotFoundError);
  await assert.rejects(registry.acquire("a"), /no base model is loaded/);
  const based = new AdapterRegistry(cpuDevice(), store, { linears: base });
  await assert.rejects(based.delta("a", q, { out: 5, in: 2 }), /Cannot use shape 5x2 .* is 4x3/);
});

test("lazyMethods say what the methods themselves do, in their order", async () => {
  assert.equal(lazyMethods.length, methods.length);
  for (const [i, lazy] of lazyMethods.entries()) {
    const method = await lazy.load();
    assert.equal(method, methods[i]);
    assert.deepEqual([lazy.name, lazy.peftType], [method.name, method.peftType]);
    assert.equal(hasBanksApart(lazy), hasBanksApart(method), method.name);
  }
});

test("an adapter whose method cannot be loaded now is no broken adapter", async () => {
  const offline = { ...lazyMethods[0], load: () => Promise.reject(new TypeError("offline")) };
  const folder = folderOf({ [configName]: JSON.stringify({ peft_type: offline.peftType }) });
  await assert.rejects(
    loadAdapter(folder, { methods: [offline] }),
    /^StoreError: Cannot load what adapters of FourierFT need: offline$/,
  );
});

test("a list that says something else of a method than the method itself is refused", async () => {
  const [fourierft] = lazyMethods, folder = folderOf({ [configName]: '{ "peft_type": "FOURIERFT" }' });
  const load = async (other: Partial<typeof fourierft>) =>
    await loadAdapter(folder, { methods: [{ ...fourierft, ...other }] });
  await assert.rejects(load({ name: "Fourier" }), /^TypeError: .*its name must be FourierFT, it is Fourier$/);
  await assert.rejects(
    load({ hasBanksApart: true }),
    /^TypeError: .*its hasBanksApart must be false, it is true$/,
  );
});
