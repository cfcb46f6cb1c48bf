/**
 * FourierFT (Gao et al. 2024, arXiv 2405.03003) as PEFT writes it: coefficients in the file, frequencies from a seed.
 *
 * @module
 */
import { fourierDelta } from "../../../kernels/fourier_delta.ts";
import { fourierLinear } from "../../../kernels/fourier_linear.ts";
import {
  type FourierTable,
  fourierTable,
  type Frequencies,
  inOrder,
} from "../../../kernels/fourier_table.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { elements, tensor } from "../../tensor.ts";
import { integerField, numberField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method, ReadOptions } from "../method.ts";
import { toFloat32 } from "../numbers.ts";
import { randperm } from "../torch_random.ts";

const prefix = "base_model.model.";
const suffix = ".fourierft_spectrum";

const known = [
  "scaling",
  "random_loc_seed",
  "n_frequency", // the tensor's length says it
  "n_frequency_pattern",
  "fan_in_fan_out", // dW is that of the (out, in) weight either way; it only turns a stored weight at a merge
  "init_weights",
];

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

/**
 * The n frequencies PEFT draws for an (out, in) weight: the first n of torch.randperm(out * in), row-major.
 *
 * @throws RangeError when n is more than out * in.
 */
export function frequencies(
  n: number,
  shape: LinearShape,
  draw: { seed: number; options?: ReadOptions },
): Frequencies {
  const flat = randperm(shape.out * shape.in, { seed: draw.seed, count: n, torch: draw.options?.torch });
  const u = new Uint32Array(n);
  const v = new Uint32Array(n);
  for (let l = 0; l < n; l++) {
    u[l] = Math.floor(flat[l] / shape.in);
    v[l] = flat[l] % shape.in;
  }
  return { u, v };
}

/** Frequency tables by what determines them: adapters of one seed share theirs. Small: 4 (n + out / 2) bytes each. */
const tableCache = new Map<string, FourierTable>();
const tableCacheEntries = 1024;

function cachedTable(key: string, make: () => FourierTable): FourierTable {
  let made = tableCache.get(key);
  if (!made) {
    if (tableCache.size >= tableCacheEntries) tableCache.delete(tableCache.keys().next().value!);
    tableCache.set(key, made = make());
  }
  return made;
}

/** A spectrum as a module that can be packed into a bank or built into dW. */
export function fourierModule({ coefficients, seed, scaling, options = {} }: Spectrum): AdapterModule {
  const n = coefficients.length;
  const key = ({ out, in: inFeatures }: LinearShape): string =>
    `${seed}:${n}:${out}x${inFeatures}:${options.torch ?? ""}`;
  const forward = (shape: LinearShape): FourierTable =>
    cachedTable(key(shape), () => {
      const { u, v } = frequencies(n, shape, { seed, options });
      return fourierTable({ destination: u, source: v }, { destination: shape.out, source: shape.in });
    });
  return {
    parameters: n,
    summary: `n = ${n}, seed ${seed}, scaling ${scaling}`,
    check(path, shape) {
      if (n > shape.out * shape.in) {
        throw new RangeError(
          `Cannot place ${n} frequencies in module "${path}": its weight (${shape.out}, ${shape.in}) has ${
            shape.out * shape.in
          }`,
        );
      }
    },
    pack(shape) {
      const { order } = forward(shape);
      return {
        values: inOrder(coefficients, order),
        table: { key: key(shape), words: () => forward(shape).table },
        count: n,
        scale: scaling / (shape.out * shape.in),
      };
    },
    deltaStep(shape, { upload, weight, mode }) {
      const { u, v } = frequencies(n, shape, { seed, options });
      const { table, order } = fourierTable({ destination: v, source: u }, {
        destination: shape.in,
        source: shape.out,
      });
      return step(
        fourierDelta,
        { table: upload(tensor(table)), values: upload(tensor(inOrder(coefficients, order))), weight },
        {
          out: shape.out,
          in: shape.in,
          scale: (mode === "subtract" ? -scaling : scaling) / (shape.out * shape.in),
          accumulate: Number(mode !== "write"),
        },
      );
    },
    spectrum: (shape) => ({ ...frequencies(n, shape, { seed, options }), c: coefficients }),
  };
}

/** See the module's documentation. */
export const fourierft: Method = {
  peftType: "FOURIERFT",
  read({ config, tensors, options }) {
    refuseUnknown(config, {
      known,
      reasons: { modules_to_save: "whole saved modules are not supported, only linear layers' spectra" },
    });
    if (config.random_loc_seed === null) {
      throw new ConfigError(
        'Cannot read adapter_config.json field "random_loc_seed" = null: the frequencies are not in the file and ' +
          "cannot be drawn again without the seed",
      );
    }
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
      const coefficients = toFloat32(name, t);
      modules.set(
        name.slice(prefix.length, -suffix.length),
        fourierModule({ coefficients, seed, scaling, options }),
      );
    }
    return modules;
  },
  step: ({ x, y, slots, records, tables, values, rows, shape, layer, capacity }) =>
    step(fourierLinear, { x, slots, records, tables, values, y }, {
      rows,
      in: shape.in,
      out: shape.out,
      layer,
      capacity,
    }),
};
