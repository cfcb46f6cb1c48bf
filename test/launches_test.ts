/**
 * How many launches a GPU's decode step takes with an adapter of each method: what a step of one row costs most.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { methodAdapterName, methodAdapters, randomMethods } from "../bench/method_adapters.ts";
import { randomWeights, tiny as config } from "../bench/random_model.ts";
import { portableLimits } from "../kernels/kernel.ts";
import { cpuDevice, type Device, type Plan } from "../mod.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { joinNeighbours } from "../src/device/join.ts";
import { modelBase } from "../src/engine/base.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { weightsOf } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { layerLinears } from "../src/models/spec.ts";
import { callOf } from "../src/plan.ts";

/** Launches of a plan on a GPU of WebGPU's guaranteed limits. */
function launchesOf(plan: Plan): number {
  return joinNeighbours(plan, portableLimits).reduce(
    (sum, step) => sum + step.kernel.launch(callOf(step), portableLimits).dispatches.length,
    0,
  );
}

/** Rows of a step. */
const rowsOf = (plan: Plan): number => plan.find(({ kernel }) => kernel.name === "linear")!.uniforms.rows;

/** How many launches a step takes, by an engine on a device whose tensors have memory of their own, as on a GPU. */
async function opened(): Promise<(row: string | undefined, count: number) => Promise<number>> {
  const base = cpuDevice({ wasm: false });
  const plans: Plan[] = [];
  const device: Device = {
    ...base,
    prepare(plan: Plan) {
      plans.push(plan);
      return base.prepare(plan);
    },
  };
  const model = await loadModel(device, {
    config,
    source: randomWeights(config, "float32"),
    maxModelLen: 32,
  });
  const registry = new AdapterRegistry(device, randomMethods(layerLinears(weightsOf(config))), {
    linears: model.linears,
    base: modelBase(device, model),
    capacity: 2,
  });
  const options = { eosTokenIds: [], maxSequences: 2, merging: "never" } as const;
  const engine = new BatchEngine(device, model, { registry, options });
  /** Of a step of a token for each of `count` sequences, each with an adapter of its own. */
  return async (row, count) => {
    const method = methodAdapters.find((one) => one.row === row);
    const adapters = Array.from({ length: count }, (_, i) => method && methodAdapterName(method, i));
    // Read before, the adapters' sequences begin in one step.
    for (const adapter of adapters) if (adapter) (await registry.acquire(adapter)).release();
    plans.length = 0;
    await Promise.all(adapters.map(async (adapter) => {
      const sampling = { temperature: 0, topP: 1, topK: 0 };
      const request = { promptTokenIds: [1, 2, 3], adapter, maxTokens: 4, sampling };
      for await (const _ of engine.generate(request)) { /* The plans are what is asked for. */ }
    }));
    return launchesOf(plans.findLast((plan) => plan.length > 1 && rowsOf(plan) === count)!);
  };
}

/** Launches of two layers of four projections each, beyond the base's, for one row and for two. */
const added: readonly (readonly [row: string, one: number, two: number])[] = [
  // Of one row B times A x is added where it is read, but for the last product: its rows are chosen first.
  ["LoRA r = 16", 1, 16],
  ["MiSS r = 64", 1, 16],
  ["FourierFT n = 1000", 1, 8],
  ["DoRA r = 16", 1, 19],
  ["IA3", 4, 4],
  ["RoAd 1", 1, 9],
  ["OFT blocks of 32", 8, 24],
  ["BOFT blocks of 4", 11, 27],
];

test("a decode step takes no more launches with adapters than it did", async () => {
  const launches = await opened();
  const base = [await launches(undefined, 1), await launches(undefined, 2)];
  assert.deepEqual(base, [25, 25]);
  for (const [row, ...expected] of added) {
    const found = [await launches(row, 1), await launches(row, 2)];
    assert.deepEqual(found.map((count, i) => count - base[i]), expected, row);
  }
});
