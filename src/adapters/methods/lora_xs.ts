/**
 * LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604) as its authors write it: PEFT's LoRA with frozen factors of W's own singular
 * vectors, and a trained matrix R (r, r) between them. dW = scale B R A.
 *
 * The file says `LORA`: only the tensors of R tell it from a LoRA. Their names have PEFT's word `default` where a newer PEFT
 * wrote the file.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { HostTensor } from "../../tensor.ts";
import type { AdapterFiles, Method } from "../method.ts";
import { finiteFloats } from "../numbers.ts";
import { foldedModules, matrixProduct } from "./folded.ts";
import { factorsStep } from "./lora.ts";
import { checkFactorsConfig, readFactors } from "./low_rank.ts";

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
  claims: (_, tensors) => tensors.some((name) => latentName.test(name)),
  checkConfig: (config) => checkFactorsConfig(config),
  read(files) {
    this.checkConfig(files.config);
    const latents = latentsOf(files);
    const modules = readFactors(files, { method: "LoRA-XS", own: latentName });
    return foldedModules([...modules].map(([path, { a, b, rank, scale, ...shape }]) => {
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
      const r = finiteFloats(name, t);
      return {
        path,
        parameters: r.length,
        summary: `r = ${rank}, scale ${scale}`,
        rank,
        scale,
        shape: { out: shape.out, in: shape.in },
        fold: () => ({ a: matrixProduct(r, a, { rows: rank, columns: a.length / rank }), b }),
      };
    }));
  },
  beside: factorsStep,
};
