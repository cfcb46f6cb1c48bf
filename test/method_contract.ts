/**
 * What every adapter method must do, on every device. A step of mixed rows is each row's own weight, by dW. A merge can be
 * taken back, and slots leave nothing behind. PEFT's files give the same adapter again.
 */
import assert from "node:assert/strict";
import { normals } from "../kernels/kernel.ts";
import { noSlot } from "../kernels/record.ts";
import { type AdaptedLinear, deltaOf, merge, unmerge } from "../src/adapters/apply.ts";
import { Bank, type Linear } from "../src/adapters/bank.ts";
import { baseLinear, baseLinears } from "../src/adapters/base.ts";
import type { Method } from "../src/adapters/method.ts";
import { methods as ownMethods } from "../src/adapters/methods/mod.ts";
import { loadAdapter, type LoadedAdapter } from "../src/adapters/peft.ts";
import { type BaseOf, madeReady } from "../src/adapters/ready.ts";
import type { Device } from "../src/device/device.ts";
import { MergedProjections } from "../src/engine/merged_projection.ts";
import { adaptedProjection, ProjectionScratch } from "../src/engine/projection.ts";
import { uniforms } from "../src/engine/random.ts";
import type { ReadableFolder } from "../src/folder.ts";
import type { Projection } from "../src/models/projection.ts";
import {
  denseWeight,
  linearBackwardStep,
  linearStep,
  rowSquaresStep,
  rowsStep,
  type Weight,
} from "../src/models/weights.ts";
import type { Plan } from "../src/plan.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { placed } from "../src/training/modules.ts";
import { distance } from "./kernel_contract.ts";
import type { Made } from "./method_files.ts";
import { randomFiles } from "./new_module.ts";

/** Three linears that share an input. Of their weights a GPU cannot bind the second's or the third's rows alone. */
export const inSize = 40;
export const linears: readonly Linear[] = [20, 33, 10].map((out, i) => ({
  path: `model.layers.0.l${i}`,
  shape: { out, in: inSize },
}));
export const width = 63;

/** A method. Its adapters' files are made where it makes none itself; not every gradient is the loss's derivative. */
export interface Subject extends Partial<Made> {
  readonly method: Method;
  /** Endings of tensors whose gradients hold something constant that depends on them. */
  readonly constantIn?: readonly string[];
  /** Whether y is not linear in each trained number. */
  readonly curved?: boolean;
}

/** The weight of the three linears, its floats, and the base that adapters are made ready with. */
export interface Base {
  readonly projection: Projection;
  readonly floats: Float32Array;
  readonly bias: Float32Array;
  readonly baseOf: BaseOf;
}

/** A base of floats, or of what `stored` makes of them: a weight on the device, and its numbers. */
export function baseOn(
  device: Device,
  stored: (floats: Float32Array) => { readonly weight: Weight; readonly floats: Float32Array } = (
    floats,
  ) => ({
    weight: denseWeight(device.upload(tensor(floats, [width, inSize]))),
    floats,
  }),
): Base {
  const random = uniforms(1);
  const { weight, floats } = stored(normals(width * inSize, random, 1 / Math.sqrt(inSize)));
  const bias = normals(width, random);
  const shape = { out: width, in: inSize };
  const bases = baseLinears(device, {
    shapes: linears.map((one) => one.shape),
    product: ({ x, y, rows, accumulate = false }) =>
      linearStep({ weight }, { x, y }, { rows, ...shape, accumulate: Number(accumulate) }),
    productBackward: ({ dy, dx, rows }) =>
      linearBackwardStep(weight, { dy, dx }, { rows, ...shape, accumulate: 1 }),
    rowsStep: (io) => rowsStep(weight, io, shape),
    squaresStep: (squares) => rowSquaresStep(weight, squares, shape),
  });
  return {
    projection: {
      kind: "three",
      linears: { first: 0, count: 3 },
      outs: linears.map((one) => one.shape.out),
      shape,
      weight,
      bias: device.upload(tensor(bias)),
    },
    floats,
    bias,
    baseOf: (path) => bases[linears.findIndex((one) => one.path === path)],
  };
}

export const shapeOf = (path: string) => linears.find((one) => one.path === path)!.shape;

export function folderOf(files: ReadonlyMap<string, Uint8Array>): ReadableFolder {
  return {
    open: (name) => Promise.resolve(bytesSource(files.get(name)!)),
    readText: (name) => Promise.resolve(new TextDecoder().decode(files.get(name)!)),
    exists: (name) => Promise.resolve(files.has(name)),
  };
}

/** An adapter with random numbers, as PEFT's files. */
export async function filesOf(
  device: Device,
  { method, files }: Subject,
  { chosen, seed, baseOf, drawSeed = seed }: {
    readonly chosen: readonly Linear[];
    readonly seed: number;
    readonly baseOf: BaseOf;
    /** What places are drawn from; the adapter's own seed unless told. */
    readonly drawSeed?: number;
  },
): Promise<Map<string, Uint8Array>> {
  const places = { n_frequency: 30, scaling: 40, random_loc_seed: drawSeed };
  const given = { ...places, r: 3, lora_alpha: 4, block_size: 10, off_diag: 1 };
  const { config, tensors } = files?.(chosen, seed) ??
    await randomFiles(device, method, { linears: chosen, given, random: uniforms(seed), baseOf });
  return adapterFiles(config, tensors);
}

/** The linears by their numbers, where the method can adapt them; another one where it can adapt none of those. */
export function chosenOf({ takes = () => true }: Subject, adapted: readonly number[]): Linear[] {
  const able = linears.filter(({ shape }) => takes(shape));
  const chosen = able.filter((one) => adapted.includes(linears.indexOf(one)));
  return chosen.length > 0 ? chosen : able.slice(0, 1);
}

/** A random adapter of some linears, read from PEFT's files and made ready. */
export async function randomAdapter(
  device: Device,
  subject: Subject,
  { adapted, seed, baseOf }: {
    readonly adapted: readonly number[];
    readonly seed: number;
    readonly baseOf: BaseOf;
  },
): Promise<LoadedAdapter> {
  const chosen = chosenOf(subject, adapted);
  const files = await filesOf(device, subject, { chosen, seed, baseOf });
  const loaded = await loadAdapter(folderOf(files), {
    methods: [...ownMethods.filter((m) => m !== subject.method), subject.method],
  });
  assert.equal(loaded.method, subject.method);
  assert.deepEqual([...loaded.modules.keys()], chosen.map(({ path }) => path));
  return await madeReady(device, loaded, baseOf);
}

/** An adapter in a bank. */
export interface Placed {
  readonly bank: Bank;
  readonly slot: number;
  readonly adapter: LoadedAdapter;
}

/** Runs the projection for rows, each with its adapter or none; y starts as `before` where it is accumulated. */
async function projected(
  device: Device,
  { projection }: Base,
  { rows, x, before }: {
    readonly rows: readonly (Placed | undefined)[];
    readonly x: Float32Array;
    readonly before?: Float32Array;
  },
): Promise<Float32Array> {
  const banks = [...new Set(rows.flatMap((row) => row?.bank ?? []))];
  const slots = new Map(banks.map((bank) => [
    bank,
    device.upload(tensor(Uint32Array.from(rows, (row) => row?.bank === bank ? row.slot : noSlot))),
  ]));
  const io = {
    x: device.upload(tensor(x, [rows.length, inSize])),
    y: device.upload(tensor(before ?? new Float32Array(rows.length * width).fill(NaN), [rows.length, width])),
  };
  const plan = adaptedProjection(projection, { ...io, rows: rows.length, accumulate: before ? 1 : 0 }, {
    banks,
    slotsOf: (bank) => slots.get(bank)!,
    scratch: new ProjectionScratch(device),
  });
  return await ran(device, plan, io.y);
}

export async function ran(device: Device, plan: Plan, y: Tensor): Promise<Float32Array> {
  const program = await device.prepare(plan);
  device.run(program);
  const result = await device.read(y) as Float32Array;
  program.release();
  return result;
}

/** W + dW of all linears, for an adapter. */
async function weightOf(
  device: Device,
  { floats, baseOf }: Base,
  adapter: LoadedAdapter | undefined,
): Promise<Float64Array> {
  const weight = Float64Array.from(floats);
  let at = 0;
  for (const { path, shape } of linears) {
    const module = adapter?.modules.get(path);
    if (module) {
      const linear = { method: adapter!.method, module, shape, base: baseOf(path) };
      const { data } = await deltaOf(device, linear);
      data.forEach((value, i) => weight[at * inSize + i] += value);
    }
    at += shape.out;
  }
  return weight;
}

/** A step of rows of several methods, some of none, gives each row x (W + dW)^T + b, alone or in any company. */
export async function mixedRows(
  device: Device,
  base: Base,
  { subjects, limit = 2e-6 }: { readonly subjects: readonly Subject[]; readonly limit?: number },
): Promise<void> {
  const placed: Placed[] = [];
  for (const subject of subjects) {
    const bank = new Bank(device, subject.method, { linears, capacity: 3 });
    for (const [i, adapted] of [[0, 2], [0, 1]].entries()) {
      const adapter = await randomAdapter(device, subject, { adapted, seed: 10 + i, baseOf: base.baseOf });
      placed.push({ bank, slot: bank.load(adapter.modules)!, adapter });
    }
  }
  // Padded rows have no adapter; the last row repeats the first.
  const rows = [...placed, undefined, placed[0]];
  const x = normals(rows.length * inSize, uniforms(2)), before = normals(rows.length * width, uniforms(3));
  const zeros = new Float32Array(inSize);
  /** What the outputs are without any input: the bias, or what the method makes of the bias. */
  const constants = (row: Placed | undefined): Promise<Float32Array> | Float32Array =>
    row?.adapter.method.changesBias ? projected(device, base, { rows: [row], x: zeros }) : base.bias;
  const parts: { readonly weight: Float64Array; readonly constant: Float32Array }[] = [];
  for (const row of rows) {
    parts.push({
      weight: await weightOf(device, base, row?.adapter),
      constant: await constants(row),
    });
  }
  for (const y of [undefined, before]) {
    const together = await projected(device, base, { rows, x, before: y });
    for (const [r, row] of rows.entries()) {
      const what = `row ${r}, ${row?.adapter.method.name ?? "no adapter"}${y ? ", accumulated" : ""}`;
      const found = together.subarray(r * width, (r + 1) * width),
        own = x.subarray(r * inSize, (r + 1) * inSize);
      const start = y?.subarray(r * width, (r + 1) * width);
      const alone = await projected(device, base, { rows: [row], x: own.slice(), before: start?.slice() });
      assert.ok(distance(found, alone) < limit, `${what} alone: ${distance(found, alone)}`);
      const { weight, constant } = parts[r];
      const expected = Float64Array.from({ length: width }, (_, o) => {
        let sum = constant[o] + (start?.[o] ?? 0);
        for (let k = 0; k < inSize; k++) sum += own[k] * weight[o * inSize + k];
        return sum;
      });
      assert.ok(distance(found, expected) < limit, `${what}: ${distance(found, expected)}`);
    }
  }
  for (const bank of new Set(placed.map((one) => one.bank))) bank.release();
}

/** What is merged is W + dW, and what is taken out again is W. */
export async function mergedAndBack(device: Device, base: Base, subject: Subject): Promise<void> {
  const adapter = await randomAdapter(device, subject, { adapted: [0], seed: 4, baseOf: base.baseOf });
  const [{ path, shape }] = linears;
  const own = base.floats.slice(0, shape.out * inSize);
  const weight = device.upload(tensor(own, [shape.out, inSize]));
  const linear: AdaptedLinear = {
    method: subject.method,
    module: adapter.modules.get(path)!,
    shape,
    base: baseLinear(device, device.upload(tensor(own, [shape.out, inSize]))),
  };
  const delta = await deltaOf(device, linear);
  assert.ok(distance(delta.data, new Float32Array(delta.data.length)) > 1, "the adapter changes the weight");
  await merge(device, linear, weight);
  const expected = own.map((value, i) => value + delta.data[i]);
  const merged = await device.read(weight);
  assert.ok(distance(merged, expected) < 1e-6, `${distance(merged, expected)}`);
  await unmerge(device, linear, weight);
  assert.ok(distance(await device.read(weight), own) < 2e-6);
  device.release(weight);
}

/** Rows of one adapter by the weight that it is merged into are the same rows with its own steps, biases included. */
export async function mergedRowsAreTheSame(device: Device, base: Base, subject: Subject): Promise<void> {
  const bank = new Bank(device, subject.method, { linears, capacity: 2 });
  const [first, second] = [
    await randomAdapter(device, subject, { adapted: [0, 2], seed: 14, baseOf: base.baseOf }),
    await randomAdapter(device, subject, { adapted: [0, 1], seed: 15, baseOf: base.baseOf }),
  ].map((adapter) => ({ bank, slot: bank.load(adapter.modules)!, adapter }));
  const rows = 5, x = normals(rows * inSize, uniforms(16)), start = normals(rows * width, uniforms(17));
  const merged = new MergedProjections(device, { numbers: width * inSize, rows: inSize, outputs: width });
  // In turn: what one adapter left must not reach the next.
  for (const placed of [first, second, first]) {
    for (const before of [undefined, start]) {
      const row = Array.from({ length: rows }, () => placed);
      const expected = await projected(device, base, { rows: row, x, before });
      merged.use([placed]);
      const y = device.upload(tensor(before ?? new Float32Array(rows * width).fill(NaN), [rows, width]));
      const io = { x: device.upload(tensor(x, [rows, inSize])), y, rows, accumulate: before ? 1 : 0 };
      const found = await ran(device, merged.plan(base.projection, io, [bank]), y);
      assert.ok(distance(found, expected) < 5e-6, `${distance(found, expected)}`);
    }
  }
  bank.release();
}

/** A slot that another adapter had leaves nothing of it, and a free one nothing at all. */
export async function slotsLeaveNothing(device: Device, base: Base, subject: Subject): Promise<void> {
  const bank = new Bank(device, subject.method, { linears, capacity: 1 });
  const [all, one] = [
    await randomAdapter(device, subject, { adapted: [0, 1, 2], seed: 5, baseOf: base.baseOf }),
    await randomAdapter(device, subject, { adapted: [1], seed: 6, baseOf: base.baseOf }),
  ];
  const x = normals(inSize, uniforms(7));
  const of = (adapter: LoadedAdapter, slot: number) =>
    projected(device, base, { rows: [{ bank, slot, adapter }], x });
  const plain = await projected(device, base, { rows: [undefined], x });
  const first = bank.load(all.modules)!;
  const before = await of(all, first);
  assert.ok(distance(before, plain) > 0.01, "it changes something");
  bank.unload(first);
  assert.ok(distance(await of(all, first), plain) < 1e-6, "a free slot changes nothing");
  const again = bank.load(one.modules)!;
  assert.equal(again, first);
  const reused = await of(one, again);
  const alone = new Bank(device, subject.method, { linears, capacity: 1 });
  const fresh = await projected(device, base, {
    rows: [{ bank: alone, slot: alone.load(one.modules)!, adapter: one }],
    x,
  });
  assert.ok(distance(reused, fresh) < 1e-6, "another adapter in the slot is itself");
  bank.release();
  alone.release();
}

/** PEFT's files that a module's numbers become are read as the same module. */
export async function filesGiveItBack(device: Device, base: Base, subject: Subject): Promise<void> {
  const once = await randomAdapter(device, subject, { adapted: [0, 2], seed: 8, baseOf: base.baseOf });
  const { values, parameters, tensors } = placed(device, once, shapeOf);
  const counted = [...once.modules.values()].reduce((sum, module) => sum + module.parameters, 0);
  assert.equal(parameters, counted);
  const files = folderOf(adapterFiles(once.config, tensors(values)));
  const twice = await madeReady(device, await loadAdapter(files, { shapeOf }), base.baseOf);
  assert.equal(twice.method, subject.method);
  assert.deepEqual(twice.digest, once.digest);
  for (const [path, module] of once.modules) {
    const shape = shapeOf(path);
    assert.deepEqual(twice.modules.get(path)!.pack(shape).values, module.pack(shape).values);
  }
}

/** A wrong shape, and numbers that are none, are refused by name. */
export async function refuses(device: Device, base: Base, subject: Subject): Promise<void> {
  const adapter = await randomAdapter(device, subject, { adapted: [0], seed: 9, baseOf: base.baseOf });
  const module = adapter.modules.get(linears[0].path)!;
  assert.throws(() => module.check("a.b", { out: 1, in: 1 }), (error: Error) => {
    assert.ok(error instanceof RangeError);
    assert.match(error.message, /^Cannot .*"a\.b"|^Cannot .*module/);
    return true;
  });
  const chosen = chosenOf(subject, [0]);
  const files = await filesOf(device, subject, { chosen, seed: 9, baseOf: base.baseOf });
  const { parseSafetensors, toFloat32 } = await import("../src/safetensors/mod.ts");
  const file = parseSafetensors(files.get("adapter_model.safetensors")!);
  const isFloat = (name: string): boolean => file.tensors.get(name)!.dtype === "F32";
  for (const name of [...file.tensors.keys()].filter(isFloat)) {
    const views = [...file.tensors.keys()].map((one) => {
      if (one !== name) return file.read(one);
      const values = toFloat32(file.read(one)).slice();
      values[values.length - 1] = Infinity;
      return fromTensor(one, tensor(values, file.tensors.get(one)!.shape));
    });
    const broken = new Map([...files, ["adapter_model.safetensors", writeSafetensors(views)]]);
    await assert.rejects(loadAdapter(folderOf(broken), { methods: [subject.method] }), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.ok(error.message.includes(`"${name}"`), error.message);
      return true;
    });
  }
}
