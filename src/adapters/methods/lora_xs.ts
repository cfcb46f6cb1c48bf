/**
 * LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604) as its authors write it: PEFT's LoRA with frozen factors of W's own singular
 * vectors, and a trained matrix R (r, r) between them. dW = scale B R A.
 *
 * The file says `LORA`: only the tensors of R tell it from a LoRA. Their names have PEFT's word `default` where a newer PEFT
 * wrote the file.
 *
 * @module
 */
import { normals } from "../../../kernels/kernel.ts";
import { linear } from "../../../kernels/linear.ts";
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { weightGradient } from "../../../kernels/weight_gradient.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../../tensor.ts";
import type { AdapterFiles, AdapterModule, LinearShape, Method } from "../method.ts";
import { finiteFloats } from "../numbers.ts";
import { truncatedSvd } from "../truncated_svd.ts";
import type { NewModule, TrainableModule, TrainIo } from "../training.ts";
import { foldedModule, matrixProduct } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import {
  checkFactors,
  checkFactorsConfig,
  factorConfig,
  factorNames,
  type Factors,
  factorTensors,
  joined,
  readFactors,
} from "./low_rank.ts";

const latentName = /^base_model\.model\.(.+?)(?:\.default)?_lora_latent_mapping\.weight$/;

/** The tensor of R of each module, by its path. */
function latentsOf(
  { tensors }: AdapterFiles,
): Map<string, { readonly name: string; readonly t: HostTensor }> {
  const latents = new Map<string, { readonly name: string; readonly t: HostTensor }>();
  for (const [name, t] of tensors) {
    const [, path] = latentName.exec(name) ?? [];
    if (path === undefined) continue;
    if (latents.has(path)) {
      throw new ConfigError(`Cannot read adapter tensor "${name}": "${latents.get(path)!.name}" is the same`);
    }
    latents.set(path, { name, t });
  }
  return latents;
}

/** A module's frozen factors, and R (r, r), row-major. */
interface LatentFactors {
  readonly factors: Factors;
  readonly latent: Float32Array;
}

function latentModule(path: string, { factors, latent }: LatentFactors): AdapterModule {
  const { a, b, rank, scale, out, in: inSize } = factors;
  return foldedModule({
    path,
    parameters: latent.length,
    summary: `r = ${rank}, scale ${scale}`,
    rank,
    scale,
    shape: { out, in: inSize },
    fold: () => ({ a: matrixProduct(latent, a, { rows: rank, columns: inSize }), b }),
    trainable: (_, upload) => trainableLatent({ factors, latent }, upload),
  });
}

/** The module's numbers are R: y += scale B (R (A x)), with A and B frozen. */
function trainableLatent(
  { factors, latent }: LatentFactors,
  upload: (t: HostTensor) => Tensor,
): TrainableModule {
  const { a, b, rank, scale, out, in: inSize } = factors, square = [rank, rank];
  const down = upload(tensor(a.slice(), [rank, inSize]));
  const up = upload(tensor(b.map((value) => scale * value), [out, rank]));
  const latentOf = ({ params, at }: TrainIo) => slice(params, at, square);
  const sizes = { in: rank, out: rank }, written = { accumulate: 0 }, added = { accumulate: 1 };
  return {
    values: latent,
    beside: {
      forward(io) {
        const { x, y, rows, scratch } = io,
          h = scratch("down", [rows, rank]),
          g = scratch("latent", [rows, rank]);
        return [
          step(linear, { x, weight: down, y: h }, { rows, in: inSize, out: rank, ...written }),
          step(linear, { x: h, weight: latentOf(io), y: g }, { rows, ...sizes, ...written }),
          step(linear, { x: g, weight: up, y }, { rows, in: rank, out, ...added }),
        ];
      },
      backward({ dy, dx, ...io }) {
        const { x, rows, gradients, at, scratch } = io, h = scratch("down", [rows, rank]);
        const dg = scratch("dlatent", [rows, rank]), dh = scratch("ddown", [rows, rank]);
        return [
          step(linear, { x, weight: down, y: h }, { rows, in: inSize, out: rank, ...written }),
          step(linearTransposed, { dy, weight: up, dx: dg }, { rows, in: rank, out, ...written }),
          step(weightGradient, { dy: dg, x: h, gradient: gradients }, {
            rows,
            ...sizes,
            offset: at,
            scale: 1,
          }),
          step(linearTransposed, { dy: dg, weight: latentOf(io), dx: dh }, { rows, ...sizes, ...written }),
          step(linearTransposed, { dy: dh, weight: down, dx }, { rows, in: inSize, out: rank, ...added }),
        ];
      },
    },
    tensors: (values) =>
      new Map([
        ...factorTensors(factors, joined(a, b)),
        ["_lora_latent_mapping.weight", tensor(values.slice(), square)],
      ]),
  };
}

/** A new module, whose factors wait for the base's weight: W's greatest singular vectors. R is almost zeros. */
function newModule(
  shape: LinearShape,
  { r: rank, lora_alpha: alpha }: Readonly<Record<string, number>>,
  { path, random }: NewModule,
): AdapterModule {
  const most = Math.min(shape.out, shape.in);
  if (rank > most) {
    throw new RangeError(
      `Cannot make module "${path}" of (${shape.out}, ${shape.in}) with r ${rank}: it must be at most ${most}`,
    );
  }
  const latent = normals(rank * rank, random, 1e-5);
  const unready = (): never => {
    throw new TypeError("Cannot use a new LoRA-XS module before it was made ready with its base's weight");
  };
  return {
    parameters: latent.length,
    summary: `r = ${rank}, scale ${alpha / rank}`,
    shape,
    check: (path, other) => checkFactors(shape, path, other),
    pack: unready,
    trainable: unready,
    async ready(io) {
      const factors = { ...await truncatedSvd(io, { rank, random }), rank, scale: alpha / rank, ...shape };
      return latentModule(path, { factors, latent });
    },
  };
}

/** See the module's documentation. */
export const loraXs: Method = {
  name: "LoRA-XS",
  peftType: "LORA",
  facts: {
    tensors: ["lora_A.weight (r, in)", "lora_B.weight (out, r)", "_lora_latent_mapping.weight (r, r)"],
    formula: "dW = s B R A, s = alpha / r",
    cost: "r (in + out)",
    numbers: "r (in + out)",
    refused: "as LoRA",
  },
  own: factorNames,
  claims: (_, tensors) => tensors.some((name) => latentName.test(name)),
  checkConfig: (config) => checkFactorsConfig(config),
  read(files) {
    this.checkConfig(files.config);
    const latents = latentsOf(files);
    const modules = readFactors(files, { method: "LoRA-XS", own: latentName });
    return new Map([...modules].map(([path, factors]) => {
      const { rank } = factors;
      const latent = latents.get(path);
      if (!latent) {
        throw new ConfigError(
          `Cannot find adapter tensor "base_model.model.${path}_lora_latent_mapping.weight": LoRA-XS needs it`,
        );
      }
      const { name, t } = latent, [rows, columns] = t.shape;
      if (t.shape.length !== 2 || rows !== rank || columns !== rank) {
        throw new ConfigError(
          `Cannot use adapter tensor "${name}" of shape (${t.shape}): it must be (r, r) with r = ${rank}`,
        );
      }
      return [path, latentModule(path, { factors, latent: finiteFloats(name, t) })];
    }));
  },
  training: {
    options: {
      r: { kind: "count", least: 1, default: 64, doc: "rank" },
      lora_alpha: { kind: "number", default: 64, doc: "alpha" },
    },
    learningRate: 0.004,
    frozen: true,
    create: newModule,
    configFields: (options) => ({ ...options, ...factorConfig }),
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
