/**
 * What every adapter method that is trained must do: its gradients are the loss's, a new adapter of it learns, and a run that
 * goes on is the run that did not stop.
 */
import assert from "node:assert/strict";
import { fill } from "../kernels/fill.ts";
import { normals } from "../kernels/kernel.ts";
import { createAdapter } from "../src/adapters/create.ts";
import { learningRateOf, optionsOf, type TrainableMethod } from "../src/adapters/options.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import type { OptionValue } from "../src/adapters/training.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { layersLinears, loadModel, releaseModel } from "../src/models/model.ts";
import { denseWeight } from "../src/models/weights.ts";
import { step } from "../src/plan.ts";
import { elements, type Tensor, tensor } from "../src/tensor.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { backward, Tape } from "../src/training/backward.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { evaluate } from "../src/training/evaluate.ts";
import { placed } from "../src/training/modules.ts";
import { projectionSteps, type Trained } from "../src/training/projection.ts";
import { Trainer } from "../src/training/trainer.ts";
import { distance } from "./kernel_contract.ts";
import { type Base, inSize, linears, ran, randomAdapter, shapeOf, type Subject } from "./method_contract.ts";

/** One linear being trained: its loss, sum of c y, and gradients by projectionSteps. */
function trainedLinear(
  device: Device,
  base: Base,
  { number, trained, params, accumulate }: {
    readonly number: number;
    readonly trained: Trained;
    readonly params: Float32Array;
    readonly accumulate: boolean;
  },
) {
  const { shape } = linears[number], rows = 3, random = uniforms(11);
  const first = linears.slice(0, number).reduce((sum, one) => sum + one.shape.out, 0);
  const upload = (values: Float32Array, dims: readonly number[]): Tensor =>
    device.upload(tensor(values, dims));
  const weight = upload(base.floats.slice(first * inSize, (first + shape.out) * inSize), [shape.out, inSize]);
  const bias = upload(base.bias.slice(first, first + shape.out), [shape.out]);
  const x = normals(rows * inSize, random), c = normals(rows * shape.out, random);
  const start = accumulate ? normals(rows * shape.out, random) : new Float32Array(rows * shape.out);
  const tensors = {
    x: upload(x, [rows, inSize]),
    y: upload(start, [rows, shape.out]),
    params: upload(params, [params.length]),
    gradients: device.alloc([params.length], "float32"),
  };
  const scratches = new Map<string, Tensor>();
  const steps = projectionSteps(
    { weights: { weight: denseWeight(weight), bias }, shape },
    { x: tensors.x, y: tensors.y, rows, accumulate },
    trained,
    {
      slots: device.upload(tensor(new Uint32Array(rows))),
      params: tensors.params,
      gradients: tensors.gradients,
      scratch(name, dims) {
        const key = `${name} ${dims.join()}`;
        const made = scratches.get(key) ?? device.alloc(dims, "float32");
        scratches.set(key, made);
        return made;
      },
    },
  );
  const forward = steps.map((one) => one.forward);
  async function loss(values: Float32Array, input: Float32Array): Promise<number> {
    device.write(tensors.params, values);
    device.write(tensors.x, input);
    device.write(tensors.y, start);
    const y = await ran(device, forward, tensors.y);
    return y.reduce((sum, value, i) => sum + c[i] * value, 0);
  }
  async function gradients(): Promise<{ params: Float32Array; x: Float32Array }> {
    const tape = new Tape(device);
    device.write(tensors.y, start);
    const { gradient: dy } = tape.target(tensors.y);
    const { gradient: dx, steps: zero } = tape.sum(tensors.x);
    device.write(dy, c);
    // What another linear leaves in scratch must not matter.
    const between = [...scratches.values()].map((y) =>
      step(fill, { y }, { count: elements(y.shape), value: NaN })
    );
    const plan = [...zero, ...forward, ...between, ...backward(steps, tape)];
    const params = await ran(device, plan, tensors.gradients);
    return { params, x: await device.read(dx) as Float32Array };
  }
  return { x, loss, gradients };
}

/** Which of an adapter's numbers stand in tensors of certain endings. */
function numbersIn(
  { values, tensors }: ReturnType<typeof placed>,
  endings: readonly string[],
): { readonly trained: number[]; readonly constant: Set<number> } {
  const constant = new Set<number>(), trained: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const unit = new Float32Array(values.length);
    unit[i] = 9.75;
    const found = [...tensors(unit)].find(([, { data }]) => data.some((value) => value === 9.75));
    if (!found) continue; // between modules
    trained.push(i);
    if (endings.some((ending) => found[0].endsWith(ending))) constant.add(i);
  }
  return { trained, constant };
}

/** The derivative of a function of numbers by number `i`: a central difference, or two of them by Richardson's rule. */
async function slope(
  of: Float32Array,
  i: number,
  { at, curved }: { at(moved: Float32Array): Promise<number>; readonly curved: boolean },
): Promise<number> {
  const moved = (by: number) => of.map((value, j) => j === i ? value + by : value);
  const difference = async (by: number) => (await at(moved(by)) - await at(moved(-by))) / (2 * by);
  if (!curved) return await difference(0.5);
  const [near, far] = [await difference(1 / 64), await difference(1 / 32)];
  return (4 * near - far) / 3;
}

/** Gradients are differences of the loss: exact ones where y is linear in each number. */
async function gradientsOf(
  base: Base,
  { subject, number, seed }: { subject: Subject; number: number; seed: number },
) {
  const device = cpuDevice({ wasm: false }), { constantIn = [], curved = false } = subject;
  const adapter = await randomAdapter(device, subject, {
    adapted: [number],
    seed,
    baseOf: base.baseOf,
  });
  const one = placed(device, adapter, shapeOf), { values: params } = one;
  const [trained] = one.byPath.values();
  const { trained: all, constant } = numbersIn(one, constantIn);
  for (const accumulate of [false, true]) {
    const { x, loss, gradients } = trainedLinear(device, base, { number, trained, params, accumulate });
    const found = await gradients();
    const differences = new Float32Array(inSize);
    for (let i = 0; i < inSize; i++) {
      differences[i] = await slope(x, i, { at: (moved) => loss(params, moved), curved: false });
    }
    assert.ok(distance(found.x.subarray(0, inSize), differences) < 1e-4, "dx");
    const numbers = all.filter((i) => !constant.has(i) && i % 7 === 0);
    assert.ok(numbers.length > 0);
    const expected: number[] = [];
    for (const i of numbers) expected.push(await slope(params, i, { at: (moved) => loss(moved, x), curved }));
    const error = distance(numbers.map((i) => found.params[i]), expected);
    const what = `${subject.method.name}, seed ${seed}, linear ${number}${accumulate ? ", accumulated" : ""}`;
    assert.ok(error < (curved ? 2e-3 : 1e-4), `${what}: ${error}`);
  }
}

/** Of two linears and three adapters, so that a method which treats them in several ways shows all. */
export async function gradientsAreTheLoss(base: Base, subject: Subject): Promise<void> {
  const { takes = () => true } = subject;
  const numbers = [0, 1].filter((number) => takes(linears[number].shape));
  assert.ok(numbers.length > 0);
  for (const number of numbers) {
    for (const seed of [12, 13, 14]) await gradientsOf(base, { subject, number, seed });
  }
}

/** A batch of random tokens, in two sequences. */
function batchOf(vocab: number): TrainingBatch {
  const length = 12, rows = 2 * length, random = uniforms(5);
  const tokens = Uint32Array.from({ length: rows }, () => Math.floor(random() * vocab));
  const start = (row: number): number => row - row % length;
  return {
    tokens,
    targets: tokens.map((_, row) => row % length === length - 1 ? noTarget : tokens[row + 1]),
    positions: Uint32Array.from({ length: rows }, (_, row) => row % length),
    first: Uint32Array.from({ length: rows }, (_, row) => start(row)),
    last: Uint32Array.from({ length: rows }, (_, row) => start(row) + length),
    targetCount: 2 * (length - 1),
  };
}

/**
 * A new adapter of a model, at the method's own learning rate: its loss goes down, a run that stops and goes on comes to the
 * numbers of a run that does not, and its files have the loss that it ended with.
 */
export async function learnsAndResumes(
  device: Device,
  { method, folder, options }: {
    readonly method: TrainableMethod;
    readonly folder: ReadableFolder;
    readonly options: Readonly<Record<string, OptionValue>>;
  },
): Promise<void> {
  const config = await readConfig(folder), source = await openWeights(folder, config);
  const model = await loadModel(device, { config, source }).finally(() => source.close());
  const batch = batchOf(config.vocabSize),
    rows = batch.tokens.length,
    lr = learningRateOf(method.training, {});
  const open = async () => {
    const linears = layersLinears(model);
    const plan = {
      method,
      options: optionsOf(method, options),
      targetModules: ["q_proj", "v_proj", "down_proj"],
    };
    const adapter = createAdapter(linears, plan, uniforms(3));
    return { adapter, trainer: await Trainer.open(device, model, { ...adapter, rows }) };
  };
  const { adapter, trainer: whole } = await open(), steps = 6;
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push((await whole.submit([batch], lr)).loss);
  const { loss } = await whole.evaluate([batch]);
  assert.ok(loss < losses[0], `${method.name}: ${losses}, ${loss}`);

  const { trainer: before } = await open(), { trainer: after } = await open();
  for (let i = 0; i < steps / 2; i++) await before.submit([batch], lr);
  after.restore(await before.numbers());
  for (let i = steps / 2; i < steps; i++) await after.submit([batch], lr);
  assert.deepEqual(await after.numbers(), await whole.numbers());

  const files = memoryFolder(adapterFiles(adapter.config, await whole.tensors()));
  const shapeOf = (path: string) => model.linears.find((one) => one.path === path)?.shape;
  const loaded = await loadAdapter(files, { shapeOf });
  assert.equal(loaded.method, method);
  const { loss: again } = await evaluate(device, model, { adapter: loaded, batches: [batch], rows });
  assert.ok(Math.abs(again - loss) < 1e-5, `${method.name}: ${again}, not ${loss}`);
  for (const trainer of [whole, before, after]) trainer.release();
  releaseModel(device, model);
}
