import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type AdapterStore,
  cpuDevice,
  loadAdapter,
  mergeFolder,
  openModel,
  type ReadableFolder,
} from "../mod.ts";
import { float32ToBfloat16, float32ToFloat16, widen } from "../kernels/half.ts";
import { ConfigError } from "../src/errors.ts";
import { parseLlamaConfig } from "../src/models/llama/config.ts";
import { parseConfigText } from "../src/models/config_fields.ts";
import { readConfig } from "../src/models/families.ts";
import { SafetensorsError, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import {
  memoryFolder,
  tinyFields,
  tinyFolder,
  tinyWeights,
  type Weights,
  weightsFile,
} from "./model_folders.ts";

const q = "model.layers.0.self_attn.q_proj";
const tied = "llama-bias-tied", untied = "llama";
const headCopy = "base_model.model.lm_head.base_layer.weight";
const embeddingName = "model.embed_tokens.weight";
const fourierConfig = { peft_type: "FOURIERFT", scaling: 10, random_loc_seed: 777 };
const loraConfig = { peft_type: "LORA", r: 2, lora_alpha: 4 };

const ones = (...shape: number[]): HostTensor =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape);
const filled = (value: number, ...shape: number[]): HostTensor =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
const float32 = ({ data, dtype, shape }: HostTensor): HostTensor => tensor(widen(data, dtype).slice(), shape);
const brain = ({ data, dtype, shape }: HostTensor): HostTensor =>
  tensor(float32ToBfloat16(widen(data, dtype)), shape, { dtype: "bfloat16" });
const half = ({ data, dtype, shape }: HostTensor): HostTensor =>
  tensor(float32ToFloat16(widen(data, dtype)), shape, { dtype: "float16" });

function adapterOf(
  config: Record<string, unknown>,
  weights: Weights | readonly TensorView[],
): ReadableFolder {
  return memoryFolder({
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": Array.isArray(weights)
      ? writeSafetensors(weights)
      : weightsFile(weights as Weights),
  });
}

const spectrum = (path: string, t: HostTensor = ones(3)): Weights => ({
  [`base_model.model.${path}.fourierft_spectrum`]: t,
});

/** One adapter, "a". */
const storeOf = (folder: ReadableFolder): AdapterStore => ({
  list: () => Promise.resolve(["a"]),
  open: (id) => Promise.resolve(id === "a" ? { folder, version: "1", modifiedUnixSeconds: 1 } : undefined),
});

async function onto(
  base: ReadableFolder,
  weights: Weights,
  { config = fourierConfig, quantize }: { config?: Record<string, unknown>; quantize?: "int4" } = {},
) {
  const adapters = storeOf(adapterOf(config, weights));
  const { registry } = await openModel(cpuDevice(), { folder: base, adapters, quantize });
  return await registry.load("a");
}

const refusesLoad = (folder: ReadableFolder, message: RegExp): Promise<void> =>
  assert.rejects(loadAdapter(folder), { name: "ConfigError", message });

/** A model whose head is stored as float16. */
const half16 = "with a float16 head";
const halfHead = half(tinyWeights(untied)["lm_head.weight"]);
const halfFolder = (): ReadableFolder =>
  tinyFolder(untied, { weights: { ...tinyWeights(untied), "lm_head.weight": halfHead } });

test("AdapterRegistry takes copies of base weights that PEFT writes, and keeps the adapter alone", async () => {
  const head = tinyWeights(untied)["lm_head.weight"], embedding = tinyWeights(tied)[embeddingName];
  const taken: readonly (readonly [string, string, HostTensor])[] = [
    [untied, headCopy, head],
    [untied, "base_model.model.lm_head.weight", head],
    [untied, `base_model.model.${embeddingName}`, tinyWeights(untied)[embeddingName]],
    // A tied head's weight is the embedding.
    [tied, headCopy, embedding],
    // A base that was loaded as another dtype is saved as that.
    [tied, headCopy, brain(embedding)],
    [tied, headCopy, half(embedding)],
    [half16, headCopy, float32(halfHead)],
  ];
  for (const [base, name, copy] of taken) {
    for (const quantize of [undefined, "int4"] as const) {
      const folder = base === half16 ? halfFolder() : tinyFolder(base);
      const loaded = await onto(folder, { ...spectrum("lm_head"), [name]: copy }, { quantize });
      assert.deepEqual([...loaded.modules.keys()], ["lm_head"]);
      assert.equal(loaded.copies.size, 0);
    }
  }
});

test("AdapterRegistry refuses a copy that is none, by tensor and reason", async () => {
  const { [embeddingName]: embedding } = tinyWeights(tied);
  const other = float32(embedding);
  other.data[5] += 1;
  const refused: readonly (readonly [Weights, RegExp])[] = [
    [
      { [headCopy]: other },
      /"base_model\.model\.lm_head\.base_layer\.weight" as a copy.*numbers are not those/,
    ],
    [{ [headCopy]: ones(2, 2) }, /its shape is \[2,2\], that of the model's weight \[32,16\]/],
    [{ [`base_model.model.${q}x.base_layer.weight`]: other }, /the model has no such weight/],
    [{ [headCopy]: embedding, "base_model.model.lm_head.weight": embedding }, /it comes twice/],
  ];
  for (const [copies, message] of refused) {
    await assert.rejects(onto(tinyFolder(tied), { ...spectrum(q), ...copies }), {
      name: "ConfigError",
      message,
    });
  }
});

test("mergeFolder refuses an adapter whose copy of a base weight is none, and writes nothing", async () => {
  const adapter = await loadAdapter(
    adapterOf(fourierConfig, { ...spectrum(q), [headCopy]: ones(32, 16) }),
  );
  const out = { write: () => Promise.reject(new Error("written")) };
  await assert.rejects(mergeFolder(cpuDevice(), { model: tinyFolder(tied), adapter, out }), {
    name: "ConfigError",
    message: /as a copy of the base model's "lm_head\.weight"/,
  });
});

test("AdapterRegistry calls an adapter that does not fit its base broken, as ConfigError", async () => {
  await assert.rejects(onto(tinyFolder(untied), spectrum(q, ones(16 * 16 + 1))), {
    name: "ConfigError",
    message: /Cannot place 257 frequencies/,
  });
});

test("loadAdapter refuses dtypes that kernels do not read, by tensor and dtype", async () => {
  const name = Object.keys(spectrum(q))[0];
  const widths = { F64: 8, I64: 8, BOOL: 1, U8: 1, I16: 2, F8_E4M3: 1 } as const;
  for (const [dtype, width] of Object.entries(widths)) {
    const view = { name, dtype: dtype as keyof typeof widths, shape: [2], bytes: new Uint8Array(2 * width) };
    await refusesLoad(
      adapterOf(fourierConfig, [view]),
      new RegExp(`Cannot read adapter tensor "${name}": its dtype is ${dtype}, the rule is F32, F16 or BF16`),
    );
  }
});

test("loadAdapter says of a file that it is a git-lfs pointer or a web page, of config and weights", async () => {
  for (
    const [content, message] of [
      ["version https://git-lfs.github.com/spec/v1\n", /git-lfs pointer/],
      ["<!DOCTYPE html>\n<html>", /web page/],
    ] as const
  ) {
    const good = { "adapter_config.json": JSON.stringify(fourierConfig), "adapter_model.safetensors": "" };
    await refusesLoad(memoryFolder({ ...good, "adapter_config.json": content }), message);
    await refusesLoad(memoryFolder({ ...good, "adapter_model.safetensors": content }), message);
  }
});

/** Adapters whose dW is past float32, or nothing in it: config, tensors, and what the message must name. */
const past: readonly (readonly [Record<string, unknown>, Weights, RegExp])[] = [
  [{ ...fourierConfig, scaling: 1e308 }, spectrum(q), /"scaling" = 1e\+308/],
  [{ ...fourierConfig, scaling: -1e39 }, spectrum(q), /"scaling" = -1e\+39/],
  [{ ...fourierConfig, scaling: 1e-45 }, spectrum(q), /"scaling" = 1e-45/],
  [fourierConfig, spectrum(q, filled(3e38, 3)), /the sum of adapter tensor ".*q_proj\.fourierft_spectrum"/],
  [{ ...loraConfig, lora_alpha: 1e308 }, lora(ones(2, 16), ones(16, 2)), /"lora_alpha" = 1e\+308/],
  [{ ...loraConfig, lora_alpha: 1e-60 }, lora(ones(2, 16), ones(16, 2)), /"lora_alpha" = 1e-60/],
  [
    { ...loraConfig, alpha_pattern: { q_proj: -1e300 } },
    lora(ones(2, 16), ones(16, 2)),
    /"alpha_pattern\.q_proj" = -1e\+300/,
  ],
  [
    loraConfig,
    lora(filled(1e20, 2, 16), filled(-1e20, 16, 2)),
    /product of adapter tensors ".*lora_B.*lora_A/,
  ],
  [
    { ...loraConfig, lora_alpha: 1e30 },
    lora(filled(1e5, 2, 16), filled(1e5, 16, 2)),
    /product of adapter tensors/,
  ],
];

function lora(a: HostTensor, b: HostTensor): Weights {
  return { [`base_model.model.${q}.lora_A.weight`]: a, [`base_model.model.${q}.lora_B.weight`]: b };
}

for (const [config, weights, message] of past) {
  test(`loadAdapter refuses what float32 cannot hold: ${message.source}`, () =>
    refusesLoad(adapterOf(config, weights), message));
}

test("check refuses a scaling and coefficients that are past float32 only for the linear's shape", async () => {
  const load = async (scaling: number, value: number) =>
    (await loadAdapter(adapterOf({ ...fourierConfig, scaling }, spectrum(q, filled(value, 3))))).modules.get(
      q,
    )!;
  const large = await load(1e38, 1e3);
  assert.throws(() => large.check(q, { out: 2, in: 2 }), {
    name: "ConfigError",
    message: /with scaling 1e\+38/,
  });
  large.check(q, { out: 1000, in: 1000 });
  const small = await load(1e-36, 1);
  assert.throws(() => small.check(q, { out: 16, in: 16 }), {
    name: "ConfigError",
    message: /"scaling" = 1e-36/,
  });
  small.check(q, { out: 2, in: 2 });
});

test("loadAdapter takes scalings of 0, and large numbers that small ones make up for", async () => {
  await loadAdapter(adapterOf({ ...fourierConfig, scaling: 0 }, spectrum(q)));
  await loadAdapter(adapterOf({ ...loraConfig, lora_alpha: 0 }, lora(ones(2, 16), ones(16, 2))));
  await loadAdapter(adapterOf(loraConfig, lora(filled(1e30, 2, 16), filled(1e-20, 16, 2))));
});

test("loadAdapter refuses a use_rslora that is neither true nor false: it would change the scale", () =>
  refusesLoad(
    adapterOf({ ...loraConfig, use_rslora: 1 }, lora(ones(2, 16), ones(16, 2))),
    /field "use_rslora" as true or false: it is 1/,
  ));

test("loadAdapter looks at every key of alpha_pattern, and takes the first that fits", async () => {
  const weights = lora(ones(2, 16), ones(16, 2));
  await refusesLoad(
    adapterOf({ ...loraConfig, alpha_pattern: { q_proj: 8, "k_.*": 2 } }, weights),
    /"alpha_pattern" key "k_\.\*"/,
  );
  const { modules } = await loadAdapter(
    adapterOf({ ...loraConfig, alpha_pattern: { q_proj: 8, "self_attn.q_proj": 2 } }, weights),
  );
  assert.equal(modules.get(q)!.summary, "r = 2, scale 4");
});

/** Only the errors that say what is wrong with a file. */
function isAnswer(error: unknown): void {
  assert.ok(error instanceof ConfigError || error instanceof SafetensorsError, `${error}`);
}

test("loadAdapter answers any value of any field with ConfigError alone, or takes it", async () => {
  const fields = [
    ...[
      "peft_type",
      "scaling",
      "random_loc_seed",
      "r",
      "lora_alpha",
      "alpha_pattern",
      "rank_pattern",
      "use_rslora",
    ],
    ...["init_lora_weights", "modules_to_save", "target_modules", "bias", "n_frequency", "layer_replication"],
    ...["block_size", "block_size_pattern", "wavelet_family", "use_idwt", "n_frequency_pattern"],
  ];
  const adapters = [
    [loraConfig, lora(ones(2, 16), ones(16, 2))],
    [fourierConfig, spectrum(q)],
    [{ peft_type: "C3A", block_size: 8 }, { [`base_model.model.${q}.c3a_kernel`]: ones(2, 2, 8) }],
    [
      { peft_type: "WAVEFT", scaling: 25, random_loc_seed: 777 },
      { [`base_model.model.${q}.waveft_spectrum`]: ones(3) },
    ],
  ] as const;
  const value = fc.oneof(
    fc.jsonValue(),
    fc.double(),
    fc.constantFrom("FOURIERFT", "LORA", "C3A", "WAVEFT", "db4", 1e308, -0, {}, []),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...adapters),
      fc.dictionary(fc.constantFrom(...fields), value),
      async ([config, weights], changes) => {
        try {
          await loadAdapter(adapterOf({ ...config, ...changes }, weights));
        } catch (error) {
          isAnswer(error);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("readConfig refuses more layers than any model has, before they are listed", async () => {
  for (const type of ["llama", "qwen2", "gpt2", "bert", "vit"]) {
    const fields = { ...tinyFields("llama"), model_type: type, num_hidden_layers: 2 ** 50 };
    const folder = memoryFolder({ "config.json": JSON.stringify(fields) });
    await assert.rejects(
      readConfig(folder),
      /"num_hidden_layers" = 1125899906842624: it must be at most 4096/,
    );
  }
});

test("parseLlamaConfig answers any value of any field with ConfigError alone, or takes it", () => {
  const fields = Object.keys(tinyFields("qwen2"));
  const rope = [
    ...["rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "attention_factor"],
    ...["beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "short_factor", "long_factor"],
    ...["low_freq_factor", "high_freq_factor", "partial_rotary_factor"],
  ];
  const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(0, 1, 2, 8, 1e308, 5e-324, -1));
  const type = fc.constantFrom("default", "linear", "dynamic", "yarn", "longrope", "llama3", null, "su");
  const own = fc.record({
    rope_type: type,
    ...Object.fromEntries(rope.slice(2).map((name) => [name, fc.oneof(number, number, fc.jsonValue())])),
    short_factor: fc.oneof(fc.array(number, { minLength: 2, maxLength: 2 }), fc.jsonValue()),
    long_factor: fc.oneof(fc.array(number, { minLength: 2, maxLength: 2 }), fc.jsonValue()),
  }, { requiredKeys: ["rope_type"] });
  const changes = fc.dictionary(
    fc.constantFrom(...fields, "rope_scaling", "sliding_window"),
    fc.oneof(number, fc.jsonValue()),
  );
  fc.assert(
    fc.property(changes, fc.option(own), (others, rope_parameters) => {
      const made = { ...tinyFields("llama"), ...others, ...(rope_parameters ? { rope_parameters } : {}) };
      try {
        const { maxPositions } = parseLlamaConfig(parseConfigText(JSON.stringify(made)));
        assert.ok(Number.isSafeInteger(maxPositions) && maxPositions > 0, `${maxPositions}`);
      } catch (error) {
        isAnswer(error);
      }
    }),
    { numRuns: 3000 },
  );
});

test("parseConfigText answers any text with ConfigError alone, or an object", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    try {
      assert.equal(typeof parseConfigText(text), "object");
    } catch (error) {
      isAnswer(error);
    }
  }));
});

test("openModel answers a weight file of any tensors with ConfigError or SafetensorsError alone", async () => {
  const names = ["lm_head.weight", embeddingName, "norm.weight", "model.norm.weight", `${q}.weight`, "x"];
  const made = fc.dictionary(
    fc.constantFrom(...names),
    fc.array(fc.nat(3), { maxLength: 3 }).map((shape) => ones(...shape)),
  );
  await fc.assert(
    fc.asyncProperty(made, async (weights) => {
      const all = { ...tinyWeights(tied), ...weights };
      const folder = tinyFolder(tied, { weights: all });
      await openModel(cpuDevice(), { folder, maxModelLen: 4 }).then(() => {}, isAnswer);
    }),
    { numRuns: 60 },
  );
});
