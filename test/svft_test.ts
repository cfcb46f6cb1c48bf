/**
 * SVFT's files, the base's singular vectors that they stand on, and its training by float64's numbers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { q8_32 } from "../kernels/formats/mod.ts";
import { normals } from "../kernels/kernel.ts";
import { applyModule } from "../src/adapters/apply.ts";
import { Bank } from "../src/adapters/bank.ts";
import { baseLinear } from "../src/adapters/base.ts";
import type { BaseLinear, LinearShape } from "../src/adapters/method.ts";
import { svft } from "../src/adapters/methods/svft.ts";
import { loadAdapter, type LoadedAdapter } from "../src/adapters/peft.ts";
import { madeReady } from "../src/adapters/ready.ts";
import type { Device } from "../src/device/device.ts";
import { modelBase } from "../src/engine/base.ts";
import { uniforms } from "../src/engine/random.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { tensor } from "../src/tensor.ts";
import { noTarget } from "../src/training/batch.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { train } from "../src/train.ts";
import { Trainer } from "../src/training/trainer.ts";
import { distance } from "./kernel_contract.ts";
import { adapterBytes, methodFixture } from "./method_fixtures.ts";
import { banded, base, delta, device, filesOf, shape, square } from "./svft_adapters.ts";
import { newModule } from "./new_module.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));
const path = "model.layers.0.self_attn.q_proj";

function numbersOf(name: string): Map<string, Float32Array> {
  return floatsOf(new Uint8Array(readFileSync(fixture(name))));
}

function floatsOf(bytes: Uint8Array): Map<string, Float32Array> {
  const file = parseSafetensors(bytes);
  const floats = [...file.tensors.keys()].filter((one) => file.tensors.get(one)!.dtype === "F32");
  return new Map(floats.map((one) => [one, toFloat32(file.read(one))]));
}

const weights = numbersOf("base/model.safetensors");
const baseOf = (one: string): BaseLinear | undefined => {
  const weight = weights.get(`${one}.weight`), bias = weights.get(`${one}.bias`);
  const out = bias?.length ?? 64;
  return weight && baseLinear(device, device.upload(tensor(weight.slice(), [out, weight.length / out])));
};

/** How far u diag(s_pre) v of a file is from W, in float64 (out, in); undefined for a file without all vectors. */
function offBase(name: string, path: string, { out, in: inSize }: LinearShape): Float64Array | undefined {
  const file = floatsOf(adapterBytes(name)),
    of = (last: string) => file.get(`${path}.svft_layer.${last}`);
  const u = of("u"), s = of("s_pre"), v = of("v");
  if (!u || !s || !v || s.length < Math.min(out, inSize)) return undefined;
  const off = Float64Array.from(weights.get(`${path}.weight`)!, (value) => -value);
  for (let o = 0; o < out; o++) {
    for (let k = 0; k < s.length; k++) {
      const factor = u[o * s.length + k] * s[k];
      for (let i = 0; i < inSize; i++) off[o * inSize + i] += factor * v[k * inSize + i];
    }
  }
  return off;
}

test("SVFT: single modules of every pattern are float64's to a millionth", async () => {
  for (
    const name of ["plain", "plain-slim", "banded", "random", "topk", "rank"].map((one) => `svft-${one}`)
  ) {
    const { method, modules } = await loadAdapter(await methodFixture(name));
    const truth = numbersOf(`golden/${name}.safetensors`);
    const { modules: goldens } = JSON.parse(readFileSync(fixture(`golden/${name}.json`), "utf8"));
    for (const { path, x, y } of goldens) {
      const own = baseOf(path)!, { out, in: inSize } = own.shapes[0];
      const weight = weights.get(`${path}.weight`)!, bias = weights.get(`${path}.bias`);
      const rows = truth.get(x)!;
      const plain = Float32Array.from({ length: 2 * out }, (_, i) => {
        let sum = bias?.[i % out] ?? 0;
        for (let k = 0; k < inSize; k++) {
          sum += rows[Math.floor(i / out) * inSize + k] * weight[(i % out) * inSize + k];
        }
        return sum;
      });
      const found = await applyModule(
        device,
        { method, module: modules.get(path)!, shape: own.shapes[0], base: own },
        { x: tensor(rows, [2, inSize]), y: tensor(plain, [2, out]) },
      );
      // The authors' layer has u diag(s_pre) v of the file in the place of W. Rounded vectors are 9e-7 off W, which stays
      // as it is here: beside W the module is float64's to less.
      const off = offBase(name, path, own.shapes[0]);
      const expected = Float64Array.from(truth.get(y)!, (value, at) => {
        const row = Math.floor(at / out) * inSize, o = at % out * inSize;
        for (let k = 0; off && k < inSize; k++) value -= rows[row + k] * off[o + k];
        return value;
      });
      const error = distance(found.data, expected), limit = name === "svft-rank" ? 1e-6 : 2e-7;
      assert.ok(error < limit, `${name}, ${path}: ${error}`);
    }
  }
});

test("SVFT: a file with other signs of its vectors is the same adapter", async () => {
  const own = base(shape), tensors = await banded(own, 2), signs = [1, -1, -1, 1, 1, -1, 1, -1, 1];
  const config = { pattern: "banded", off_diag: 2 };
  const expected = await delta(await loadAdapter(filesOf(config, tensors)), own);
  const s = tensors.s.data.slice(), check = tensors.check.data.slice();
  let at = 0;
  for (let i = 0; i < 9; i++) {
    for (let j = Math.max(0, i - 2); j <= Math.min(8, i + 2); j++) s[at++] *= signs[i] * signs[j];
    check[2 * i] *= signs[i];
    check[2 * i + 1] *= signs[i];
  }
  const turned = { ...tensors, s: tensor(s, [s.length]), check: tensor(check, [9, 2]) };
  assert.deepEqual(await delta(await loadAdapter(filesOf(config, turned)), own), expected);
  const wrong = { ...tensors, check: tensor(check, [9, 2]) };
  assert.ok(distance(await delta(await loadAdapter(filesOf(config, wrong)), own), expected) > 0.1);
});

test("SVFT refuses check numbers of another weight, and those of another order", async () => {
  const own = base(shape), tensors = await banded(own, 1), config = { pattern: "banded", off_diag: 1 };
  const adapter = await loadAdapter(filesOf(config, tensors));
  const other = base(shape, normals(108, uniforms(7)));
  await assert.rejects(
    delta(adapter, other),
    /^ConfigError: Cannot use module "l(inear)?": its check numbers of singular vectors 0, /,
  );
  const check = tensors.check.data.slice();
  [check[4], check[6]] = [check[6], check[4]];
  const swapped = await loadAdapter(filesOf(config, { ...tensors, check: tensor(check, [9, 2]) }));
  await assert.rejects(delta(swapped, own), /singular vectors 2, .* made for another weight, or/);
});

test("SVFT: a module is bound to its base, and made anew for another", async () => {
  const own = base(shape), tensors = await banded(own, 1);
  const { modules } = await madeReady(
    device,
    await loadAdapter(filesOf({ pattern: "banded", off_diag: 1 }, tensors)),
    () => own,
  );
  const adapter = { method: svft, modules };
  assert.equal((await madeReady(device, adapter, () => own)).modules.get("l"), modules.get("l"));
  const same = await madeReady(device, adapter, () => base(shape));
  const [first, second] = [same, { modules }].map(({ modules }) => modules.get("l")!.pack(shape));
  assert.deepEqual([second.values, second.table!.key], [first.values, first.table!.key]);
  await assert.rejects(
    madeReady(device, adapter, () => base(shape, normals(108, uniforms(7)))),
    /check numbers/,
  );
});

test("SVFT refuses a diagonal on equal singular values without check numbers, unless it is one number", async () => {
  const identity = Float32Array.from({ length: 144 }, (_, i) => Number(i % 13 === 0));
  const own = base(square, identity), config = { pattern: "banded", off_diag: 0 };
  const gate = tensor(new Float32Array(1), [1]);
  const plain = (values: (i: number) => number) =>
    loadAdapter(
      filesOf(config, { s: tensor(Float32Array.from({ length: 12 }, (_, i) => values(i)), [12]), gate }),
    );
  await assert.rejects(
    delta(await plain((i) => i), own),
    /value 1, .*, is the one before it, so its vectors/,
  );
  const half = await delta(await plain(() => 3), own);
  assert.ok(distance(half, identity.map((value) => 1.5 * value)) < 1e-6);
  const flat = base(square, new Float32Array(144));
  await assert.rejects(
    delta(await plain((i) => Number(i === 0)), flat),
    /value 0, 0, is zero, so its vectors/,
  );
  const tensors = await banded(own, 0);
  await delta(await loadAdapter(filesOf(config, tensors)), own);
});

test("SVFT refuses vectors that are not the base's, and truncated ones on quantised weights", async () => {
  const whole = await loadAdapter(await openFolder(fixture("svft-banded")));
  const truncated = await loadAdapter(await openFolder(fixture("svft-rank")));
  const of = { out: 64, in: 64 }, weight = weights.get(`${path}.weight`)!;
  const only = ({ method, modules }: LoadedAdapter) => ({
    method,
    modules: new Map([["l", modules.get(path)!]]),
  });
  const ready = (adapter: LoadedAdapter, own: Float32Array) =>
    madeReady(device, only(adapter), () => base(of, own));
  await assert.rejects(
    ready(whole, normals(64 * 64, uniforms(1), 0.15)),
    /are not the base weight's .*: u diag\(s_pre\) v is off by/,
  );
  const packed = q8_32.pack(weight, of), rounded = q8_32.rows(packed, of);
  await ready(whole, rounded);
  await assert.rejects(
    ready(truncated, rounded),
    /without them W has more than 44 directions, float weights are/,
  );
  await ready(truncated, weight);
});

test("SVFT: adapters of one base share its vectors on a device, and linears of other inputs keep theirs apart", async () => {
  const own = base(shape), other = base(square), config = { pattern: "banded", off_diag: 1 };
  const linears = [{ path: "l", shape }, { path: "m", shape: square }];
  const ready = async (seed: number) =>
    (await madeReady(device, await loadAdapter(filesOf(config, await banded(own, 1, seed))), () => own))
      .modules;
  const [first, second] = [await ready(2), await ready(3)];
  const keys = [first, second].map((modules) => modules.get("l")!.pack(shape).table!.key);
  assert.equal(keys[0], keys[1]);
  const next = await madeReady(
    device,
    await loadAdapter(filesOf(config, await banded(other, 1))),
    () => other,
  );
  const far = new Map([["m", next.modules.get("l")!]]);
  assert.notEqual(far.get("m")!.pack(square).table!.key, keys[0]);
  const small = new Proxy(device, {
    // 9 (9 + 12) numbers of vectors fit, and 12 (12 + 12) do not.
    get: (of, name) => {
      const value = Reflect.get(of, name, of);
      return name === "maxTensorBytes" ? 4 * 250 : typeof value === "function" ? value.bind(of) : value;
    },
  }) as Device;
  const bank = new Bank(small, svft, { linears, capacity: 8 });
  for (let i = 0; i < 3; i++) assert.notEqual(bank.load(i % 2 ? second : first), undefined, `${i}`);
  assert.throws(() => bank.load(far), /^RangeError: Cannot put an adapter on the device: 288 numbers of it/);
  bank.release();
});

test("Trainer on cpu: SVFT's gradients and ten steps' losses are float64's, and its files go on", async () => {
  const truth = JSON.parse(readFileSync(fixture("training/svft.json"), "utf8")) as {
    readonly input_ids: readonly (readonly number[])[];
    readonly losses: readonly number[];
  };
  const folder = await openFolder(fixture("base")), config = await readConfig(folder);
  const source = await openWeights(folder, config), model = await loadModel(device, { config, source });
  await source.close();
  const [{ length }] = truth.input_ids, tokens = Uint32Array.from(truth.input_ids.flat());
  const starts = tokens.map((_, row) => row - row % length);
  const batch = {
    tokens,
    targets: tokens.map((_, row) => row % length === length - 1 ? noTarget : tokens[row + 1]),
    positions: tokens.map((_, row) => row % length),
    first: starts,
    last: starts.map((start) => start + length),
    targetCount: 2 * (length - 1),
  };
  const adapter = await loadAdapter(await openFolder(fixture("svft-banded")));
  const trainer = await Trainer.open(device, model, { ...adapter, rows: tokens.length, maxNorm: 0 });
  const { loss, tensors } = await trainer.gradients(batch);
  assert.ok(Math.abs(loss - truth.losses[0]) < 1e-5, `loss ${loss}`);
  for (const [name, gradient] of numbersOf("training/svft.safetensors")) {
    const error = distance(tensors.get(`base_model.model.${name.slice("grad.".length)}`)!.data, gradient);
    assert.ok(error < 1e-4, `${name}: ${error}`);
  }
  for (const expected of truth.losses.slice(0, 10)) {
    const { loss } = await trainer.submit([batch], 0.01);
    assert.ok(Math.abs(loss - expected) < 1e-5, `${loss}, not ${expected}`);
  }
  const last = (await trainer.evaluate([batch])).loss;
  assert.ok(Math.abs(last - truth.losses[10]) < 1e-5, `${last}`);
  const files = adapterFiles(adapter.config, await trainer.tensors());
  trainer.release();
  const again = await madeReady(device, await loadAdapter(memoryFolder(files)), modelBase(device, model));
  const other = await Trainer.open(device, model, { ...again, rows: tokens.length, maxNorm: 0 });
  assert.equal((await other.evaluate([batch])).loss, last);
  other.release();
});

test("SVFT: a new adapter of random places keeps them in its file", async () => {
  const own = base(shape), fresh = newModule(svft, shape, { off_diag: 1, pattern: "random" }, uniforms(4));
  const { modules } = await madeReady(device, { method: svft, modules: new Map([["l", fresh]]) }, () => own);
  const trainable = modules.get("l")!.trainable!(shape, (t) => device.upload(t));
  const named = trainable.tensors(normals(trainable.values.length, uniforms(5)));
  const tensors = Object.fromEntries([...named].map(([name, t]) => [name.slice(".svft_layer.".length), t]));
  assert.deepEqual(Object.keys(tensors), ["s", "gate", "s_row", "s_col", "check"]);
  assert.ok(
    new Set(tensors.s_row.data).size > 4 &&
      tensors.s_row.data.some((row, e) => row !== tensors.s_col.data[e]),
  );
  const adapter = await loadAdapter(filesOf({ pattern: "random", off_diag: 1 }, tensors));
  assert.ok(distance(await delta(adapter, own), new Float32Array(108).fill(1)) > 0.1);
});

test("train makes an SVFT adapter that lowers the loss, and reads back", async () => {
  const folder = await openFolder(fixture("base"));
  const data = { content: "the mill turns the wheel and the wheel turns the mill ".repeat(40) };
  const losses: number[] = [];
  const { files } = await train(device, {
    ...{ folder, data, steps: 8, batchSize: 2, contextLength: 16, lr: 0.1 },
    adapter: { peftType: "SVFT", offDiag: 1, targetModules: ["q_proj", "down_proj"] },
    onEvent: (event) => void (event.kind === "step" && losses.push(event.loss)),
  });
  assert.ok(losses[7] < losses[0] - 0.01, `${losses}`);
  const { method, modules, config } = await loadAdapter(memoryFolder(files));
  assert.equal(method, svft);
  assert.deepEqual([config.pattern, config.off_diag, config.rank], ["banded", 1, null]);
  assert.ok([...modules.keys()].every((path) => /q_proj$|down_proj$/.test(path)) && modules.size > 1);
});

test("SVFT's file of a band has M, the gate and check numbers alone", async () => {
  const tensors = await banded(base(shape), 1);
  assert.deepEqual(
    Object.entries(tensors).map(([name, t]) => [name, [...t.shape]]),
    [["s", [25]], ["gate", [1]], ["check", [9, 2]]],
  );
});
