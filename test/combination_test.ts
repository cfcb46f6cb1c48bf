/**
 * Adapters that are added up: dW of a row is the sum of theirs, each times its scale, whatever the other rows have.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import { noSlot } from "../kernels/record.ts";
import {
  type AdapterFiles,
  AdapterRegistry,
  type AdapterStore,
  type AdapterTerm,
  CombinationError,
  cpuDevice,
  deltaOf,
  type Device,
  type Holding,
  methods,
  OverloadedError,
  tensor,
} from "../mod.ts";
import { vera } from "../src/adapters/methods/vera.ts";
import { adaptedProjection, ProjectionScratch } from "../src/engine/projection.ts";
import { uniforms } from "../src/engine/random.ts";
import { MergedProjections } from "../src/engine/merged_projection.ts";
import type { HostTensor } from "../src/tensor.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { devicesForLongTests } from "./devices.ts";
import { foldedSubjects } from "./folded_subjects.ts";
import { distance } from "./kernel_contract.ts";
import { type Base, baseOn, chosenOf, filesOf, folderOf, linears, width } from "./method_contract.ts";
import { made } from "./method_files.ts";
import { subjects } from "./subjects.ts";

const inSize = 40;

type Written = Pick<AdapterFiles, "config" | "tensors">;

/** A FourierFT adapter of some linears. */
function fourier(adapted: readonly number[], { seed, n, scaling, of }: {
  readonly seed: number;
  readonly n: number;
  readonly scaling: number;
  readonly of: number;
}): Written {
  const random = uniforms(of);
  return {
    config: { peft_type: "FOURIERFT", n_frequency: n, random_loc_seed: seed, scaling },
    tensors: new Map(
      adapted.map((i) => [
        `base_model.model.${linears[i].path}.fourierft_spectrum`,
        tensor(normals(n, random)),
      ]),
    ),
  };
}

/** A LoRA adapter of some linears. */
function low(adapted: readonly number[], { r, alpha, of, config = {} }: {
  readonly r: number;
  readonly alpha: number;
  readonly of: number;
  readonly config?: Readonly<Record<string, unknown>>;
}): Written {
  const random = uniforms(of), tensors = new Map<string, HostTensor>();
  for (const i of adapted) {
    const { path, shape: { out } } = linears[i], name = `base_model.model.${path}`;
    tensors.set(`${name}.lora_A.weight`, tensor(normals(r * inSize, random), [r, inSize]));
    tensors.set(`${name}.lora_B.weight`, tensor(normals(out * r, random), [out, r]));
    if (config.use_dora) tensors.set(`${name}.lora_magnitude_vector`, tensor(new Float32Array(out).fill(2)));
  }
  return { config: { peft_type: "LORA", r, lora_alpha: alpha, ...config }, tensors };
}

const folded = foldedSubjects.find(({ method }) => method === vera)!;

/** Adapters by name: of one seed with different counts, of another seed, of factors of three ranks, of two methods. */
const written: Readonly<Record<string, Written>> = {
  f1: fourier([0, 2], { seed: 3, n: 30, scaling: 90, of: 1 }),
  f2: fourier([0, 1], { seed: 3, n: 47, scaling: 40, of: 2 }),
  f3: fourier([0, 1, 2], { seed: 9, n: 200, scaling: 60, of: 3 }),
  l1: low([0, 1, 2], { r: 2, alpha: 1, of: 4 }),
  l2: low([1], { r: 3, alpha: -4, of: 5 }),
  v1: folded.files!([linears[0], linears[2]], 6),
  dora: low([0], { r: 2, alpha: 2, of: 7, config: { use_dora: true } }),
  ia3: made.IA3.files!([linears[0]], 8),
};

const files = new Map(
  Object.entries(written).map(([id, { config, tensors }]) => [id, adapterFiles(config, tensors)]),
);

/** Two adapters of each method that needs no sums. */
const scaled: string[] = [];
for (const subject of subjects.filter(({ method }) => method.takesScale)) {
  const device = cpuDevice(), { baseOf } = baseOn(device);
  for (const [seed, adapted] of [[0, 1, 2], [0, 2]].entries()) {
    const id = `${subject.method.name} ${seed}`, chosen = chosenOf(subject, adapted);
    files.set(id, await filesOf(device, subject, { chosen, seed: seed + 1, baseOf }));
    scaled.push(id);
  }
}
const summed = ["f1", "f2", "f3", "l1", "l2", "v1"];

const store: AdapterStore = {
  list: () => Promise.resolve([...files.keys()]),
  open: (id) => {
    const found = files.get(id);
    return Promise.resolve(found && { folder: folderOf(found), version: "1", modifiedUnixSeconds: 0 });
  },
};

function openOn(device: Device, options: { readonly capacity?: number } = {}) {
  const base = baseOn(device);
  return { base, registry: new AdapterRegistry(device, store, { linears, base: base.baseOf, ...options }) };
}

/** The projection of x for rows with what they hold. */
async function projected(
  device: Device,
  { projection }: Base,
  rows: readonly (Holding | undefined)[],
  x: Float32Array,
): Promise<Float32Array> {
  const placed = rows.map((row) => row?.placed ?? []);
  const banks = [...new Set(placed.flatMap((own) => own.map(({ bank }) => bank)))];
  const y = device.upload(tensor(new Float32Array(rows.length * width), [rows.length, width]));
  const plan = adaptedProjection(
    projection,
    { x: device.upload(tensor(x, [rows.length, inSize])), y, rows: rows.length, accumulate: 0 },
    {
      banks,
      slotsOf: (bank) =>
        device.upload(
          tensor(Uint32Array.from(placed, (own) => own.find((one) => one.bank === bank)?.slot ?? noSlot)),
        ),
      scratch: new ProjectionScratch(device),
    },
  );
  const program = await device.prepare(plan);
  device.run(program);
  return await device.read(y) as Float32Array;
}

/** x (W + sum of scale dW)^T + b of one row, in float64. */
async function expectedOf(
  device: Device,
  { base, registry }: ReturnType<typeof openOn>,
  terms: readonly AdapterTerm[],
  x: Float32Array,
): Promise<Float64Array> {
  const weight = Float64Array.from(base.floats);
  for (const { id, scale = 1 } of terms) {
    const { method, modules } = await registry.load(id);
    let at = 0;
    for (const { path, shape } of linears) {
      const module = modules.get(path);
      const delta = module &&
        await deltaOf(device, { method, module, shape, base: base.baseOf(path) });
      delta?.data.forEach((value, i) => weight[at * inSize + i] += scale * value);
      at += shape.out;
    }
  }
  return Float64Array.from({ length: width }, (_, o) => {
    let sum = base.bias[o];
    for (let k = 0; k < inSize; k++) sum += x[k] * weight[o * inSize + k];
    return sum;
  });
}

const batchesOf = (ids: readonly string[]) => {
  const scale = fc.oneof(fc.constantFrom(0, 1, -1), fc.float({ min: -2, max: 2, noNaN: true }));
  const term = fc.record({ id: fc.constantFrom(...ids), scale });
  return fc.array(fc.array(term, { maxLength: 8 }), { minLength: 1, maxLength: 6 });
};

/** Rows of every method that needs no sums, each twice in its row, scaled. */
const everyScaled: AdapterTerm[][] = [];
for (let i = 0; i < scaled.length; i += 6) {
  everyScaled.push(scaled.slice(i, i + 6).map((id, k) => k % 2 === 0 ? { id, scale: -0.5 } : { id }));
}

for (const device of await devicesForLongTests()) {
  test(`combinations on ${device.kind}: each row of a batch is the base with its own sum, and itself alone`, async () => {
    const opened = openOn(device), { base, registry } = opened;
    const check = async (batch: readonly (readonly AdapterTerm[])[]): Promise<void> => {
      const held = await Promise.all(batch.map((terms) => registry.acquire(terms)));
      const x = normals(batch.length * inSize, uniforms(batch.length));
      const together = await projected(device, base, held, x);
      for (const [r, terms] of batch.entries()) {
        const own = x.subarray(r * inSize, (r + 1) * inSize);
        const found = together.subarray(r * width, (r + 1) * width);
        const alone = await projected(device, base, [held[r]], own.slice());
        assert.ok(distance(found, alone) < 2e-6, `row ${r} alone: ${distance(found, alone)}`);
        const off = distance(found, await expectedOf(device, opened, terms, own));
        assert.ok(off < 1e-4, `row ${r}, ${JSON.stringify(terms)}: ${off}`);
      }
      for (const one of held) one.release();
    };
    const isCpu = device.kind === "cpu";
    await check(isCpu ? everyScaled : everyScaled.slice(0, 1));
    const batches = batchesOf(isCpu ? [...summed, ...scaled] : summed);
    await fc.assert(fc.asyncProperty(batches, check), { numRuns: isCpu ? 60 : 5 });
  });
}

const device = cpuDevice();

test("a combination by merged weights is the combination beside the product", async () => {
  const { base, registry } = openOn(device);
  const held = await registry.acquire([
    ...[{ id: "f1", scale: 0.5 }, { id: "f3", scale: -1 }, { id: "l1" }],
    // Twice one method: in a bank each.
    ...[{ id: "SVFT 0", scale: 0.5 }, { id: "SVFT 1", scale: -2 }, { id: "C3A 0" }, {
      id: "C3A 1",
      scale: 2,
    }],
  ]);
  const rows = 6, x = normals(rows * inSize, uniforms(3));
  const expected = await projected(device, base, Array.from({ length: rows }, () => held), x);
  const merged = new MergedProjections(device, { numbers: width * inSize, rows: inSize, outputs: width });
  merged.use(held.placed);
  const y = device.alloc([rows, width], "float32");
  const io = { x: device.upload(tensor(x, [rows, inSize])), y, rows, accumulate: 0 };
  const banks = held.placed.map(({ bank }) => bank);
  assert.equal(new Set(banks).size, 6);
  device.run(await device.prepare(merged.plan(base.projection, io, banks)));
  const off = distance(await device.read(y), expected);
  assert.ok(off < 1e-5, `${off}`);
});

test("AdapterRegistry.acquire has one resident for combinations of equal files and scales, in any order", async () => {
  const { registry } = openOn(device);
  const size = (): number => registry.banks.reduce((sum, bank) => sum + bank.size, 0);
  const terms = [{ id: "f1", scale: 0.5 }, { id: "f2", scale: 2 }];
  const all = await Promise.all(
    [terms, [...terms].reverse(), [{ id: "f1", scale: 0.25 }, ...terms.slice(1), { id: "f1", scale: 0.25 }]]
      .map((one) => registry.acquire(one)),
  );
  assert.equal(size(), 1);
  for (const { placed } of all) assert.deepEqual(placed, all[0].placed);
  // The adapters themselves are not on the device.
  assert.equal((await registry.card("f1")).resident, false);
  const other = await registry.acquire([{ id: "f1", scale: 0.5 }, { id: "f2", scale: 2.5 }]);
  assert.equal(size(), 2);
  const mixed = await registry.acquire([{ id: "l1" }, { id: "f1", scale: 0.5 }, { id: "f2", scale: 2 }]);
  assert.equal(mixed.placed.length, 2);
  assert.equal(size(), 3);
  assert.equal((await registry.card("l1")).resident, true, "at scale 1 it is the adapter itself");
  for (const one of [...all, other, mixed]) one.release();
});

test("AdapterRegistry.acquire of one adapter at scale 1, of scales that cancel, and of none", async () => {
  const { registry } = openOn(device);
  const [one, alone] = [await registry.acquire([{ id: "dora" }]), await registry.acquire("dora")];
  assert.deepEqual(one.placed, alone.placed);
  for (
    const terms of [[], [{ id: "f1", scale: 0 }], [{ id: "f1", scale: 1.5 }, { id: "f1", scale: -1.5 }]]
  ) {
    assert.deepEqual((await registry.acquire(terms)).placed, []);
  }
});

test("AdapterRegistry.acquire of combinations evicts what nobody holds, and says what is in use", async () => {
  const { registry } = openOn(device, { capacity: 1 });
  const first = await registry.acquire([{ id: "f1", scale: 2 }, { id: "l1", scale: 2 }]);
  await assert.rejects(
    registry.acquire([{ id: "f2", scale: 2 }, { id: "v1" }]),
    (error: Error) =>
      error instanceof OverloadedError &&
      error.message ===
        'Cannot load adapters "2 * f2 + v1": 1 FOURIERFT adapters in use take all slots or all the room',
  );
  // What did find room is not held: another takes its slot.
  const second = await registry.acquire([{ id: "v1", scale: 3 }]);
  first.release();
  const third = await registry.acquire([{ id: "f2", scale: 2 }, { id: "l2", scale: 2 }]);
  for (const one of [second, third]) one.release();
  one(await registry.acquire([{ id: "f1", scale: 2 }, { id: "l1", scale: 2 }]));
  function one(held: Holding): void {
    assert.equal(held.placed.length, 2);
  }
});

test("AdapterRegistry.acquire refuses combinations by name", async () => {
  const { registry } = openOn(device);
  const refusals: [readonly AdapterTerm[], RegExp][] = [
    [[{ id: "dora", scale: 0.5 }], /Cannot scale adapter "dora", or add it to others: DoRA changes/],
    [[{ id: "l1" }, { id: "dora" }], /adapter "dora".*alone, at scale 1/],
    [[{ id: "ia3", scale: 0 }], /adapter "ia3".*IA3/],
    [[{ id: "f1", scale: NaN }], /adapter "f1" at scale NaN: it must be a number from -1000 to 1000/],
    [[{ id: "f1", scale: 1001 }], /scale 1001/],
    [[{ id: "f1", scale: "2" as never }], /scale 2: it must be a number/],
    [Array.from({ length: 9 }, (_, i) => ({ id: `f${i}` })), /Cannot add up 9 adapters: at most 8/],
  ];
  for (const [terms, message] of refusals) {
    // A second time everything is known, and some of it may be on the device.
    for (let time = 0; time < 2; time++) {
      await assert.rejects(registry.acquire(terms), (error: Error) => {
        assert.ok(error instanceof CombinationError, error.message);
        assert.match(error.message, message);
        return true;
      });
    }
  }
  const held = [await registry.acquire("dora"), await registry.acquire("l1")];
  await assert.rejects(registry.acquire([{ id: "dora" }, { id: "l1" }]), CombinationError);
  for (const one of held) one.release();
  await assert.rejects(registry.acquire([{ id: "f1" }, { id: "nope" }]), /NotFoundError.*"nope"/);
});

test("AdapterRegistry.acquire refuses a method that has no sums, and takes one of it beside others", async () => {
  const base = baseOn(device);
  const sumless = methods.map((method) => method.name === "LoRA" ? { ...method, sum: undefined } : method);
  const registry = new AdapterRegistry(device, store, { linears, base: base.baseOf, methods: sumless });
  assert.equal((await registry.acquire([{ id: "l1" }, { id: "f1", scale: 2 }])).placed.length, 2);
  for (const terms of [[{ id: "l1", scale: 2 }], [{ id: "l1" }, { id: "l2" }]]) {
    await assert.rejects(registry.acquire(terms), /CombinationError: .*"l1".*LoRA has no sums/);
  }
});

test("a sum past float32 is refused by the module's name", async () => {
  const huge = fourier([0], { seed: 1, n: 4, scaling: 1e3, of: 1 });
  for (const { data } of huge.tensors.values()) data.forEach((_, i) => data[i] = 5e34);
  const files = adapterFiles(huge.config, huge.tensors);
  const registry = new AdapterRegistry(device, {
    list: () => Promise.resolve([]),
    open: () => Promise.resolve({ folder: folderOf(files), version: "1", modifiedUnixSeconds: 0 }),
  }, { linears });
  (await registry.acquire("huge")).release();
  await assert.rejects(
    registry.acquire([{ id: "huge", scale: 1000 }, { id: "other", scale: 1000 }]),
    /CombinationError: Cannot use the sum of modules "model.layers.0.l0": it may come to/,
  );
});

test("a scale that takes dW past float32 is refused by the module's name and the scale", async () => {
  const [{ path, shape }] = linears, data = new Float32Array(shape.out * shape.in / 10).fill(1e35);
  const kernels = tensor(data, [shape.out / 10, shape.in / 10, 10]);
  const files = adapterFiles(
    { peft_type: "C3A", block_size: 10 },
    new Map([[`base_model.model.${path}.c3a_kernel`, kernels]]),
  );
  const registry = new AdapterRegistry(device, {
    list: () => Promise.resolve([]),
    open: () => Promise.resolve({ folder: folderOf(files), version: "1", modifiedUnixSeconds: 0 }),
  }, { linears });
  (await registry.acquire([{ id: "huge", scale: 2 }])).release();
  await assert.rejects(
    registry.acquire([{ id: "huge", scale: 1000 }]),
    /CombinationError: Cannot use module "model.layers.0.l0" at scale 1000: an element of its dW: it may come to/,
  );
});
