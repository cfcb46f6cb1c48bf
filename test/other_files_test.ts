/**
 * LoHa, LoKr, RandLoRA, SHiRA, HiRA and MiSS-bat: what their files may not hold, which weights they do not fit, and how their
 * dW is made.
 *
 * PEFT's own adapters of each method are in methods_golden_test.ts, the contract of methods in methods_test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deltaOf } from "../src/adapters/apply.ts";
import { Bank } from "../src/adapters/bank.ts";
import { baseLinear } from "../src/adapters/base.ts";
import { hira } from "../src/adapters/methods/hira.ts";
import { lokr } from "../src/adapters/methods/lokr.ts";
import { missBat } from "../src/adapters/methods/miss_bat.ts";
import { randlora } from "../src/adapters/methods/randlora.ts";
import { shira } from "../src/adapters/methods/shira.ts";
import { madeReady, readyModule } from "../src/adapters/ready.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { folderOptions } from "../src/merge.ts";
import { openFolder } from "../src/runtime/file.ts";
import { fileURLToPath } from "node:url";
import type { TensorView } from "../src/safetensors/mod.ts";
import { type Change, fixtureBase, floats, load, q } from "./changed_fixtures.ts";
import { tensor } from "../src/tensor.ts";
import { distance } from "./kernel_contract.ts";

const path = "model.layers.0.self_attn.q_proj";

/** Places of a fixture of 256 numbers: (0, 0), but for the last. */
function places(row: number, column: number): Partial<TensorView> {
  const values = new Int32Array(512);
  values[255] = row;
  values[511] = column;
  return { dtype: "I32", shape: [2, 256], bytes: new Uint8Array(values.buffer) };
}

/** Fixtures, what is changed in them, and the error's words. */
const refused: readonly (readonly [name: string, what: string, change: Change, words: RegExp])[] = [
  ["loha", "a field that nobody reads", { config: { loha_new: 1 } }, /field "loha_new" = 1/],
  ["loha", "alpha of text", { config: { alpha: "6" } }, /field "alpha" as a finite number/],
  ["loha", "a factor for dW of 0", { config: { alpha: 1e-40 } }, /"alpha" = 1e-40: dW's factor/],
  [
    "loha",
    "an expression",
    { config: { alpha_pattern: { "q.*": 1 } } },
    /"alpha_pattern" key "q\.\*": only module/,
  ],
  [
    "loha",
    "another rank",
    { config: { rank_pattern: { q_proj: 3 } } },
    /"rank_pattern\.q_proj" = 3: .* rank 4/,
  ],
  [
    "loha",
    "a convolution's tensor",
    { tensors: { [`${q}.hada_t1`]: floats([1]) } },
    /hada_t1" as LoHa: only/,
  ],
  ["loha", "a factor missing", { tensors: { [`${q}.hada_w2_b`]: undefined } }, /find .*q_proj\.hada_w2_b"/],
  ["loha", "two ranks", { tensors: { [`${q}.hada_w2_b`]: floats([3, 64]) } }, /must be \(r, in\) with r = 4/],
  [
    "loha",
    "no rank",
    {
      tensors: Object.fromEntries(
        ["w1_a", "w2_a", "w1_b", "w2_b"].map((
          one,
        ) => [`${q}.hada_${one}`, floats(one.endsWith("a") ? [64, 0] : [0, 64])]),
      ),
    },
    /its rank is 0/,
  ],
  ["lokr", "a field that nobody reads", { config: { lokr_new: 1 } }, /field "lokr_new" = 1/],
  ["lokr", "a rank of 0", { config: { r: 0 } }, /field "r" = 0: it must be above 0/],
  [
    "lokr",
    "an expression",
    { config: { rank_pattern: { "q|v": 1 } } },
    /"rank_pattern" key "q\|v": only module/,
  ],
  ["lokr", "no W2", { tensors: { [`${q}.lokr_w2`]: undefined } }, /find .*q_proj\.lokr_w2_a"/],
  [
    "lokr",
    "W1 twice",
    { tensors: { [`${q}.lokr_w1_a`]: floats([8, 2]) } },
    /has lokr_w1, and a factor of it/,
  ],
  [
    "lokr",
    "a convolution's tensor",
    { tensors: { [`${q}.lokr_t2`]: floats([1]) } },
    /lokr_t2" as LoKr: only/,
  ],
  [
    "lokr",
    "W1 of three dimensions",
    { tensors: { [`${q}.lokr_w1`]: floats([8, 8, 1]) } },
    /must be \(o, i\)/,
  ],
  ["lokr", "an empty W2", { tensors: { [`${q}.lokr_w2`]: floats([0, 8]) } }, /its lokr_w2 is \(0, 8\)/],
  ["lokr", "numbers past float32", {
    tensors: { [`${q}.lokr_w1`]: floats([8, 8], 1e30), [`${q}.lokr_w2`]: floats([8, 8], 1e30) },
  }, /q_proj": an element of its dW: it may come to/],
  [
    "lokr-factored",
    "factors of two ranks",
    { tensors: { [`${q}.lokr_w2_b`]: floats([2, 16]) } },
    /must be \(r2, q\) with r2 = 1/,
  ],
  [
    "lokr-factored",
    "a factor missing",
    { tensors: { [`${q}.lokr_w1_b`]: undefined } },
    /find .*q_proj\.lokr_w1_b"/,
  ],
  ["randlora", "sparser bases", { config: { very_sparse: true } }, /field "very_sparse" = true/],
  ["randlora", "alpha of text", { config: { randlora_alpha: [] } }, /field "randlora_alpha" as a finite/],
  [
    "randlora",
    "a seed of text",
    { config: { projection_prng_key: "2" } },
    /"projection_prng_key" as a finite/,
  ],
  ["randlora", "no gamma", { tensors: { [`${q}.randlora_gamma`]: undefined } }, /find .*randlora_gamma"/],
  [
    "randlora",
    "too few bases",
    { tensors: { [`${q}.randlora_gamma`]: floats([7, 64]), [`${q}.randlora_lambda`]: floats([8, 7]) } },
    /7 bases of rank 8 for 64 numbers/,
  ],
  [
    "randlora",
    "more numbers than the bases have",
    { tensors: { [`${q}.randlora_gamma`]: floats([9, 72]), [`${q}.randlora_lambda`]: floats([8, 9]) } },
    /9 bases of rank 8 for 72 numbers, .* \(8, 64\) and \(96, 8, 8\) shared/,
  ],
  [
    "randlora",
    "other bases in one module",
    { tensors: { [`${q}.randlora_A`]: floats([8, 1, 64]) } },
    /q_proj": its randlora_A is not that of "model\.layers\.0\.mlp\.down_proj"/,
  ],
  [
    "randlora",
    "bases of another rank",
    { tensors: { "base_model.randlora_A": floats([7, 1, 64]) } },
    /randlora_B" of shape .*: it must be \(rows, pieces, r\) with r = 7/,
  ],
  ["randlora-seed", "no base model's shapes", {}, /Cannot draw "base_model\.randlora_A", .*shapeOf/],
  ["randlora-seed", "bases that are not there", { config: { save_projection: true } }, /find .*randlora_A"/],
  ["shira", "a field that nobody reads", { config: { shira_new: 1 } }, /field "shira_new" = 1/],
  ["shira", "a turned weight", { config: { fan_in_fan_out: true } }, /"fan_in_fan_out" = true: the places/],
  ["shira", "no places", { tensors: { [`${q}.shira_indices`]: undefined } }, /find .*shira_indices"/],
  [
    "shira",
    "fewer numbers",
    { tensors: { [`${q}.shira_weight`]: floats([255]) } },
    /must be \(2?n\)|\(2, n\)/,
  ],
  ["shira", "a negative place", { tensors: { [`${q}.shira_indices`]: places(3, -1) } }, /element 511 is -1/],
  [
    "shira",
    "places of floats",
    { tensors: { [`${q}.shira_indices`]: floats([2, 256]) } },
    /dtype is F32, the rule/,
  ],
  [
    "shira",
    "large numbers",
    { tensors: { [`${q}.shira_weight`]: floats([256], 3e38) } },
    /its numbers: it may/,
  ],
  ["hira", "a field that nobody reads", { config: { hira_alpha: 1 } }, /field "hira_alpha" = 1/],
  ["hira", "no B", { tensors: { [`${q}.hira_B`]: undefined } }, /find .*q_proj\.hira_B"/],
  ["hira", "two ranks", { tensors: { [`${q}.hira_B`]: floats([64, 3]) } }, /must be \(out, r\) with r = 4/],
  ["lora", "a B that alpha takes past float32", {
    tensors: {
      [`${q}.lora_A.weight`]: floats([4, 64], 1e-30),
      [`${q}.lora_B.weight`]: floats([64, 4], 3e38),
    },
  }, /the product of adapter tensors .*lora_B.*: it may come to/],
  ["miss-bat", "a field that nobody reads", { config: { miss_new: 1 } }, /field "miss_new" = 1/],
  [
    "miss-bat",
    "blocks that are not square",
    { tensors: { [`${q}.miss_block`]: floats([8, 8, 7]) } },
    /must be \(rows, r, r\)/,
  ],
  [
    "miss-bat",
    "a block of MiSS",
    { tensors: { [`${q}.miss_block`]: floats([8, 64]) } },
    /must be \(rows, r, r\)/,
  ],
];

for (const [name, what, change, words] of refused) {
  test(`loadAdapter refuses ${name} with ${what}, by name`, async () => {
    await assert.rejects(load(name, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, words);
      return true;
    });
  });
}

test("a module is refused for a weight that it does not fit, by path", async () => {
  const base = fileURLToPath(new URL("fixtures/methods/base", import.meta.url));
  const { shapeOf } = await folderOptions(await openFolder(base));
  const wrong = [
    ["loha", { out: 64, in: 63 }, /\(64, 64\) update, the weight is \(64, 63\)/],
    ["lokr", { out: 32, in: 64 }, /its factors make a \(64, 64\) update, the weight is \(32, 64\)/],
    ["randlora", { out: 63, in: 64 }, /it scales 64 numbers, and the shared bases have 96; .*\(63, 64\)/],
    ["randlora", { out: 64, in: 97 }, /the weight is \(64, 97\)/],
    ["randlora-seed", { out: 97, in: 64 }, /the weight is \(97, 64\)/],
    ["hira", { out: 64, in: 65 }, /\(64, 64\) update, the weight is \(64, 65\)/],
    ["miss-bat", { out: 65, in: 64 }, /8 block\(s\) of 8 rows and columns, the weight is \(65, 64\)/],
    ["miss-bat", { out: 64, in: 63 }, /the weight is \(64, 63\)/],
    ["miss-bat", { out: 64, in: 2 ** 21 }, /kept whole and has 134217728 numbers, at most 67108864/],
  ] as const;
  for (const [name, shape, message] of wrong) {
    const module = (await load(name, {}, { shapeOf })).modules.get(path)!;
    assert.throws(() => module.check("a.b", shape), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, /^Cannot use module "a\.b"/);
      assert.match(error.message, message);
      return true;
    });
  }
  for (const [row, column] of [[64, 0], [0, 64]]) {
    const { modules } = await load("shira", { tensors: { [`${q}.shira_indices`]: places(row, column) } });
    assert.throws(
      () => modules.get(path)!.check("a.b", { out: 64, in: 64 }),
      /^RangeError: Cannot use module "a\.b": it has a number at .*, the weight is \(64, 64\)/,
    );
  }
});

test("dW of LoKr is the Kronecker product, row by row", async () => {
  const module = (await load("lokr")).modules.get("model.layers.0.mlp.down_proj")!,
    shape = { out: 64, in: 96 };
  const device = cpuDevice(), { values, scale } = module.pack(shape);
  const { data } = await deltaOf(device, { method: lokr, module, shape });
  const expected = Float64Array.from({ length: 64 * 96 }, (_, at) => {
    const row = Math.floor(at / 96), column = at % 96;
    const left = values[Math.floor(row / 8) * 8 + Math.floor(column / 12)];
    return scale * left * values[64 + row % 8 * 12 + column % 12];
  });
  assert.ok(distance(data, expected) < 1e-6);
});

test("SHiRA's numbers of one place add up", async () => {
  const module = (await load("shira", { tensors: { [`${q}.shira_indices`]: places(5, 7) } })).modules.get(
    path,
  )!;
  const shape = { out: 64, in: 64 }, { values } = module.pack(shape);
  const { data } = await deltaOf(cpuDevice(), { method: shira, module, shape });
  const sum = values.subarray(0, 255).reduce((all, value) => all + value, 0);
  assert.ok(Math.abs(data[0] as number - sum) < 1e-5);
  assert.equal(data[5 * 64 + 7], values[255]);
  assert.equal(data.filter((value) => value !== 0).length, 2);
});

test("a module that depends on the base's weight says so where there is none", async () => {
  for (const [name, method] of [["hira", hira], ["miss-bat", missBat]] as const) {
    const module = (await load(name)).modules.get(path)!, shape = { out: 64, in: 64 };
    await assert.rejects(
      deltaOf(cpuDevice(), { method, module, shape }),
      new RegExp(`^ConfigError: Cannot use module "linear" without its base model's weight: ${method.name}`),
    );
    assert.throws(() => module.pack(shape), /^TypeError: Cannot use a .* module before it was made ready/);
  }
});

test("DoRA refuses a magnitude that its row's norm takes past float32", async () => {
  const device = cpuDevice(), weight = device.upload(tensor(new Float32Array(64 * 64).fill(1e-3), [64, 64]));
  const { method, modules } = await load("dora", {
    tensors: {
      [`${q}.lora_B.weight`]: floats([64, 4], 0),
      [`${q}.lora_magnitude_vector`]: floats([64], 3e38),
    },
  });
  const adapter = { method, modules: new Map([[path, modules.get(path)!]]) };
  await assert.rejects(
    madeReady(device, adapter, () => baseLinear(device, weight)),
    /^ConfigError: Cannot use module ".*q_proj" as DoRA: a magnitude divided by its row's norm: it may come to/,
  );
});

test("Bank.load refuses an adapter whose tables fit no tensor of the device", async () => {
  const device: Device = { ...cpuDevice(), maxTensorBytes: 4 * 3000 };
  const { method, modules } = await load("shira");
  const linears = [...modules.keys()].map((one) => ({
    path: one,
    shape: one.endsWith("down_proj")
      ? { out: 64, in: 96 }
      : { out: one.endsWith("v_proj") ? 32 : 64, in: 64 },
  }));
  const roomy = new Bank(device, method, { linears, capacity: 2 });
  assert.equal(roomy.load(modules), 0);
  // There is no room for a second one until the first goes.
  const again = (await load("shira")).modules;
  assert.equal(roomy.load(again), undefined);
  roomy.unload(0);
  assert.equal(roomy.load(again), 0);
  const narrow = new Bank({ ...device, maxTensorBytes: 4 * 1500 }, method, { linears, capacity: 2 });
  assert.throws(
    () => narrow.load(modules),
    /^RangeError: Cannot put an adapter on the device: its shared tables belong in one tensor/,
  );
});

test("RandLoRA: drawn sparse bases have the base weight's dtype, as PEFT keeps them", async () => {
  const { modules } = await load("randlora-sparse", {}, fixtureBase), shape = { out: 64, in: 64 };
  const module = modules.get(path)!;
  assert.throws(() => module.pack(shape), /RandLoRA module of drawn bases before it was made ready/);
  // The greatest number of A, and the sum of all, by PEFT on bases of each dtype.
  const known = {
    float32: [1.7655565738677979, -10.593339443206787],
    bfloat16: [1.765625, -10.59375],
    float16: [1.765625, -10.59375],
  } as const;
  const device = cpuDevice();
  for (const [dtype, [most, sum]] of Object.entries(known) as [keyof typeof known, readonly number[]][]) {
    const weight = device.alloc([shape.out, shape.in], dtype);
    const io = { path, module, method: randlora, base: baseLinear(device, weight) };
    const { table } = (await readyModule(device, io)).pack(shape), words = table!.words();
    const a = new Float32Array(words.buffer, words.byteOffset + 16, 8 * 64);
    assert.equal(a.reduce((one, value) => Math.max(one, Math.abs(value)), 0), most, dtype);
    assert.equal(a.reduce((all, value) => all + value, 0), sum, dtype);
  }
});
