/**
 * FourierFT (Gao et al. 2024, arXiv 2405.03003) as PEFT writes it: coefficients in the file, frequencies from a seed.
 *
 * @module
 */
import { embedding } from "../../../kernels/embedding.ts";
import { fourierGradient } from "../../../kernels/fourier_gradient.ts";
import { fourierLinear } from "../../../kernels/fourier_linear.ts";
import { fourierLinears } from "../../../kernels/fourier_linears.ts";
import { type FourierTable, fourierTable, inOrder } from "../../../kernels/fourier_table.ts";
import { type Draw, frequencies } from "../../../kernels/frequencies.ts";
import { bitsOf } from "../../../kernels/record.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { elements, type HostTensor, slice, type Tensor, tensor } from "../../tensor.ts";
import { integerField, numberField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method, ReadOptions, Summand } from "../method.ts";
import type { TrainableModule } from "../training.ts";
import { checkReach, checkScale, finiteFloats } from "../numbers.ts";
import { fewerFrequencies } from "./patterns.ts";
import { combinedSpectra } from "./spectra.ts";
import { type Places, placesModule, sumOfMagnitudes, sumOfSpectra, tableOf } from "./places.ts";

const prefix = "base_model.model.";
const suffix = ".fourierft_spectrum";

const settingOf = ({ config }: Summand) => ({
  seed: integerField(config, "random_loc_seed", 777),
  scaling: numberField(config, "scaling", 150),
});

const known = [
  "scaling",
  "random_loc_seed",
  "n_frequency", // the tensor's length says it
  "n_frequency_pattern",
  "fan_in_fan_out", // dW is that of the (out, in) weight either way; it only turns a stored weight at a merge
  "init_weights",
];

/** PEFT makes no adapter of other counts. */
function checkFrequencies(field: string, count: number): void {
  if (Number.isInteger(count) && count > 0) return;
  throw new ConfigError(
    `Cannot read adapter_config.json field "${field}" = ${count}: the rule is an integer above 0`,
  );
}

/** A spectrum: what one adapted linear is made of. */
export interface Spectrum {
  /** Coefficients, in the order the frequencies were drawn. */
  readonly coefficients: Float32Array;
  /** PEFT's `random_loc_seed`. */
  readonly seed: number;
  /** PEFT's `scaling`. */
  readonly scaling: number;
  readonly options?: ReadOptions;
}

/** A spectrum as a module that can be packed into a bank or built into dW. */
export function fourierModule({ coefficients, seed, scaling, options = {} }: Spectrum): AdapterModule {
  const n = coefficients.length;
  const places: Places = {
    coefficients,
    frequencies: (shape) => frequencies(n, shape, { seed, ...options }),
    key: ({ out, in: inFeatures }) => `${seed}:${n}:${out}x${inFeatures}:${options.torch ?? ""}`,
    scale: ({ out, in: inFeatures }) => scaling / (out * inFeatures),
  };
  return {
    parameters: n,
    coefficients,
    summary: `n = ${n}, seed ${seed}, scaling ${scaling}`,
    check(path, shape) {
      if (n > shape.out * shape.in) {
        throw new RangeError(
          `Cannot place ${n} frequencies in module "${path}": its weight (${shape.out}, ${shape.in}) has ${
            shape.out * shape.in
          }`,
        );
      }
      const scale = scaling / (shape.out * shape.in);
      checkScale(scale, { field: "scaling", value: scaling });
      checkReach(Math.abs(scale) * sumOfMagnitudes(coefficients), `module "${path}" with scaling ${scaling}`);
    },
    ...placesModule(places),
    trainable: (shape, upload) =>
      trainableFourier(coefficients, {
        shape,
        table: tableOf(places, shape),
        scaling,
        upload,
        draw: { seed, ...options },
      }),
  };
}

/** The input gradient is the forward with u and v exchanged, the coefficients' gradient a kernel of its own. */
function trainableFourier(
  coefficients: Float32Array,
  { shape, table, scaling, upload, draw }: {
    readonly shape: LinearShape;
    readonly table: FourierTable;
    readonly scaling: number;
    readonly upload: (t: HostTensor) => Tensor;
    readonly draw: Draw;
  },
): TrainableModule {
  const n = coefficients.length;
  const { u, v } = frequencies(n, shape, draw);
  const turned = fourierTable({ destination: v, source: u }, { destination: shape.in, source: shape.out });
  const place = new Uint32Array(n);
  table.order.forEach((l, e) => place[l] = e);
  const scale = scaling / (shape.out * shape.in);
  const pairs = new Uint32Array(2 * n);
  table.order.forEach((l, e) => pairs.set([u[l], v[l]], 2 * e));
  const tables = upload(tensor(table.table));
  const turnedTables = upload(tensor(turned.table));
  const turnedPlaces = upload(tensor(turned.order.map((l) => place[l])));
  const turnedValues = upload(tensor(new Float32Array(n)));
  const turnedRecords = upload(tensor(Uint32Array.of(0, 0, n, bitsOf(scale))));
  const frequencyPairs = upload(tensor(pairs, [n, 2]));
  const words = { linear: 0, capacity: 1 };
  return {
    values: inOrder(coefficients, table.order),
    beside: {
      forward: ({ x, y, rows, slots, params, at }) => [
        step(fourierLinear, {
          x,
          slots,
          records: upload(tensor(Uint32Array.of(0, at, n, bitsOf(scale)))),
          tables,
          values: params,
          y,
        }, {
          rows,
          in: shape.in,
          out: shape.out,
          ...words,
        }),
      ],
      backward: ({ x, dy, dx, rows, slots, params, gradients, at }) => [
        step(fourierGradient, { x, dy, frequencies: frequencyPairs, gradient: slice(gradients, at, n) }, {
          rows,
          in: shape.in,
          out: shape.out,
          count: n,
          scale,
          accumulate: 1,
        }),
        step(embedding, { ids: turnedPlaces, weight: slice(params, at, n), y: turnedValues }, {
          rows: n,
          dim: 1,
          vocab: n,
        }),
        step(fourierLinear, {
          x: dy,
          slots,
          records: turnedRecords,
          tables: turnedTables,
          values: turnedValues,
          y: dx,
        }, {
          rows,
          in: shape.out,
          out: shape.in,
          ...words,
        }),
      ],
    },
    tensors: (values) => {
      const spectrum = new Float32Array(n);
      table.order.forEach((l, e) => spectrum[l] = values[e]);
      return new Map([[suffix, tensor(spectrum)]]);
    },
  };
}

/** See the module's documentation. */
export const fourierft: Method = {
  name: "FourierFT",
  peftType: "FOURIERFT",
  facts: {
    tensors: ["fourierft_spectrum (n)"],
    formula: "dW = scaling Re(ifft2(F)); F holds the n coefficients at places drawn from the seed",
    cost: "n, and a real transform of in and of out numbers",
    numbers: "n, and a table of places that adapters of one seed share",
    refused: "a null seed: the places are in no file",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    if (config.random_loc_seed === null) {
      throw new ConfigError(
        'Cannot read adapter_config.json field "random_loc_seed" = null: the frequencies are not in the file and ' +
          "cannot be drawn again without the seed",
      );
    }
    integerField(config, "random_loc_seed", 777);
    checkFrequencies("n_frequency", integerField(config, "n_frequency", 1000));
    for (const [name, count] of patternField(config, "n_frequency_pattern")) {
      checkFrequencies(`n_frequency_pattern.${name}`, count);
    }
    const scaling = numberField(config, "scaling", 150);
    checkScale(scaling, { field: "scaling", value: scaling });
  },
  read({ config, tensors, options }) {
    this.checkConfig(config);
    const seed = integerField(config, "random_loc_seed", 777);
    const scaling = numberField(config, "scaling", 150);
    const modules = new Map<string, AdapterModule>();
    for (const [name, t] of tensors) {
      if (!name.startsWith(prefix) || !name.endsWith(suffix)) {
        throw new ConfigError(
          `Cannot read adapter tensor "${name}" as FOURIERFT: only ${prefix}<module>${suffix} is supported`,
        );
      }
      if (t.shape.length !== 1 || elements(t.shape) === 0) {
        throw new ConfigError(
          `Cannot read adapter tensor "${name}": its shape must be [n] with n > 0, it is [${t.shape}]`,
        );
      }
      const coefficients = finiteFloats(name, t);
      checkReach(sumOfMagnitudes(coefficients), `the sum of adapter tensor "${name}"`);
      modules.set(
        name.slice(prefix.length, -suffix.length),
        fourierModule({ coefficients, seed, scaling, options }),
      );
    }
    return modules;
  },
  training: {
    options: {
      n_frequency: { kind: "count", least: 1, default: 1000, doc: "coefficients a linear" },
      scaling: { kind: "number", default: 150, doc: "scaling" },
      random_loc_seed: { kind: "count", default: 777, doc: "seed of the frequencies" },
    },
    // Adam moves every coefficient by as much: dW's norm goes with their number's root.
    learningRate: {
      doc: "0.05 sqrt(1000 / n_frequency)",
      of: ({ n_frequency: n }) => 0.05 * Math.sqrt(1000 / Number(n)),
    },
    create(shape, { n_frequency: n, scaling, random_loc_seed: seed }: Readonly<Record<string, number>>) {
      // Zeros, as PEFT's init_weights = true: the model starts as its base.
      return fourierModule({
        coefficients: new Float32Array(Math.min(n, shape.out * shape.in)),
        seed,
        scaling,
      });
    },
    configFields: ({ n_frequency, scaling, random_loc_seed }, _, linears) => ({
      n_frequency,
      n_frequency_pattern: fewerFrequencies(Number(n_frequency), linears),
      scaling,
      random_loc_seed,
      fan_in_fan_out: false,
      init_weights: true,
      bias: "none",
    }),
  },
  sum: sumOfSpectra,
  combined: (adapters) =>
    combinedSpectra(adapters, {
      ...{ method: "FourierFT", tensor: suffix.slice(1), settingOf },
      coefficientsOf: ({ coefficients }) => coefficients!,
    }),
  beside({ x, y, slots, records, tables, values, rows, in: inFeatures, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(fourierLinears, { x, slots, records, tables, values, y }, {
      rows,
      in: inFeatures,
      out0,
      out1,
      out2,
      linear,
      capacity,
    });
  },
};
