/**
 * Adapters of one linear as a bank has them: the steps of many layers over the same x and y.
 *
 * @module
 */
import { fourierLinears } from "../kernels/fourier_linears.ts";
import { fourierTable } from "../kernels/fourier_table.ts";
import { randomFrequencies } from "../kernels/cases/random_frequencies.ts";
import { bitsOf, recordWords } from "../kernels/record.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Step, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { coldBytes, normalTensor } from "./data.ts";
import type { BenchContext } from "./measurement.ts";

/** Sizes of y += x dW^T: rows in turn have one of `adapters` adapters of n coefficients. */
export interface LayerSize {
  readonly out: number;
  readonly in: number;
  readonly rows: number;
  readonly adapters: number;
  readonly n: number;
  /** Outs of one or two more linears that share x, in the same launch. */
  readonly beside?: readonly number[];
}

const outsOf = ({ out, beside = [] }: LayerSize): number[] => [out, ...beside];
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Bytes that a call must at least move: x and y read, y written, and the coefficients of the rows' adapters. */
export function layerBytes(size: LayerSize): number {
  const { in: inFeatures, rows, adapters, n } = size;
  const outs = outsOf(size);
  return 4 * rows * (inFeatures + 2 * sum(outs)) + 4 * n * outs.length * Math.min(rows, adapters);
}

/** Layers at most: their records are small, and a model has as many. */
const maxLayers = 128;

/** Steps to run in turn, and what they work on. */
export interface LayerSteps {
  readonly steps: readonly Step[];
  readonly release: () => void;
}

/** The tables of a layer's linears one after the other, and where each begins. */
function tablesOf(size: LayerSize): { readonly tables: Uint32Array; readonly begins: readonly number[] } {
  const random = uniforms(1);
  const tables = outsOf(size).map((out) => {
    const { u, v } = randomFrequencies(size.n, { out, in: size.in }, random);
    return fourierTable({ destination: u, source: v }, { destination: out, source: size.in }).table;
  });
  const begins = tables.map((_, i) => sum(tables.slice(0, i).map(({ length }) => length)));
  return { tables: Uint32Array.from(tables.flatMap((table) => [...table])), begins };
}

/**
 * The step of one layer after another, all of the same x and y. In a model both come from the step before and are in
 * the cache. The coefficients come after the base weights of a whole model: they are not in the cache, unless those of
 * 128 layers are small.
 */
export function layerSteps(context: BenchContext, size: LayerSize, shared: { x?: Tensor } = {}): LayerSteps {
  const { device } = context;
  const { rows, adapters, n } = size;
  const outs = outsOf(size);
  const { tables, begins } = tablesOf(size);
  const layerNumbers = outs.length * adapters * n;
  const layers = Math.max(1, Math.min(maxLayers, Math.ceil(coldBytes(context) / (16 * layerNumbers))));
  const records = new Uint32Array(layers * outs.length * adapters * recordWords);
  for (let place = 0; place < layers * outs.length * adapters; place++) {
    const linear = Math.floor(place / adapters) % outs.length;
    const scale = bitsOf(150 / (outs[linear] * size.in));
    records.set([begins[linear], place * n, n, scale], place * recordWords);
  }
  const x = shared.x ?? normalTensor(device, [rows, size.in]);
  const y = device.alloc([rows, sum(outs)], "float32");
  const own = {
    slots: device.upload(tensor(Uint32Array.from({ length: rows }, (_, i) => i % adapters))),
    records: device.upload(tensor(records)),
    tables: device.upload(tensor(tables)),
    values: normalTensor(device, [layers * layerNumbers]),
  };
  const [out0, out1 = 0, out2 = 0] = outs;
  const words = { rows, in: size.in, out0, out1, out2, capacity: adapters };
  return {
    steps: Array.from(
      { length: layers },
      (_, i) => step(fourierLinears, { x, y, ...own }, { ...words, linear: i * outs.length }),
    ),
    release() {
      const made = [y, ...Object.values(own), ...(shared.x ? [] : [x])];
      made.forEach((t) => device.release(t));
    },
  };
}
