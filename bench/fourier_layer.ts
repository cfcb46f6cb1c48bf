/**
 * Adapters of one linear as a bank has them: the steps of many layers over the same x and y.
 *
 * @module
 */
import { fourierLinear } from "../kernels/fourier_linear.ts";
import { fourierTable, randomFrequencies } from "../kernels/fourier_table.ts";
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
}

/** Bytes that a call must at least move: x and y read, y written, and the coefficients of the rows' adapters. */
export function layerBytes({ out, in: inFeatures, rows, adapters, n }: LayerSize): number {
  return 4 * rows * (inFeatures + 2 * out) + 4 * n * Math.min(rows, adapters);
}

/** Layers at most: their records are small, and a model has as many. */
const maxLayers = 128;

/** Steps to run in turn, and what they work on. */
export interface LayerSteps {
  readonly steps: readonly Step[];
  readonly release: () => void;
}

/**
 * The step of one layer after another, all of the same x and y: in a model both come from the step before and are in the
 * cache, while the coefficients (after the base weights of a whole model) are not, unless 128 layers of them are small.
 */
export function layerSteps(context: BenchContext, size: LayerSize, shared: { x?: Tensor } = {}): LayerSteps {
  const { device } = context;
  const { out, rows, adapters, n } = size;
  const { u, v } = randomFrequencies(n, size, uniforms(1));
  const { table } = fourierTable({ destination: u, source: v }, { destination: out, source: size.in });
  const layerNumbers = adapters * n;
  const layers = Math.max(1, Math.min(maxLayers, Math.ceil(coldBytes(context) / (16 * layerNumbers))));
  const scale = bitsOf(150 / (out * size.in));
  const records = Uint32Array.from({ length: layers * adapters * recordWords }, (_, i) => {
    const place = Math.floor(i / recordWords);
    return [0, place * n, n, scale][i % recordWords];
  });
  const x = shared.x ?? normalTensor(device, [rows, size.in]);
  const y = device.alloc([rows, out], "float32");
  const own = {
    slots: device.upload(tensor(Uint32Array.from({ length: rows }, (_, i) => i % adapters))),
    records: device.upload(tensor(records)),
    tables: device.upload(tensor(table)),
    values: normalTensor(device, [layers * layerNumbers]),
  };
  const words = { rows, in: size.in, out, capacity: adapters };
  return {
    steps: Array.from(
      { length: layers },
      (_, layer) => step(fourierLinear, { x, y, ...own }, { ...words, layer }),
    ),
    release() {
      const made = [y, ...Object.values(own), ...(shared.x ? [] : [x])];
      made.forEach((t) => device.release(t));
    },
  };
}
