import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { Graph, type Value } from "../src/models/graph.ts";
import type { Model } from "../src/models/model.ts";
import {
  activate,
  add,
  attend,
  embed,
  logits,
  outputsOf,
  project,
  split,
} from "../src/models/operations/mod.ts";
import { placeValues } from "../src/models/placing.ts";
import type { Projection } from "../src/models/projection.ts";
import type { RopeConfig } from "../src/models/rope_config.ts";
import { stepPlan, stepState, turnsOf } from "../src/models/step_plan.ts";
import { wholeSteps } from "../src/models/whole_plan.ts";
import { denseWeight, linearStep } from "../src/models/weights.ts";
import { type HostTensor, type Tensor, tensor } from "../src/tensor.ts";
import { distance } from "./kernel_contract.ts";

const device = cpuDevice();
const width = 6, rows = 5, entries = 11;
const random = uniforms(3);
const upload = (...shape: number[]): Tensor =>
  device.upload(tensor(normals(shape.reduce((a, b) => a * b, 1), random), shape));
const tokenTable = upload(entries, width), positionTable = upload(entries, width);
const words = (...numbers: number[]): Tensor => device.upload(tensor(Uint32Array.from(numbers)));
const tokens = [4, 0, 9, 9, 2], positions = [0, 1, 2, 0, 1];

/** The head that leaves hidden states as they are. */
const identity = Float32Array.from(
  { length: width * width },
  (_, i) => Number(i % (width + 1) === 0),
);
const head: Projection = {
  kind: "head",
  linears: { first: 0, count: 1 },
  outs: [width],
  shape: { out: width, in: width },
  weight: denseWeight(device.upload(tensor(identity, [width, width]))),
};

/** What a forward does next, to values by their numbers, counted from the newest. */
type Move = readonly [kind: "add" | "relu" | "silu" | "split", a: number, b: number];

const moves = fc.array(
  fc.tuple(fc.constantFrom("add", "relu", "silu", "split"), fc.nat(4), fc.nat(4)),
  { minLength: 1, maxLength: 12 },
) as fc.Arbitrary<Move[]>;

const rowsOf = (table: Tensor, ids: readonly number[]): number[] =>
  ids.flatMap((id) => [...(table as HostTensor).data.subarray(id * width, (id + 1) * width)]);

/** A forward of these moves, and the numbers of its last value by plain loops. */
function forwardOf(list: readonly Move[]): { readonly graph: Graph; readonly expected: number[] } {
  const graph = new Graph();
  const values: { readonly value: Value; readonly numbers: number[] }[] = [
    { value: embed(graph, tokenTable), numbers: rowsOf(tokenTable, tokens) },
    { value: embed(graph, positionTable, "positions"), numbers: rowsOf(positionTable, positions) },
  ];
  for (const [kind, i, j] of list) {
    const pick = (at: number) => values[Math.max(0, values.length - 1 - at)];
    const a = pick(i), b = pick(j);
    if (kind === "add") {
      values.push({ value: add(a.value, b.value), numbers: a.numbers.map((x, at) => x + b.numbers[at]) });
    } else if (kind === "split") {
      // All columns in one part: a value that is another one's columns.
      values.push({ value: split(a.value, [width])[0], numbers: a.numbers });
    } else {
      const f = kind === "relu" ? (x: number) => Math.max(0, x) : (x: number) => x / (1 + Math.exp(-x));
      values.push({ value: activate(a.value, kind), numbers: a.numbers.map(f) });
    }
  }
  const { value, numbers } = values.at(-1)!;
  logits(outputsOf(value), head);
  return { graph, expected: numbers };
}

async function bySteps(graph: Graph): Promise<Float32Array> {
  const model = { config: { vocabSize: width }, graph, head } as unknown as Model;
  const inputs = {
    from: words(...tokens.map(() => 0xffffffff)),
    tokens: words(...tokens),
    positions: words(...positions),
    first: words(...tokens.map(() => 0)),
    cacheIndex: words(...tokens.keys()),
    blockTable: words(...tokens.keys()),
    outputs: words(...tokens.keys()),
    params: upload(rows, 5),
  };
  const state = stepState(device, model, {
    inputs,
    maxRows: rows,
    maxOutputs: rows,
    cacheRows: rows,
    blockSize: 1,
  });
  const plan = stepPlan(model, state, {
    ...{ rows, outputs: rows },
    project: ({ shape, ...weights }, { x, y, rows, accumulate }) => [
      linearStep(weights, { x, y }, { rows, accumulate, ...shape }),
    ],
  });
  const program = await device.prepare(plan);
  device.run(program);
  return (await device.read(state.logits) as Float32Array).slice();
}

async function byWholePlan(graph: Graph): Promise<Float32Array> {
  const { buffers, places } = placeValues(graph, "whole");
  const tensors = buffers.map(({ width }) => device.alloc([rows, width], "float32"));
  const steps = wholeSteps(graph.operations, {
    rows,
    inputs: {
      tokens: words(...tokens),
      positions: words(...positions),
      first: words(...tokens.map(() => 0)),
      last: words(...tokens.map(() => rows)),
    },
    tensor: (value) => tensors[places.get(value)!.buffer],
    project: () => [],
  });
  const program = await device.prepare(steps.map(({ forward }) => forward));
  device.run(program);
  const { buffer } = places.get(graph.ending.hidden)!;
  return (await device.read(tensors[buffer]) as Float32Array).slice();
}

test("plans of any forward compute it, whichever values live on while others are made", async () => {
  await fc.assert(
    fc.asyncProperty(moves, async (list) => {
      const { graph, expected } = forwardOf(list);
      assert.ok(distance(await bySteps(graph), Float32Array.from(expected)) <= 1e-5);
      assert.ok(distance(await byWholePlan(graph), Float32Array.from(expected)) <= 1e-5);
    }),
    { numRuns: 200 },
  );
});

test("plans of any forward read nothing that the same operation or its neighbour before wrote over", () => {
  fc.assert(fc.property(moves, (list) => {
    const { graph } = forwardOf(list);
    const { places } = placeValues(graph, "step");
    const bufferOf = (value: Value): number => places.get(value)!.buffer;
    graph.operations.forEach(({ makes: [made], reads, onto, step }, i) => {
      if (typeof step !== "function") return;
      const before = graph.operations.slice(i - 1, i).flatMap(({ reads }) => reads);
      const inPlace = onto !== undefined && bufferOf(onto) === bufferOf(made);
      for (const value of inPlace ? reads : [...reads, ...before]) {
        assert.notEqual(bufferOf(value), bufferOf(made), `operation ${i}`);
      }
    });
  }));
});

test("placeValues gives a chain of operations few buffers, and what is added to its own", () => {
  const graph = new Graph();
  let x = embed(graph, tokenTable);
  for (let i = 0; i < 20; i++) x = add(x, activate(activate(x, "relu"), "silu"));
  logits(outputsOf(x), head);
  const { buffers } = placeValues(graph, "step");
  assert.equal(buffers.length, 4); // the stream, two in turn, and the outputs'
});

test("Graph refuses values of another graph, values written over, and sums of unlike widths", () => {
  const one = new Graph(), other = new Graph();
  const a = embed(one, tokenTable), b = embed(other, tokenTable);
  assert.throws(() => add(a, b), /Cannot record "add": it reads a value of another graph/);
  const table = upload(entries, 1, 2);
  const rope = { config: { headDim: 2, ropeTheta: 1e4, ropeScaling: { type: "default" } as const }, table };
  const qkv = embed(one, upload(entries, 6));
  const [q, k, v] = split(qkv, [2, 2, 2]);
  attend({ q, k, v }, { headDim: 2, scale: 1, rope });
  assert.throws(() => activate(q, "relu"), /Cannot record "relu": it reads a value that was written over/);
  assert.throws(() => activate(qkv, "relu"), TypeError, "its columns were");
  assert.throws(() => project(a, { ...head, outs: [3, 3] }, a), /Cannot add "head" of 3,3 outputs/);
  assert.throws(() => one.ending, /does not end in logits/);
});

test("turnsOf gives the rotary settings that depend on a sequence's length, and refuses several", () => {
  const scaling = (factor: number) => ({ type: "dynamic", factor, originalMaxPositions: 8 }) as const;
  const ropeOf = (ropeScaling: RopeConfig["ropeScaling"]): RopeConfig => ({
    ...{ headDim: 2, ropeTheta: 1e4, ropeScaling },
  });
  const graphOf = (...configs: RopeConfig[]): Pick<Model, "graph"> => {
    const graph = new Graph();
    for (const config of configs) {
      const [q, k, v] = split(embed(graph, tokenTable), [2, 2, 2]);
      attend({ q, k, v }, { headDim: 2, scale: 1, rope: { config, table: tokenTable } });
    }
    return { graph };
  };
  const plain = ropeOf({ type: "default" }), two = ropeOf(scaling(2)), three = ropeOf(scaling(3));
  assert.equal(turnsOf({ ...graphOf(plain, two, two), maxModelLen: 9 }), two);
  assert.equal(turnsOf({ ...graphOf(plain, two), maxModelLen: 8 }), undefined);
  assert.equal(turnsOf({ ...graphOf(), maxModelLen: 9 }), undefined);
  assert.throws(() => turnsOf({ ...graphOf(two, three), maxModelLen: 9 }), /several rotary scalings/);
});

test("placeValues refuses a whole plan of columns that no kernel copies", () => {
  const graph = new Graph();
  const x = embed(graph, tokenTable), part = graph.value(2);
  graph.record({ name: "part", reads: [x], makes: [part], step: [0], whole: [0] });
  logits(outputsOf(part), head);
  assert.equal(placeValues(graph, "step").places.get(part)!.buffer, 0);
  assert.throws(() => placeValues(graph, "whole"), /Cannot bind "part" in a whole plan/);
});

test("stepPlan refuses values that do not stand side by side", () => {
  const graph = new Graph();
  const q = embed(graph, tokenTable), k = embed(graph, tokenTable), v = embed(graph, tokenTable);
  logits(outputsOf(attend({ q, k, v }, { headDim: 2, scale: 1 })), head);
  return assert.rejects(bySteps(graph), /Cannot bind values side by side/);
});
