/**
 * How cost grows: with d, n, T, the number of adapters and the context's length, one at a time, and the model of it.
 *
 * An adapter costs O(d log d + n) a token, and at least its bytes; attention costs what reading the cache costs.
 *
 * @module
 */
import { attention } from "../kernels/attention.ts";
import type { Program } from "../src/device/device.ts";
import { step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { copyRate } from "./cells.ts";
import { normalTensor, type Prepared } from "./data.ts";
import { describeFit, fit, type Term } from "./fit.ts";
import { layerBytes, type LayerSize, layerSteps } from "./fourier_layer.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

/** One varied number, with the rest fixed. */
interface Sweep {
  readonly table: string;
  /** The size that is varied, and the others. */
  readonly varies: string;
  readonly fixed: string;
  readonly xs: readonly number[];
  readonly terms: readonly Term[];
  readonly bytes: (x: number) => number;
  readonly prepare: (x: number) => Promise<Prepared>;
}

const once: Term = { name: "us", of: () => 1 };
const linearly = (what: string): Term => ({ name: `us x ${what}`, of: (x) => x });

/** Numbers of three devices: a GPU's, a CPU's, and for a quick run. */
function forDevice<T>({ device, quick }: BenchContext, sizes: { gpu: T; cpu: T; quick: T }): T {
  return quick ? sizes.quick : sizes[device.kind === "cpu" ? "cpu" : "gpu"];
}

const doubling = (from: number, to: number, factor = 2): number[] => {
  const xs = [];
  for (let x = from; x <= to; x *= factor) xs.push(x);
  return xs;
};

async function prepareLayer(context: BenchContext, size: LayerSize): Promise<Prepared> {
  const { steps, release } = layerSteps(context, size);
  const programs: Program[] = await Promise.all(steps.map((one) => context.device.prepare([one])));
  return {
    programs,
    release() {
      programs.forEach((program) => program.release());
      release();
    },
  };
}

function fourierSweeps(context: BenchContext): Sweep[] {
  const d = forDevice(context, { gpu: 4096, cpu: 1024, quick: 256 });
  const rows = forDevice(context, { gpu: 512, cpu: 4, quick: 2 });
  const many = forDevice(context, { gpu: 4096, cpu: 64, quick: 16 });
  /** The size that peers are measured at, too. */
  const peers = context.quick ? d : 4096;
  const usual = { out: d, in: d, rows, adapters: 1, n: 1000 };
  const sweep = (
    table: string,
    { size, ...rest }: Omit<Sweep, "table" | "bytes" | "prepare"> & { size: (x: number) => LayerSize },
  ): Sweep => ({
    table,
    ...rest,
    bytes: (x) => layerBytes(size(x)),
    prepare: (x) => prepareLayer(context, size(x)),
  });
  return [
    sweep("sweep-d", {
      varies: "d",
      fixed: `(d, d), T = ${rows}, n = 1000, 1 adapter`,
      xs: forDevice(context, {
        gpu: doubling(256, 32768),
        cpu: doubling(256, 16384),
        quick: doubling(64, 256),
      }),
      terms: [once, { name: "us x d log2 d", of: (x) => x * Math.log2(x) }],
      size: (x) => ({ ...usual, out: x, in: x }),
    }),
    sweep("sweep-n", {
      varies: "n",
      fixed: `(${d}, ${d}), T = ${rows}, 1 adapter`,
      xs: forDevice(context, {
        gpu: [10, ...doubling(250, 32000)],
        cpu: [10, ...doubling(250, 32000)],
        quick: [10, 100, 1000],
      }),
      terms: [once, linearly("n")],
      size: (x) => ({ ...usual, n: x }),
    }),
    sweep("sweep-tokens", {
      varies: "T",
      fixed: `(${peers}, ${peers}), n = 1000, 1 adapter`,
      xs: forDevice(context, { gpu: doubling(1, 8192), cpu: doubling(1, 64), quick: doubling(1, 4) }),
      terms: [once, linearly("T")],
      size: (x) => ({ ...usual, out: peers, in: peers, rows: x }),
    }),
    sweep("sweep-adapters", {
      varies: "adapters",
      fixed: `(${d}, ${d}), T = ${many}, n = 1000`,
      xs: doubling(1, many, 4),
      terms: [once],
      size: (x) => ({ ...usual, rows: many, adapters: x }),
    }),
  ];
}

/** One new token of one sequence, with the heads of Llama-3.2-1B. */
function contextSweep(context: BenchContext): Sweep {
  const { device } = context;
  const [heads, kvHeads, headDim] = [32, 8, 64];
  const cacheBytes = (length: number): number => 8 * length * kvHeads * headDim;
  return {
    table: "sweep-context",
    varies: "context",
    fixed: "attention of one new token, 32 heads of 64, 8 key-value heads, a float32 cache",
    xs: forDevice(context, { gpu: doubling(64, 65536), cpu: doubling(64, 16384), quick: doubling(64, 256) }),
    terms: [once, linearly("context")],
    bytes: cacheBytes,
    async prepare(length) {
      const blockSize = 16, tableSize = length / blockSize;
      const shared = {
        q: normalTensor(device, [heads, headDim]),
        blockTable: device.upload(tensor(Uint32Array.from({ length: tableSize }, (_, i) => i))),
        first: device.upload(tensor(Uint32Array.of(0))),
        lastKey: device.upload(tensor(Uint32Array.of(length - 1))),
        y: device.alloc([heads, headDim], "float32"),
      };
      // A model's layers have caches of their own.
      const caches = Array.from({ length: 16 }, () => ({
        keys: normalTensor(device, [length, kvHeads, headDim]),
        values: normalTensor(device, [length, kvHeads, headDim]),
      }));
      const sizes = { rows: 1, heads, kvHeads, headDim, qStride: heads * headDim };
      const words = {
        ...{ ...sizes, cacheRows: length, blockSize, tableSize },
        ...{ window: 0, softcap: 0, scale: headDim ** -0.5 },
      };
      const programs = await Promise.all(
        caches.map((cache) => device.prepare([step(attention, { ...shared, ...cache }, words)])),
      );
      return {
        programs,
        release() {
          programs.forEach((program) => program.release());
          for (const t of [shared, ...caches].flatMap((of) => Object.values(of))) device.release(t);
        },
      };
    },
  };
}

async function* runSweep(context: BenchContext, sweep: Sweep): AsyncGenerator<Measurement> {
  const { table, varies, fixed, terms } = sweep;
  const { median: copyGBs } = await copyRate(context);
  const measured: Measurement[] = [];
  for (const x of sweep.xs) {
    const { programs, release } = await sweep.prepare(x);
    const { medianUs, minimumUs, slowestUs, runs } = await timePrograms(context.device, programs, context);
    release();
    const cell = { table, row: `${varies} = ${x}`, unit: "us", x };
    measured.push({
      ...cell,
      column: "fourierft",
      median: medianUs,
      minimum: minimumUs,
      slowest: slowestUs,
      runs,
      note: fixed,
    });
    yield measured.at(-1)!;
    yield { ...cell, column: "floor: its bytes by a copy", median: sweep.bytes(x) / copyGBs / 1e3 };
  }
  const model = fit(measured.map(({ x, median }) => ({ x: x!, y: median })), terms);
  const note = describeFit(model, terms);
  for (const { row, x } of measured) {
    yield { table, row, x, column: "model", unit: "us", median: model.at(x!), note };
  }
}

/** See the module's documentation. */
export const sweepsBench: Bench = {
  name: "sweeps",
  doc: "how cost grows with d, n, T, adapters and context, and the model that explains it",
  async *measure(context) {
    yield await copyRate(context);
    for (const sweep of [...fourierSweeps(context), contextSweep(context)]) yield* runSweep(context, sweep);
  },
};
