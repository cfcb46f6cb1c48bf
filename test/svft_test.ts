/**
 * SVFT's files, the base's singular vectors that they stand on, and its training by float64's numbers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { q8_32 } from "../kernels/formats/mod.ts";
import { normals } from "../kernels/kernel.ts";
import { applyModule, deltaOf } from "../src/adapters/apply.ts";
import { Bank } from "../src/adapters/bank.ts";
import { baseLinear } from "../src/adapters/base.ts";
import type { BaseLinear } from "../src/adapters/method.ts";
import { svft } from "../src/adapters/methods/svft.ts";
import { loadAdapter, type LoadedAdapter } from "../src/adapters/peft.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { modelBase } from "../src/engine/base.ts";
import { uniforms } from "../src/engine/random.ts";
import { ConfigError } from "../src/errors.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, SafetensorsError, toFloat32 } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { noTarget } from "../src/training/batch.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { Trainer } from "../src/training/trainer.ts";
import { type Change, floats, load } from "./changed_fixtures.ts";
import { distance } from "./kernel_contract.ts";
import { newModule } from "./new_module.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));
const device = cpuDevice(), path = "model.layers.0.self_attn.q_proj", q = `${path}.svft_layer`;

function numbersOf(name: string): Map<string, Float32Array> {
  const file = parseSafetensors(new Uint8Array(readFileSync(fixture(name))));
  const floats = [...file.tensors.keys()].filter((one) => file.tensors.get(one)!.dtype === "F32");
  return new Map(floats.map((one) => [one, toFloat32(file.read(one))]));
}

const weights = numbersOf("base/model.safetensors");
const baseOf = (one: string): BaseLinear | undefined => {
  const weight = weights.get(`${one}.weight`), bias = weights.get(`${one}.bias`);
  const out = bias?.length ?? 64;
  return weight && baseLinear(device, device.upload(tensor(weight.slice(), [out, weight.length / out])));
};

const shape = { out: 12, in: 9 };
const square = { out: 12, in: 12 };

/** A base of a seed's weight, or of a given one. */
function base(
  of: { readonly out: number; readonly in: number },
  weight = normals(of.out * of.in, uniforms(1)),
) {
  return baseLinear(device, device.upload(tensor(weight.slice(), [of.out, of.in])));
}

/** An adapter of one module "l", as files. */
function filesOf(config: Readonly<Record<string, unknown>>, tensors: Readonly<Record<string, HostTensor>>) {
  const named = Object.entries(tensors).map(([name, t]) => [`l.svft_layer.${name}`, t] as const);
  return memoryFolder(adapterFiles({ peft_type: "SVFT", ...config }, new Map(named)));
}

/** A trained adapter of one module: random numbers on a band, in this package's own file. */
async function banded(own: BaseLinear, offDiag: number, seed = 2) {
  const { shapes: [of] } = own, fresh = newModule(svft, of, { off_diag: offDiag });
  const { modules } = await madeReady(device, { method: svft, modules: new Map([["l", fresh]]) }, () => own);
  const trainable = modules.get("l")!.trainable!(of, (t) => device.upload(t));
  const tensors = trainable.tensors(normals(trainable.values.length, uniforms(seed)));
  return Object.fromEntries([...tensors].map(([name, t]) => [name.slice(".svft_layer.".length), t]));
}

/** dW of the module "l" on a base. */
async function delta(adapter: LoadedAdapter, own: BaseLinear): Promise<Float32Array> {
  const module = adapter.modules.get("l")!;
  return (await deltaOf(device, { method: svft, module, shape: own.shapes[0], base: own }))
    .data as Float32Array;
}

test("SVFT: single modules of every pattern are float64's to a millionth", async () => {
  for (
    const name of ["plain", "plain-slim", "banded", "random", "topk", "rank"].map((one) => `svft-${one}`)
  ) {
    const { method, modules } = await loadAdapter(await openFolder(fixture(name)));
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
      const error = distance(found.data, truth.get(y)!);
      // u diag(s_pre) v of the files, made in float32, is 9e-7 off W; float64's vectors are not.
      assert.ok(error < (name === "svft-plain-slim" ? 1e-7 : 1.2e-6), `${name}, ${path}: ${error}`);
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

const index = (values: readonly number[]) => {
  const data = BigInt64Array.from(values, BigInt);
  return { dtype: "I64" as const, shape: [values.length], bytes: new Uint8Array(data.buffer) };
};
const near = Array.from({ length: 314 }, () => 0);

const refused: readonly (readonly [name: string, what: string, change: Change, rule: RegExp])[] = [
  [
    "plain",
    "an unknown pattern",
    { config: { pattern: "plain" } },
    /"pattern" = "plain": it must be banded, ra/,
  ],
  ["plain", "no pattern", { config: { pattern: undefined } }, /field "pattern" = undefined/],
  ["plain", "a negative band", { config: { off_diag: -1 } }, /"off_diag" = -1: it must be 0 or more/],
  ["plain", "half a band", { config: { off_diag: 0.5 } }, /"off_diag" as an integer: it is 0\.5/],
  ["plain", "no rank", { config: { rank: 0 } }, /"rank" = 0: it must be 1 or more/],
  [
    "plain",
    "random directions",
    { config: { fill_orthonormal: true } },
    /"fill_orthonormal" = true: random dir/,
  ],
  ["plain", "an unknown field", { config: { svft_scale: 2 } }, /"svft_scale" = 2: it may change/],
  [
    "plain",
    "an unknown tensor",
    { tensors: { [`${q}.w`]: floats([2]) } },
    /q_proj\.svft_layer\.w" as SVFT: only/,
  ],
  ["plain", "no entries", { tensors: { [`${q}.s`]: undefined } }, /find .*q_proj\.svft_layer\.s": /],
  ["plain", "no gate", { tensors: { [`${q}.gate`]: undefined } }, /find .*q_proj\.svft_layer\.gate": /],
  [
    "plain",
    "two gates",
    { tensors: { [`${q}.gate`]: floats([2]) } },
    /gate": its shape must be \(1\), it is \[2\]/,
  ],
  ["plain", "u alone", { tensors: { [`${q}.v`]: undefined } }, /find .*q_proj\.svft_layer\.v": /],
  ["plain", "no singular values", { tensors: { [`${q}.s_pre`]: undefined } }, /find .*layer\.s_pre": /],
  [
    "plain",
    "v of another n",
    { tensors: { [`${q}.v`]: floats([63, 64]) } },
    /v": its shape must be \(n, in\) with/,
  ],
  [
    "plain",
    "values of another n",
    { tensors: { [`${q}.s_pre`]: floats([63]) } },
    /s_pre": its shape must be \(n\)/,
  ],
  [
    "plain",
    "more vectors than inputs",
    { tensors: { [`${q}.v`]: floats([64, 63]) } },
    /u": n must be at most out, /,
  ],
  ["rank", "more vectors than the rank", { config: { rank: 19 } }, /u": n must be at most .* "rank" 19/],
  ["plain", "NaN", { tensors: { [`${q}.s`]: floats([64], NaN) } }, /svft_layer\.s": element 0 is NaN/],
  [
    "plain",
    "s of two dimensions",
    { tensors: { [`${q}.s`]: floats([64, 1]) } },
    /s": its shape must be \(entries\)/,
  ],
  ["banded", "rows without columns", { tensors: { [`${q}.s_col`]: undefined } }, /find .*s_col": /],
  [
    "banded",
    "an entry off the band",
    { config: { off_diag: 1 } },
    /s_col": entry 2 at \(0, 2\) is off the band/,
  ],
  [
    "banded",
    "a row past M",
    { tensors: { [`${q}.s_row`]: index([64, ...near.slice(1)]) } },
    /element 0 is 64, the/,
  ],
  [
    "banded",
    "a negative row",
    { tensors: { [`${q}.s_row`]: index([-1, ...near.slice(1)]) } },
    /element 0 is -1, t/,
  ],
  [
    "banded",
    "a row past 32 bits",
    { tensors: { [`${q}.s_row`]: index([2 ** 40, ...near.slice(1)]) } },
    /109951162/,
  ],
  [
    "banded",
    "too few rows",
    { tensors: { [`${q}.s_row`]: index([0]) } },
    /s_row": its shape must be \(entries\)/,
  ],
  [
    "banded",
    "rows of floats",
    { tensors: { [`${q}.s_row`]: floats([314]) } },
    /dtype is F32, the rule is U8/,
  ],
  [
    "plain",
    "singular values elsewhere",
    { tensors: { [`${q}.s_pre_row`]: index(near.slice(0, 64)) } },
    /s_pre_row": element 1 is not 1/,
  ],
  ["plain-slim", "signs left open", { config: { off_diag: 1 } }, /find .*svft_layer\.check": /],
  ["plain-slim", "random places", { config: { pattern: "random" } }, /find .*svft_layer\.(check|s_row)": /],
  [
    "plain-slim",
    "one check number",
    { tensors: { [`${q}.check`]: floats([64]) } },
    /check": its shape must be \(n/,
  ],
  [
    "plain-slim",
    "a tensor twice",
    { tensors: { [`base_model.model.${q}.s`]: floats([64]) } },
    /svft_layer\.s": "(base_model\.model\.)?model.*svft_layer\.s" is the same/,
  ],
];

for (const [name, what, change, rule] of refused) {
  test(`loadAdapter refuses SVFT with ${what}, by name`, async () => {
    await assert.rejects(load(`svft-${name}`, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, rule);
      return true;
    });
  });
}

test("SVFT modules refuse weights that they are not for, by name", async () => {
  const check = async (name: string, change: Change, of: { out: number; in: number }, rule: RegExp) => {
    const { modules } = await load(`svft-${name}`, change);
    assert.throws(() => modules.get(path)!.check("a.b", of), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, rule);
      return true;
    });
  };
  const of = { out: 64, in: 64 };
  await check(
    "plain",
    {},
    { out: 64, in: 65 },
    /"a\.b": its u and v are of a \(64, 64\) weight, the weight is/,
  );
  await check("plain-slim", {}, { out: 63, in: 70 }, /a band of "off_diag" = 0 has 63 entries, not 64/);
  await check(
    "plain-slim",
    { tensors: { [`${q}.check`]: floats([9, 2]) } },
    of,
    /check numbers of 9 pairs, not of 64/,
  );
  const wide = { out: 8192, in: 8192 };
  const long = { tensors: { [`${q}.s`]: floats([8192]) } };
  await check(
    "plain-slim",
    long,
    wide,
    /takes 549755813888 multiplications, at most 274877906944 are accepted/,
  );
  const places = {
    [`${q}.s_row`]: index(near.slice(0, 64)),
    [`${q}.s_col`]: index([...near.slice(1, 64), 99]),
  };
  const config = { pattern: "banded", off_diag: 0 };
  await assert.rejects(load("svft-plain-slim", { config, tensors: places }), /off the band/);
  const same = { [`${q}.s_row`]: places[`${q}.s_col`], [`${q}.s_col`]: places[`${q}.s_col`] };
  await check(
    "plain-slim",
    { config, tensors: same },
    of,
    /an entry is at 99, past the 64 rows and columns of M/,
  );
});

/** Only the errors that say what is wrong with a file. */
function isAnswer(error: unknown): void {
  const isFit = error instanceof RangeError && /^Cannot use module/.test(error.message);
  assert.ok(error instanceof ConfigError || error instanceof SafetensorsError || isFit, `${error}`);
}

test("SVFT answers any fields and tensors with errors that say what is wrong, or computes finite numbers", async () => {
  const own = base(shape), value = fc.oneof(fc.jsonValue(), fc.integer({ min: -1, max: 12 }));
  const config = fc.record({
    pattern: fc.oneof({ weight: 6, arbitrary: fc.constantFrom("banded", "random", "top_k") }, {
      weight: 1,
      arbitrary: value,
    }),
    off_diag: fc.oneof({ weight: 6, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: value }),
    rank: fc.option(fc.oneof(fc.nat(10), value)),
  });
  const size = fc.constantFrom(1, 2, 8, 9, 12, 25);
  const given = fc.record({
    s: fc.tuple(size),
    gate: fc.constantFrom([1], [1], [2], []),
    check: fc.constantFrom([9, 2], [9, 2], [8, 2], [9]),
    u: fc.tuple(size, size),
    v: fc.tuple(size, size),
    s_pre: fc.tuple(size),
    s_row: fc.tuple(size),
    s_col: fc.tuple(size),
  }, { requiredKeys: [] });
  const trained = await banded(own, 1);
  await fc.assert(
    fc.asyncProperty(config, given, fc.boolean(), fc.integer(), async (fields, shapes, isFile, seed) => {
      const random = uniforms(seed);
      const made = Object.entries(shapes).map(([name, dims]) => {
        const count = dims!.reduce((all: number, one: number) => all * one, 1);
        const isIndex = name.startsWith("s_r") || name.startsWith("s_c");
        const numbers = Array.from(
          { length: count },
          () => isIndex ? Math.floor(11 * random()) - 1 : random(),
        );
        return [
          name,
          tensor(isIndex ? Int32Array.from(numbers) : Float32Array.from(numbers), [...dims!]),
        ] as const;
      });
      const tensors = { ...(isFile ? trained : {}), ...Object.fromEntries(made) };
      if (Object.keys(tensors).length === 0) return;
      try {
        const adapter = await loadAdapter(filesOf(fields, tensors));
        assert.ok((await delta(adapter, own)).every(Number.isFinite));
      } catch (error) {
        isAnswer(error);
      }
    }),
    { numRuns: 400 },
  );
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

test("SVFT's file of a band has M, the gate and check numbers alone", async () => {
  const tensors = await banded(base(shape), 1);
  assert.deepEqual(
    Object.entries(tensors).map(([name, t]) => [name, [...t.shape]]),
    [["s", [25]], ["gate", [1]], ["check", [9, 2]]],
  );
});
