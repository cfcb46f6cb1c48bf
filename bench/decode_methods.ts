/**
 * What an adapter of each method adds to a decode step, at batch 1 and at batch 64 with an adapter for each row.
 *
 * @module
 */
import process from "node:process";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { modelBase } from "../src/engine/base.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { weightsOf } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { layerLinears } from "../src/models/spec.ts";
import { stepTimes } from "./decode_llama.ts";
import { onePassUs, traceCells } from "./decode_trace.ts";
import { HostMeter } from "./host_meter.ts";
import { type Bench, type BenchContext, type Measurement, median } from "./measurement.ts";
import { type MethodAdapter, methodAdapterName, methodAdapters, randomMethods } from "./method_adapters.ts";
import { demo, llama1b, randomWeights, tiny } from "./random_model.ts";

const table = "decode-methods";
const sizes = {
  webgpu: { config: llama1b, name: "Llama-3.2-1B's shape", batch: 64, distinct: 8, tokens: 32, rounds: 5 },
  cpu: { config: demo, name: "the demo model's shape", batch: 64, distinct: 8, tokens: 12, rounds: 3 },
  quick: { config: tiny, name: "a tiny shape", batch: 4, distinct: 2, tokens: 6, rounds: 1 },
};
type Size = typeof sizes.webgpu;

async function open({ device: base, log }: BenchContext, { config, batch, distinct }: Size) {
  const meter = new HostMeter(base), { device } = meter;
  const source = randomWeights(config, device.kind === "cpu" ? "float32" : "float16");
  const model = await loadModel(device, { config, source, maxModelLen: 256 });
  // The seven of each layer: a head's adapters would be most of the work.
  const store = randomMethods(layerLinears(weightsOf(config)));
  const registry = new AdapterRegistry(device, store, {
    linears: model.linears,
    base: modelBase(device, model),
    capacity: distinct,
    log,
  });
  // Each row by its own step, never by a merged weight: that is what is measured.
  const options = { eosTokenIds: [], maxSequences: batch, merging: "never" } as const;
  return { meter, registry, engine: new BatchEngine(device, model, { registry, options }) };
}
type Opened = Awaited<ReturnType<typeof open>>;

/** Milliseconds of CPU time of this process: what else a machine computes does not lengthen a step of the CPU device. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Steps with and without adapters, in turn: a slow moment of the machine hits both. */
async function* timeBatch(
  { engine, meter }: Opened,
  { method, count, size, trace }: {
    readonly method: MethodAdapter;
    readonly count: number;
    readonly size: Size;
    readonly trace?: boolean;
  },
): AsyncGenerator<Measurement> {
  const { distinct, rounds, name } = size;
  // A step of one row is short: more of them keep the GPU at its clock.
  const tokens = count === 1 ? 3 * size.tokens : size.tokens;
  const base = Array<undefined>(count).fill(undefined);
  const adapted = Array.from({ length: count }, (_, i) => methodAdapterName(method, i % distinct));
  const now = meter.base.kind === "cpu" ? cpuMs : undefined;
  const times: { base: number; adapted: number }[] = [];
  await stepTimes({ engine }, { adapters: adapted, tokens });
  for (let round = 0; round < rounds; round++) {
    times.push({
      base: median(await stepTimes({ engine }, { adapters: base, tokens, now })),
      adapted: median(await stepTimes({ engine }, { adapters: adapted, tokens, now })),
    });
  }
  const cell = { table, row: method.row, runs: rounds * tokens };
  const note =
    `${name}, random weights; adapters on all seven linears; a batch has ${distinct} adapters in turn.`;
  const column = `batch ${count}`;
  yield {
    ...cell,
    column: `${column}, base`,
    unit: "ms",
    median: median(times.map(({ base }) => base)),
    note,
  };
  yield { ...cell, column, unit: "ms", median: median(times.map(({ adapted }) => adapted)) };
  const added = times.map(({ base, adapted }) => 100 * (adapted / base - 1));
  yield {
    ...cell,
    column: `${column} adds`,
    unit: "%",
    median: median(added),
    minimum: Math.min(...added),
    slowest: Math.max(...added),
  };
  if (!trace) return;
  const ran = async (adapters: readonly (string | undefined)[]) => {
    meter.forget();
    await stepTimes({ engine }, { adapters, tokens });
    return meter.usual;
  };
  const of = { table: `${table}-trace`, of: `${method.row}, batch ${count}` };
  const own = await ran(adapted), without = await ran(base);
  yield* traceCells(meter.base, own, of);
  // Wall times move with what else a machine does: these do not.
  const [ownUs, baseUs] = [await onePassUs(meter.base, own), await onePassUs(meter.base, without)];
  const place = { table: of.table, row: `${of.of}: the step in one pass` };
  yield { ...place, column: "beside the base", unit: "%", median: 100 * (ownUs / baseUs - 1) };
}

/** See the module's documentation. */
export const decodeMethodsBench: Bench = {
  name: "decode-methods",
  doc:
    "what an adapter of each method adds to a decode step (GPU: Llama-3.2-1B's shape; CPU: the demo model's)",
  clock: "wall time, on a CPU by the process's CPU time",
  peers: ["decode_methods.py"],
  async *measure(context: BenchContext) {
    const { device, quick, log, rows = "", rounds, trace } = context, wanted = new RegExp(rows);
    const usual: Size = quick ? sizes.quick : sizes[device.kind];
    const size = { ...usual, rounds: rounds ?? usual.rounds };
    const opened = await open(context, size);
    for (const method of methodAdapters.filter(({ row }) => wanted.test(row))) {
      try {
        for (let i = 0; i < size.distinct; i++) {
          (await opened.registry.acquire(methodAdapterName(method, i))).release();
        }
        for (const count of [1, size.batch]) yield* timeBatch(opened, { method, count, size, trace });
      } catch (error) {
        log(`left out: ${method.row}: ${(error as Error).message}`);
      }
    }
  },
};
