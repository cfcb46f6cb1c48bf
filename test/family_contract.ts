/**
 * What every family of models must do, whatever its forward: its plans agree with each other, and adapters with both.
 *
 * Numbers that other software computed are compared in tests of their own; this finds what such a golden cannot: a planner
 * that binds a tensor too early, a linear that adapters miss, a layer whose caches are another's.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Device, type KvCacheDtype, type Method, methods, tensor } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Bank, type Linear } from "../src/adapters/bank.ts";
import type { AdapterModule } from "../src/adapters/method.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { ia3 } from "../src/adapters/methods/ia3.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import { soleAdapter } from "../src/engine/sole_adapter.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { layersLinears, loadModel, type Model } from "../src/models/model.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { evaluate } from "../src/training/evaluate.ts";
import { placeModules } from "../src/training/modules.ts";
import { feed, lossPlan, trainingPlans } from "../src/training/plans.ts";
import { modelBase, readyFor } from "../src/engine/base.ts";
import { everything } from "./devices.ts";
import { randomFiles } from "./new_module.ts";
import { lane } from "./lanes.ts";

/** A family's smallest model: a folder under `fixtures/`. */
export interface FamilyCase {
  readonly name: string;
  readonly folder: string;
}

/** Opens a family's model. */
export async function openFamily(device: Device, { folder: path }: FamilyCase): Promise<Model> {
  const folder = await openFolder(fileURLToPath(new URL(`fixtures/${path}`, import.meta.url)));
  const config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadModel(device, { config, source }).finally(() => source.close());
}

const length = 9;
const sequences = 2;
const rows = length * sequences;

/** Two sequences of random tokens; every token but a sequence's first is a target. */
function batchFor({ config: { vocabSize } }: Model): TrainingBatch {
  const random = uniforms(7);
  const tokens = Uint32Array.from({ length: rows }, () => Math.floor(random() * vocabSize));
  const start = (row: number): number => row - row % length;
  return {
    tokens,
    targets: tokens.map((_, row) => row % length === length - 1 ? noTarget : tokens[row + 1]),
    positions: Uint32Array.from({ length: rows }, (_, row) => row % length),
    first: Uint32Array.from({ length: rows }, (_, row) => start(row)),
    last: Uint32Array.from({ length: rows }, (_, row) => start(row) + length),
    targetCount: rows - sequences,
  };
}

/** An adapter of some linears, its numbers drawn, the same ones at each call. */
async function adapterOf(
  device: Device,
  { model, method, linears }: {
    readonly model: Model;
    readonly method: Method;
    readonly linears: readonly Linear[];
  },
): Promise<Adapted> {
  const { config, tensors } = await randomFiles(device, method, {
    linears,
    given: { n_frequency: 16, scaling: 40, r: 2, num_vectors: 12, vector_length: 4, block_size: 4 },
    random: uniforms(linears.length),
    baseOf: modelBase(device, model),
  });
  return await readyFor(device, model, { method, modules: method.read({ config, tensors, options: {} }) });
}

interface Adapted {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/** Each row's loss by steps over caches: prompts cut into pieces, the sequences in turn. */
async function lossesBySteps(
  device: Device,
  model: Model,
  { adapter, kvCacheDtype }: { readonly adapter?: Adapted; readonly kvCacheDtype?: KvCacheDtype } = {},
): Promise<Float32Array> {
  const { tokens, targets } = batchFor(model);
  const banks = adapter ? [new Bank(device, adapter.method, { linears: model.linears, capacity: 1 })] : [];
  const slot = adapter && banks[0].load(adapter.modules)!;
  const runner = new Runner(device, model, {
    banks,
    maxRows: rows,
    maxOutputs: rows,
    kvCacheDtype,
    cacheRows: 2 * length + 3,
    blockSize: 1,
  });
  const losses = new Float32Array(rows);
  for (const [from, to] of [[0, 4], [4, 5], [5, length]]) {
    const taken = Array.from(
      { length: sequences },
      (_, s) => Array.from({ length: to - from }, (_, i) => s * length + from + i),
    ).flat();
    await runner.step(
      taken.map((row) => ({
        token: tokens[row],
        position: row % length,
        blocks: lane(3 + row - row % length),
        state: Math.floor(row / length),
        adapters: slot === undefined ? undefined : [{ bank: banks[0], slot }],
      })),
      taken.map((_, row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })),
    );
    for (const [i, row] of taken.entries()) {
      if (targets[row] !== noTarget) losses[row] = lossOf(await runner.logits(i), targets[row]);
    }
  }
  for (const bank of banks) bank.release();
  return losses;
}

function lossOf(logits: Float32Array, target: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) - logits[target];
}

/** Each row's loss by one plan of whole sequences: the one that only scores, or that of training. */
async function lossesWhole(
  device: Device,
  model: Model,
  { kind, adapter }: { readonly kind: "score" | "train"; readonly adapter?: Adapted },
): Promise<Float32Array> {
  const { trained, values, uploads } = placeModules(device, model, adapter);
  const params = device.upload(tensor(values.length > 0 ? values : new Float32Array(1)));
  const sole = await soleAdapter(device, model, { adapter, rows });
  const setup = { device, model, rows };
  const plans = kind === "score"
    ? lossPlan({ ...setup, project: sole.project })
    : trainingPlans({ ...setup, trained, params, gradients: params, layersPerSegment: 1 });
  const program = await device.prepare(plans.evaluate);
  feed(device, plans.state, batchFor(model));
  device.run(program);
  const losses = await device.read(plans.state.losses) as Float32Array;
  program.release();
  plans.release();
  sole.release();
  for (const t of [params, ...uploads]) device.release(t);
  return losses.slice();
}

function largestGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));
}

function near(a: ArrayLike<number>, b: ArrayLike<number>, what: string): void {
  const gap = largestGap(a, b), bound = 4e-5 * Math.max(1, ...Array.from(b));
  assert.ok(gap <= bound, `${what}: losses differ by ${gap}`);
}

/**
 * The methods that a family's linears are adapted by: all that are trained. A software GPU compiles minutes for all of
 * them, and other tests give it each method's kernels: there a method for each phase stands for the others.
 */
function methodsOn({ kind }: Device): readonly Method[] {
  const trained = methods.filter(({ training }) => training);
  return kind === "cpu" || everything
    ? trained
    : trained.filter((one) => [fourierft, lora, dora, ia3].includes(one));
}

/** Tests a family's model on a device. */
export function familyContract(device: Device, family: FamilyCase): void {
  const where = `${family.name} on ${device.kind}`;

  test(`${where}: steps over caches, plans of whole sequences and training have the same losses`, async () => {
    const model = await openFamily(device, family);
    const bySteps = await lossesBySteps(device, model);
    assert.ok(bySteps.every(Number.isFinite) && bySteps.some((loss) => loss > 1));
    near(await lossesWhole(device, model, { kind: "score" }), bySteps, "a plan of whole sequences");
    near(await lossesWhole(device, model, { kind: "train" }), bySteps, "training");
    const { loss } = await evaluate(device, model, { batches: [batchFor(model)], rows });
    assert.ok(Math.abs(loss - bySteps.reduce((a, b) => a + b) / (rows - sequences)) <= 2e-5);
  });

  if (device.kind === "cpu" || everything) {
    test(`${where}: caches of 16 and 8 bits give losses near those of float32`, async () => {
      // Of most models a tenth of these bounds; one that is more sensitive is so in both formats.
      const model = await openFamily(device, family), exact = await lossesBySteps(device, model);
      for (const [kvCacheDtype, bound] of [["float16", 0.03], ["int8", 0.4]] as const) {
        const losses = await lossesBySteps(device, model, { kvCacheDtype });
        const gap = largestGap(losses, exact);
        // Equal numbers would be those of another cache.
        assert.ok(gap > 0 && gap <= bound, `${kvCacheDtype}: losses differ by ${gap}`);
      }
    });
  }

  for (const method of methodsOn(device)) {
    test(`${where}: ${method.name} adapts every linear of the layers, in steps as in whole plans`, async () => {
      const model = await openFamily(device, family);
      const base = await lossesBySteps(device, model);
      const linears = layersLinears(model);
      const groups = device.kind === "cpu" ? linears.map((linear) => [linear]) : [];
      for (const group of [...groups, linears]) {
        const adapter = await adapterOf(device, { model, method, linears: group });
        const adapted = await lossesBySteps(device, model, { adapter });
        const name = group.length === 1 ? group[0].path : "all";
        assert.ok(largestGap(adapted, base) > 1e-4, `${name}: the adapter changes nothing`);
        near(await lossesWhole(device, model, { kind: "score", adapter }), adapted, name);
      }
    });
  }
}
