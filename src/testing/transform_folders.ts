/**
 * fast-check arbitraries of C3A and WaveFT adapters' folders.
 *
 * @module
 */
import fc from "fast-check";
import { frequencies } from "../../kernels/frequencies.ts";
import { elementWavelet, waveletNames, waveletOf } from "../../kernels/wavelet/filters.ts";
import type { HostTensor } from "../tensor.ts";
import { numbers, scalings, seeds, type ShapeOptions, shapes } from "./arbitraries.ts";
import {
  type AdapterFolderCase,
  common,
  folderOf,
  modulesOf,
  namesOf,
  stored,
  storedDtypes,
} from "./folder_parts.ts";
import { circulantDelta, waveletDelta } from "./transforms.ts";

/** C3A adapters' folders as PEFT writes them: one to four modules, of any block sizes. */
export function c3aFolders({ longest = 16 }: ShapeOptions = {}): fc.Arbitrary<AdapterFolderCase> {
  const module = fc.integer({ min: 1, max: longest }).chain((block) => {
    const count = fc.integer({ min: 1, max: Math.max(1, Math.floor(longest / block)) });
    return fc.tuple(count, count).chain(([rows, columns]) =>
      fc.record({
        block: fc.constant(block),
        dims: fc.constant([rows, columns, block] as const),
        kernels: numbers(rows * columns * block),
        dtype: storedDtypes,
      })
    );
  });
  return modulesOf(module).map((list) => {
    const tensors = new Map<string, HostTensor>();
    const modules = list.map(([path, { block, dims, kernels, dtype }]) => {
      const { t, worth } = stored(kernels, dims, dtype),
        shape = { out: dims[0] * block, in: dims[1] * block };
      tensors.set(`${path}.c3a_kernel`, t);
      return [path, { shape, delta: circulantDelta({ kernels: worth, block }, shape) }] as const;
    });
    const config = {
      ...common,
      peft_type: "C3A",
      target_modules: namesOf(list),
      block_size: list[0][1].block,
      block_size_pattern: Object.fromEntries(list.map(([path, { block }]) => [path, block])),
      init_weights: "xavier_uniform",
      bias: "none",
    };
    return { files: folderOf(config, tensors), peftType: "C3A" as const, modules: new Map(modules) };
  });
}

/** WaveFT adapters' folders as PEFT writes them: one to four modules that share wavelet, seed and scaling. */
export function waveftFolders({ longest = 16 }: ShapeOptions = {}): fc.Arbitrary<AdapterFolderCase> {
  const module = shapes({ longest }).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      coefficients: fc.integer({ min: 1, max: Math.min(24, shape.out * shape.in) }).chain(numbers),
      dtype: storedDtypes,
    })
  );
  const settings = fc.record({
    family: fc.constantFrom(...waveletNames),
    inverse: fc.boolean(),
    seed: seeds,
    scaling: scalings,
  });
  return fc.tuple(modulesOf(module), settings).map(([list, { family, inverse, seed, scaling }]) => {
    const wavelet = inverse ? waveletOf(family) : elementWavelet;
    const tensors = new Map<string, HostTensor>();
    const modules = list.map(([path, { shape, coefficients, dtype }]) => {
      const n = coefficients.length, { t, worth } = stored(coefficients, [n], dtype);
      tensors.set(`${path}.waveft_spectrum`, t);
      const spectrum = { coefficients: worth, ...frequencies(n, shape, { seed }), scaling };
      return [path, { shape, delta: waveletDelta(spectrum, shape, wavelet) }] as const;
    });
    const config = {
      ...common,
      peft_type: "WAVEFT",
      target_modules: namesOf(list),
      n_frequency: list[0][1].coefficients.length,
      n_frequency_pattern: Object.fromEntries(
        list.map(([path, { coefficients }]) => [path, coefficients.length]),
      ),
      proportional_parameters: false,
      random_loc_seed: seed,
      scaling,
      wavelet_family: family,
      use_idwt: inverse,
      fan_in_fan_out: false,
      init_weights: true,
      bias: "none",
    };
    return { files: folderOf(config, tensors), peftType: "WAVEFT" as const, modules: new Map(modules) };
  });
}
