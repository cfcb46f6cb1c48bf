/**
 * Methods that are served as factors: how their files are read, and for which weights.
 *
 * PEFT's own adapters of each method are in methods_golden_test.ts, the contract of methods in methods_test.ts.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { torchGenerator, torchNormal, torchUniform } from "../kernels/torch_draws.ts";
import { deltaOf } from "../src/adapters/apply.ts";
import { adalora } from "../src/adapters/methods/adalora.ts";
import { loraXs } from "../src/adapters/methods/lora_xs.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { baseOptions } from "../src/adapters/base_options.ts";
import { folderOptions } from "../src/merge.ts";
import { modelLinears, readConfig } from "../src/models/families.ts";
import { openFolder } from "../src/runtime/file.ts";
import { fromTensor, parseSafetensors, toFloat32, writeSafetensors } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { fixtureBase, floats, indices, load, q, wideIndices } from "./changed_fixtures.ts";
import { distance } from "./kernel_contract.ts";

const topk = `${q}.vblora_logits_A_topk`;

/** The numbers of a fixture's tensors, by what follows `base_model.`. */
function tensorsOf(name: string): (tensor: string) => Float32Array {
  const path = fileURLToPath(new URL(`fixtures/methods/${name}/adapter_model.safetensors`, import.meta.url));
  const file = parseSafetensors(new Uint8Array(readFileSync(path)));
  return (one) => toFloat32(file.read(`base_model.${one}`));
}

test("loadAdapter reads VB-LoRA's indices of every dtype that PEFT writes", async () => {
  const path = "model.layers.0.self_attn.q_proj", shape = { out: 64, in: 64 };
  const packed = [];
  for (
    const one of [
      indices(new Uint8Array(64), []),
      indices(new Int16Array(64), []),
      indices(new Int32Array(64), []),
      wideIndices([]),
    ]
  ) {
    const { modules } = await load("vblora-topk", { tensors: { [`${topk}_indices`]: one } });
    packed.push(modules.get(path)!.pack(shape).values);
  }
  for (const one of packed) assert.deepEqual(one, packed[0]);
});

test("a folded module is refused for a weight that its factors do not fit, by path", async () => {
  const wrong = [
    ["vera", { out: 64, in: 97 }, /\(64, 96\) update, the weight is \(64, 97\)/],
    ["vera", { out: 65, in: 64 }, /\(64, 64\) update, the weight is \(65, 64\)/],
    ["miss", { out: 63, in: 64 }, /\(64, 64\) update, the weight is \(63, 64\)/],
    ["miss-mini", { out: 66, in: 64 }, /block of 4 outputs repeats, the weight has 66/],
    ["miss-mini", { out: 64, in: 7 }, /rank 8 is more than the weight's 7 inputs/],
    ["miss-mini", { out: 2 ** 23, in: 64 }, /factors of rank 8 have 67109376 numbers, at most 67108864/],
  ] as const;
  for (const [name, shape, message] of wrong) {
    const { modules } = await load(name);
    const module = modules.get("model.layers.0.self_attn.q_proj")!;
    assert.throws(() => module.check("a.b", shape), (error: Error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, /^Cannot use module "a\.b"/);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("a folded module whose dW would be past float32 is refused", async () => {
  const { modules } = await load("adalora", {
    tensors: { [`${q}.lora_E`]: floats([6, 1], 1e38), [`${q}.lora_B`]: floats([64, 6], 1e3) },
  });
  assert.throws(
    () => modules.get("model.layers.0.self_attn.q_proj")!.check("a.b", { out: 64, in: 64 }),
    /^ConfigError: Cannot use module "a\.b": an element of its dW: it may come to .*, float32 ends at/,
  );
});

test("VB-LoRA mixes the greatest logits of each vector, of few or of all", async () => {
  const path = "model.layers.0.self_attn.q_proj", shape = { out: 64, in: 64 };
  const tensors = tensorsOf("vblora"), bank = tensors("vblora_vector_bank");
  const logits = tensors(`model.${path}.vblora_logits_A`);
  for (const topk of [1, 2, 16, 17, 24]) {
    const { modules } = await load("vblora", { config: { topk } });
    const expected = Float64Array.from({ length: 4 * 64 }, (_, at) => {
      const own = [...logits.subarray(Math.floor(at / 8) * 24, Math.floor(at / 8) * 24 + 24)];
      const least = [...own].sort((a, b) => b - a)[topk - 1];
      const powers = own.map((value) => value < least ? 0 : Math.exp(value));
      const total = powers.reduce((sum, power) => sum + power);
      return powers.reduce((sum, power, j) => sum + power / total * bank[8 * j + at % 8], 0);
    });
    const { values } = modules.get(path)!.pack(shape);
    assert.ok(distance(values.subarray(0, 4 * 64), expected) < 1e-7, `top ${topk}`);
  }
});

test("DeLoRA takes vectors of no length for vectors of 1e-4", async () => {
  const path = "model.layers.0.self_attn.q_proj", shape = { out: 64, in: 64 };
  const { modules } = await load("delora", {
    tensors: {
      [`${q}.delora_A`]: floats([4, 64], 1e-6),
      [`${q}.delora_B`]: floats([64, 4], 0),
      [`${q}.delora_w_norm`]: floats([64], 1),
    },
  });
  const { values } = modules.get(path)!.pack(shape);
  assert.ok(distance(values.subarray(0, 4 * 64), new Float32Array(4 * 64).fill(1e-2)) < 1e-6);
  assert.ok(values.subarray(4 * 64).every((value) => value === 0));
});

test("TinyLoRA's last group has the modules that are left over", async () => {
  const v = (group: number) => `base_model.tinylora_v.${group}`;
  const { modules } = await load("tinylora", {
    config: { weight_tying: 1 / 3 },
    tensors: { [v(4)]: undefined, [v(5)]: undefined, [v(3)]: floats([8]) },
  }, fixtureBase);
  const untied = await load(
    "tinylora",
    { tensors: { [v(4)]: floats([8]), [v(5)]: floats([8]) } },
    fixtureBase,
  );
  for (const [name, out, inSize] of [["self_attn.v_proj", 32, 64], ["mlp.down_proj", 64, 96]] as const) {
    const [found, expected] = [modules, untied.modules].map((all) =>
      all.get(`model.layers.1.${name}`)!.pack({ out, in: inSize })
    );
    assert.deepEqual(found, expected);
  }
});

test("a folded module of no shape of its own is folded for each shape that asks", async () => {
  const module = (await load("miss-mini")).modules.get("model.layers.0.self_attn.q_proj")!;
  for (const [out, inSize] of [[64, 64], [64, 96], [32, 96]]) {
    assert.equal(module.pack({ out, in: inSize }).values.length, 8 * (out + inSize));
  }
});

test("LoRA-XS is read by the names of both of PEFT's times", async () => {
  const old = await load("lora-xs"), at = `${q}_lora_latent_mapping.weight`;
  const file = parseSafetensors(
    new Uint8Array(readFileSync(
      fileURLToPath(new URL("fixtures/methods/lora-xs/adapter_model.safetensors", import.meta.url)),
    )),
  );
  const { dtype, shape, bytes } = file.read(at);
  const renamed = await load("lora-xs", {
    tensors: { [at]: undefined, [`${q}.default_lora_latent_mapping.weight`]: { dtype, shape, bytes } },
  });
  const path = "model.layers.0.self_attn.q_proj", square = { out: 64, in: 64 };
  assert.equal(renamed.method, loraXs);
  assert.deepEqual(renamed.modules.get(path)!.pack(square), old.modules.get(path)!.pack(square));
});

test("AdaLoRA takes its first rank for an alpha of 0 or less, as PEFT does", async () => {
  const path = "model.layers.0.self_attn.q_proj", square = { out: 64, in: 64 };
  const scaleOf = async (config: Readonly<Record<string, unknown>>) => {
    const { modules } = await load("adalora", { config });
    return modules.get(path)!.factors!(square).scale;
  };
  const expected = await scaleOf({ init_r: 6, lora_alpha: 6 });
  assert.ok(Math.abs(expected - 1) < 1e-5);
  for (const alpha of [0, -3]) assert.equal(await scaleOf({ init_r: 6, lora_alpha: alpha }), expected);
});

test("an AdaLoRA module that lost every rank adds nothing", async () => {
  const { modules } = await load("adalora", {
    tensors: {
      [`${q}.lora_A`]: floats([0, 64]),
      [`${q}.lora_E`]: floats([0, 1]),
      [`${q}.lora_B`]: floats([64, 0]),
    },
  });
  const shape = { out: 64, in: 64 }, module = modules.get("model.layers.0.self_attn.q_proj")!;
  module.check("a.b", shape);
  const { data } = await deltaOf(cpuDevice(), { method: adalora, module, shape });
  assert.ok(data.every((value) => value === 0));
});

test("torchUniform and torchNormal draw the projections that PEFT saves", () => {
  const random = torchGenerator(1), vera = tensorsOf("vera");
  for (const [name, count, columns] of [["vera_A", 8 * 96, 96], ["vera_B", 64 * 8, 8]] as const) {
    const bound = Math.sqrt(6 / columns);
    assert.deepEqual(torchUniform(random, count, { low: -bound, high: bound }), vera(name));
  }
  const tinylora = tensorsOf("tinylora");
  for (const [number, name] of ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"].entries()) {
    const found = torchNormal(torchGenerator(42 + number), 8 * 4 * 4, 0.5);
    assert.ok(distance(found, tinylora(`model.model.layers.0.${name}.tinylora_P`)) < 2e-7);
  }
  assert.throws(() => torchNormal(random, 15, 1), /^RangeError: Cannot draw 15 normal numbers/);
});

test("torchNormal draws the last 16 numbers anew where 16 does not divide the count", () => {
  const found = torchNormal(torchGenerator(7), 20, 1), later = torchGenerator(7);
  for (let i = 0; i < 20; i++) later.next();
  const first = torchNormal(torchGenerator(7), 16, 1), last = torchNormal(later, 16, 1);
  assert.deepEqual(found, Float32Array.from([...first.subarray(0, 4), ...last]));
});

test("TinyLoRA's groups and draws go by the model's order, whatever it is", async () => {
  const paths = [...(await load("tinylora-tied-seed", {}, fixtureBase)).modules.keys()];
  const valuesBy = async (order: readonly string[], names = order) => {
    const placeOf = (path: string) => order.indexOf(path);
    const { modules } = await load("tinylora-tied-seed", {}, { placeOf });
    return names.map((path) => modules.get(path)!.pack({ out: 64, in: 64 }).values);
  };
  const [q0] = paths.filter((path) => path.endsWith("layers.0.self_attn.q_proj"));
  const first = await valuesBy([q0, ...paths.filter((path) => path !== q0)], [q0]);
  const last = await valuesBy([...paths.filter((path) => path !== q0), q0], [q0]);
  assert.notDeepEqual(first, last);
});

test("folderOptions and baseOptions give the shapes and the order of a model, of every family", async () => {
  for (const name of ["methods/base", "families/gpt2/base"]) {
    const folder = await openFolder(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)));
    const all = modelLinears(await readConfig(folder));
    const linears = all.filter(({ path }) => path !== "lm_head");
    assert.ok(linears.length > 0);
    for (const { shapeOf, placeOf } of [await folderOptions(folder), baseOptions(all)]) {
      for (const { path, shape } of linears) assert.deepEqual(shapeOf(path), shape);
      assert.deepEqual(all.map(({ path }) => placeOf(path)), all.map((_, place) => place));
      for (const path of ["model.norm", "x.y"]) {
        assert.equal(shapeOf(path), undefined);
        assert.equal(placeOf(path), undefined);
      }
    }
  }
});

test("folderOptions gives no order where config.json does not say it", async () => {
  const files = {
    "model.safetensors": writeSafetensors([fromTensor("a.weight", tensor(new Float32Array(6), [2, 3]))]),
  };
  const encode = (fields: object) => new TextEncoder().encode(JSON.stringify(fields));
  for (const config of [{}, { "config.json": encode({ model_type: "mamba" }) }]) {
    const { shapeOf, placeOf } = await folderOptions(
      memoryFolder(new Map(Object.entries({ ...files, ...config }))),
    );
    assert.deepEqual(shapeOf("a"), { out: 2, in: 3 });
    assert.throws(() => placeOf("a"), /^ConfigError: Cannot read config\.json field "model_type"/);
  }
});

test("VeRA's projections are drawn for linears of the base model alone, and for few enough numbers", async () => {
  const shapeOf = () => ({ out: 2 ** 24, in: 64 });
  await assert.rejects(
    load("vera-seed", {}, { shapeOf }),
    /^ConfigError: Cannot draw projections of rank 6: .* 67108864/,
  );
  await assert.rejects(
    load("vera-seed", {}, { shapeOf: () => undefined }),
    /^ConfigError: Cannot use adapter module "model\.layers\.0\.mlp\.down_proj": the base model has no such/,
  );
  await assert.rejects(
    load("vera-seed", { tensors: { [`${q}.vera_lambda_d`]: floats([5]) } }, {
      shapeOf: () => ({ out: 8, in: 8 }),
    }),
    /^ConfigError: Cannot use adapter module "model.*q_proj": its rank is not the 6 of "model/,
  );
});
