/**
 * Every bench once, in the order that `deno task bench` runs them.
 *
 * @module
 */
import { crossoverBench } from "./crossover.ts";
import { decodeLlamaBench } from "./decode_llama.ts";
import { decodeMethodsBench } from "./decode_methods.ts";
import { fourierBench } from "./fourier.ts";
import { kernelsBench } from "./kernels.ts";
import { kvCacheBench } from "./kv_cache.ts";
import type { Bench } from "./measurement.ts";
import { productsBench, quantizedBench } from "./products.ts";
import { paperBench } from "./paper.ts";
import { recipeBench } from "./recipe.ts";
import { safetensorsBench } from "./safetensors.ts";
import { sweepsBench } from "./sweeps.ts";
import { trainingBench } from "./training_layer.ts";
import { trainingStepBench } from "./training_step.ts";
import { transformsBench } from "./transforms.ts";

/** See the module's documentation. */
export const benches: readonly Bench[] = [
  fourierBench,
  transformsBench,
  productsBench,
  quantizedBench,
  kernelsBench,
  sweepsBench,
  crossoverBench,
  decodeLlamaBench,
  decodeMethodsBench,
  kvCacheBench,
  trainingBench,
  trainingStepBench,
  recipeBench,
  paperBench,
  safetensorsBench,
];
