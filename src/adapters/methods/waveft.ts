/**
 * WaveFT (Bilican et al. 2025, arXiv 2505.12532) as PEFT writes it: dW is one level of a 2-D wavelet of n coefficients, or
 * those coefficients as they are. The file has the coefficients; their places are drawn from a seed.
 *
 * @module
 */
import { inOrder } from "../../../kernels/fourier_table.ts";
import { type Draw, frequencies } from "../../../kernels/frequencies.ts";
import { bitsOf } from "../../../kernels/record.ts";
import { embedding } from "../../../kernels/embedding.ts";
import {
  elementWavelet,
  type Wavelet,
  type WaveletName,
  waveletNames,
  waveletOf,
} from "../../../kernels/wavelet/filters.ts";
import { waveletPlaces, type WaveletTable, waveletTable } from "../../../kernels/wavelet/table.ts";
import { waveletGradient } from "../../../kernels/wavelet_gradient.ts";
import { waveletLinear } from "../../../kernels/wavelet_linear.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../../tensor.ts";
import { flagField, integerField, numberField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, CombinedFiles, LinearShape, Method, ReadOptions, Summand } from "../method.ts";
import { checkSame } from "./combined.ts";
import { checkReach, checkScale } from "../numbers.ts";
import type { TrainableModule } from "../training.ts";
import { takingScales } from "../scaled.ts";
import { shapeError, tensorsByModule } from "./module_tensors.ts";
import { fewerFrequencies } from "./patterns.ts";
import { combinedSpectra } from "./spectra.ts";

const name = "waveft_spectrum";

const known = [
  "scaling",
  "random_loc_seed",
  "wavelet_family",
  "use_idwt",
  "n_frequency", // the tensor's length says it, and of the next two, too
  "n_frequency_pattern",
  "proportional_parameters",
  "fan_in_fan_out", // dW is that of the (out, in) weight either way; it only turns a stored weight at a merge
  "init_weights",
];

/** What all modules of an adapter share. */
export interface Setting {
  /** PEFT's `wavelet_family`; "none" where the coefficients are dW's own elements. */
  readonly family: WaveletName | "none";
  readonly seed: number;
  readonly scaling: number;
}

interface Spectrum extends Setting {
  /** In the order their places were drawn. */
  readonly coefficients: Float32Array;
  readonly options?: ReadOptions;
}

/** A module, and its numbers for sums. */
export interface WaveftModule extends AdapterModule {
  readonly wavelet: Spectrum;
}

function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  if (config.random_loc_seed === null) {
    throw new ConfigError(
      'Cannot read adapter_config.json field "random_loc_seed" = null: the places of coefficients are not in the file and ' +
        "cannot be drawn again without the seed",
    );
  }
  const seed = integerField(config, "random_loc_seed", 777);
  const scaling = numberField(config, "scaling", 25);
  checkScale(scaling, { field: "scaling", value: scaling });
  if ("use_idwt" in config && !flagField(config, "use_idwt")) return { family: "none", seed, scaling };
  const { wavelet_family: family = "db1" } = config;
  const found = waveletNames.find((one) => one === family);
  if (!found) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "wavelet_family" = ${
        JSON.stringify(family)
      }: it must be one of ${waveletNames.join(", ")}, for which PEFT has filters`,
    );
  }
  return { family: found, seed, scaling };
}

const waveletNamed = (family: Setting["family"]): Wavelet =>
  family === "none" ? elementWavelet : waveletOf(family);

/** The most that a coefficient of 1 adds to an element: the product of two taps. */
function gainOf({ low, high }: Wavelet): number {
  const most = Math.max(...[...low, ...high].map(Math.abs));
  return most * most;
}

/** Tables by what determines them: adapters of one seed share theirs. */
const tables = new Map<string, WaveletTable>();
const mostTables = 1024;

function tableOf(key: string, make: () => WaveletTable): WaveletTable {
  let made = tables.get(key);
  if (!made) {
    if (tables.size >= mostTables) tables.delete(tables.keys().next().value!);
    tables.set(key, made = make());
  }
  return made;
}

function waveftModule(spectrum: Spectrum): WaveftModule {
  const { coefficients, family, seed, scaling, options = {} } = spectrum;
  const n = coefficients.length, wavelet = waveletNamed(family), draw: Draw = { seed, ...options };
  const key = ({ out, in: inSize }: LinearShape): string =>
    `waveft:${family}:${seed}:${n}:${out}x${inSize}:${options.torch ?? ""}`;
  const forward = (shape: LinearShape): WaveletTable =>
    tableOf(key(shape), () => {
      const { u, v } = waveletPlaces(frequencies(n, shape, draw), shape, wavelet);
      return waveletTable({ destination: u, source: v }, { length: shape.out, wavelet });
    });
  const reach = (): number =>
    Math.abs(scaling) * gainOf(wavelet) * coefficients.reduce((total, c) => total + Math.abs(c), 0);
  return takingScales({
    wavelet: spectrum,
    parameters: n,
    summary: `n = ${n}, ${family === "none" ? "no wavelet" : family}, seed ${seed}, scaling ${scaling}`,
    check(path, { out, in: inSize }) {
      if (n > out * inSize) {
        throw new RangeError(
          `Cannot place ${n} coefficients in module "${path}": its weight (${out}, ${inSize}) has ${
            out * inSize
          }`,
        );
      }
      checkReach(reach(), `module "${path}" with scaling ${scaling}`);
    },
    pack: (shape) => ({
      values: inOrder(coefficients, forward(shape).order),
      table: { key: key(shape), words: () => forward(shape).table },
      count: n,
      scale: scaling,
    }),
    trainable: (shape, upload) =>
      trainableWavelet(coefficients, { shape, made: forward(shape), wavelet, scaling, draw, upload }),
    spectrum: (shape) => ({
      ...frequencies(n, shape, draw),
      c: coefficients,
      scale: scaling,
      wavelet: family,
    }),
  }, reach);
}

/** Coefficients of one seed and wavelet, added up. */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const settings = new Map(adapters.map((one) => [one, settingOf(one.config)]));
  const family = checkSame(
    adapters,
    (one) => settings.get(one)!.family,
    (one, other) =>
      `Cannot write adapters of the wavelets ${one} and ${other} as one: a WaveFT file has one ("none" is use_idwt = false)`,
  );
  const { config, tensors } = combinedSpectra<WaveftModule>(adapters, {
    ...{ method: "WaveFT", tensor: name, settingOf: (one) => settings.get(one)! },
    coefficientsOf: ({ wavelet }) => wavelet.coefficients,
  });
  const wavelet = family === "none" ? { use_idwt: false } : { use_idwt: true, wavelet_family: family };
  return { config: { ...config, ...wavelet, proportional_parameters: false }, tensors };
}

/** The input gradient is the forward with rows and columns exchanged, the coefficients' gradient a kernel of its own. */
function trainableWavelet(
  coefficients: Float32Array,
  { shape, made, wavelet, scaling, draw, upload }: {
    readonly shape: LinearShape;
    readonly made: WaveletTable;
    readonly wavelet: Wavelet;
    readonly scaling: number;
    readonly draw: Draw;
    readonly upload: (t: HostTensor) => Tensor;
  },
): TrainableModule {
  const n = coefficients.length;
  const { u, v } = waveletPlaces(frequencies(n, shape, draw), shape, wavelet);
  const turned = waveletTable({ destination: v, source: u }, { length: shape.in, wavelet });
  const place = new Uint32Array(n), pairs = new Uint32Array(2 * n);
  made.order.forEach((l, e) => {
    place[l] = e;
    pairs.set([u[l], v[l]], 2 * e);
  });
  const tables = upload(tensor(made.table)), filters = upload(tensor(pairs, [n, 2]));
  const back = {
    tables: upload(tensor(turned.table)),
    places: upload(tensor(turned.order.map((l) => place[l]))),
    values: upload(tensor(new Float32Array(n))),
    records: upload(tensor(Uint32Array.of(0, 0, n, bitsOf(scaling)))),
  };
  const words = { out1: 0, out2: 0, linear: 0, capacity: 1 };
  return {
    values: inOrder(coefficients, made.order),
    beside: {
      forward: ({ x, y, rows, slots, params, at }) => [
        step(waveletLinear, {
          ...{ x, slots, tables, values: params, y },
          records: upload(tensor(Uint32Array.of(0, at, n, bitsOf(scaling)))),
        }, { rows, in: shape.in, out0: shape.out, ...words }),
      ],
      backward: ({ x, dy, dx, rows, slots, params, gradients, at }) => [
        step(waveletGradient, { x, dy, tables, filters, gradient: gradients }, {
          ...{ rows, in: shape.in, out: shape.out, count: n, offset: at, scale: scaling, accumulate: 1 },
        }),
        step(embedding, { ids: back.places, weight: slice(params, at, n), y: back.values }, {
          rows: n,
          dim: 1,
          vocab: n,
        }),
        step(waveletLinear, {
          ...{ x: dy, slots, records: back.records, tables: back.tables, values: back.values, y: dx },
        }, { rows, in: shape.out, out0: shape.in, ...words }),
      ],
    },
    tensors: (values) => {
      const spectrum = new Float32Array(n);
      made.order.forEach((l, e) => spectrum[l] = values[e]);
      return new Map([[`.${name}`, tensor(spectrum)]]);
    },
  };
}

/** See the module's documentation. */
export const waveft: Method = {
  name: "WaveFT",
  peftType: "WAVEFT",
  facts: {
    tensors: ["waveft_spectrum (n)"],
    formula:
      "dW = scaling S_out F S_in^T, S one level of a wavelet; F holds the n coefficients at places drawn from the seed",
    cost: "n (L + 1) + L out for filters of L taps",
    numbers: "n, and a table of places that adapters of one seed share",
    refused: "a null seed: the places are in no file; wavelets that PEFT names and has no filter for",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    patternField(config, "n_frequency_pattern");
    settingOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const setting = settingOf(files.config), { options } = files;
    const modules = tensorsByModule(files, { method: "WaveFT", own: { [name]: "unchecked" } });
    return new Map(modules.map(({ path, tensor: tensorOf }) => {
      const spectrum = tensorOf(name);
      if (spectrum.shape.length !== 1 || spectrum.values.length === 0) {
        throw shapeError(spectrum, "[n] with n > 0");
      }
      const sum = spectrum.values.reduce((total, c) => total + Math.abs(c), 0);
      checkReach(sum, `the sum of adapter tensor "${spectrum.name}"`);
      return [path, waveftModule({ ...setting, coefficients: spectrum.values, options })];
    }));
  },
  training: {
    options: {
      n_frequency: { kind: "count", least: 1, default: 2592, doc: "coefficients a linear" },
      scaling: { kind: "number", default: 25, doc: "scaling" },
      random_loc_seed: { kind: "count", default: 777, doc: "seed of the coefficients' places" },
      wavelet_family: { kind: "choice", choices: waveletNames, default: "db1", doc: "wavelet" },
      use_idwt: {
        kind: "flag",
        default: true,
        doc: "whether coefficients are a wavelet's, or dW's elements",
      },
    },
    learningRate: 0.001,
    create(shape, options) {
      const { n_frequency: n } = options as Readonly<Record<string, number>>;
      // Zeros, as PEFT's init_weights = true: the model starts as its base.
      return waveftModule({
        ...settingOf(options),
        coefficients: new Float32Array(Math.min(n, shape.out * shape.in)),
      });
    },
    configFields: (options, _, linears) => ({
      ...options,
      n_frequency_pattern: fewerFrequencies(Number(options.n_frequency), linears),
      proportional_parameters: false,
      fan_in_fan_out: false,
      init_weights: true,
      bias: "none",
    }),
  },
  takesScale: true,
  combined,
  beside({ x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(waveletLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    });
  },
};
