/**
 * For people who test spectral reconstruction, or a folder or store of their own. Properties, the reference in float64,
 * fast-check arbitraries, and contracts. Needs `fast-check`, a peer dependency of the package.
 *
 * An implementation is a function from a sparse spectrum and a shape to dW. A property takes an implementation, and throws
 * with the smallest case that breaks it:
 *
 * ```ts
 * import { type SpectralReconstruction, spectralProperties } from "fourierft/testing";
 *
 * const mine: SpectralReconstruction = ({ coefficients, u, v, scaling }, shape) =>
 *   Float32Array.from({ length: shape.out * shape.in }, (_, i) => {
 *     const [p, q] = [Math.floor(i / shape.in), i % shape.in];
 *     return scaling / (shape.out * shape.in) * coefficients.reduce((sum, c, l) =>
 *       sum + c * Math.cos(2 * Math.PI * (p * u[l] / shape.out + q * v[l] / shape.in)), 0);
 *   });
 *
 * for (const [name, property] of Object.entries(spectralProperties)) {
 *   await property(mine, { numRuns: 20 }); // in a test of its own: test(`dW: ${name}`, () => property(mine))
 *   console.log(name);
 * }
 * ```
 *
 * Implementations that draw frequencies from PEFT's seed are given those alone: `drawnProperties` with `{ drawn: true }`.
 *
 * {@linkcode testReadableFolder}, {@linkcode testAdapterStore} and {@linkcode testCheckpointStore} define tests of what may
 * be replaced:
 *
 * ```ts ignore
 * import { test } from "node:test";
 * import { testCheckpointStore } from "fourierft/testing";
 *
 * testCheckpointStore("my bucket", { test, open: async () => ({ store: await emptyBucket() }) });
 * ```
 *
 * @module
 */
export { type CaseOptions, type ShapeOptions, shapes, spectra, spectralCases } from "./arbitraries.ts";
export {
  type PropertyOptions,
  type SpectralCase,
  type SpectralProperty,
  SpectralPropertyError,
} from "./compare.ts";
export { type OpenedAdapterStore, testAdapterStore } from "./contracts/adapter_store.ts";
export { type OpenedCheckpointStore, testCheckpointStore } from "./contracts/checkpoint_store.ts";
export type { DefineTest, Opened } from "./contracts/checks.ts";
export { type OpenedFolder, testReadableFolder } from "./contracts/folder.ts";
export {
  type AdapterFolderCase,
  adapterFolders,
  damagedSafetensors,
  fourierftFolders,
  loraFolders,
  type SafetensorsCase,
  safetensorsFiles,
} from "./files.ts";
export { type FileContents, memoryAdapterStore, memoryCheckpoints, memoryFolder } from "./memory.ts";
export { mirror, order, transposition } from "./placed.ts";
export {
  cosineWave,
  drawnProperties,
  linearity,
  parseval,
  reference,
  roundTrip,
  scaling,
  shift,
  spectralProperties,
  symmetry,
  zero,
} from "./properties.ts";
export {
  deltaNormBound,
  referenceDelta,
  type SparseSpectrum,
  type SpectralReconstruction,
} from "./spectrum.ts";
export type { Wavelet } from "../../kernels/wavelet/filters.ts";
export { c3aFolders, waveftFolders } from "./transform_folders.ts";
export { circulantDelta, type CirculantKernels, waveletDelta } from "./transforms.ts";
