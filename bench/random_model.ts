/**
 * A model of a given shape with random weights, and adapters from a seed: no files.
 *
 * @module
 */
import { narrow } from "../kernels/half.ts";
import { type DType, normals } from "../kernels/kernel.ts";
import type { AdapterStore } from "../src/adapters/registry.ts";
import { uniforms } from "../src/engine/random.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { type LlamaConfig, parseLlamaConfig } from "../src/models/llama/config.ts";
import { weightsOf } from "../src/models/families.ts";
import type { ModelConfig } from "../src/models/family.ts";
import type { WeightSource } from "../src/models/model.ts";
import { layerLinears, leavesOf } from "../src/models/spec.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { elements, type HostTensor, newArray, tensor } from "../src/tensor.ts";

/** Llama-3.2-1B's config.json, as far as it shapes the forward. */
export const llama1b: LlamaConfig = parseLlamaConfig({
  model_type: "llama",
  vocab_size: 128256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  tie_word_embeddings: true,
});

/** SmolLM2-135M's. */
export const smol135m: LlamaConfig = parseLlamaConfig({
  model_type: "llama",
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
});

/** The demo model's. */
export const demo: LlamaConfig = parseLlamaConfig({
  model_type: "llama",
  vocab_size: 4096,
  hidden_size: 256,
  intermediate_size: 768,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
});

/** Llama's in small, for machines that could not hold it. */
export const tiny: LlamaConfig = parseLlamaConfig({
  model_type: "llama",
  vocab_size: 512,
  hidden_size: 64,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
});

const block = normals(2 ** 16, uniforms(11), 0.02);

/** Small normal numbers, a block of them repeated. */
function filled(shape: readonly number[], dtype: DType): HostTensor {
  const data = newArray(dtype, elements(shape));
  const numbers = narrow(block, dtype);
  for (let at = 0; at < data.length; at += numbers.length) {
    data.set(numbers.subarray(0, Math.min(numbers.length, data.length - at)), at);
  }
  return { shape, dtype, data };
}

/** Random weights of a shape; linears and the embedding are of `dtype`, norms are ones in float32. */
export function randomWeights(config: ModelConfig, dtype: DType): WeightSource {
  const tree = weightsOf(config);
  const shapes = new Map<string, readonly number[]>();
  for (const leaf of leavesOf(tree)) {
    if (leaf.kind === "tensor" || leaf.kind === "embedding") shapes.set(leaf.name, leaf.shape);
  }
  for (const { path, shape } of layerLinears(tree)) shapes.set(`${path}.weight`, [shape.out, shape.in]);
  return {
    names: [...shapes.keys()],
    info: (name) => ({ shape: shapes.get(name)! }),
    read(name) {
      const shape = shapes.get(name)!;
      return Promise.resolve(
        shape.length === 1 ? tensor(new Float32Array(shape[0]).fill(1), shape) : filled(shape, dtype),
      );
    },
  };
}

const n = 1000;

const adapterConfig = JSON.stringify({
  peft_type: "FOURIERFT",
  n_frequency: n,
  scaling: 150,
  random_loc_seed: 777,
  target_modules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
});

const coefficients = normals(2 ** 20, uniforms(12));

/** A folder's files over the weights' bytes, which are made when they are opened. */
function adapterFolder(weights: () => Uint8Array): ReadableFolder {
  return {
    open: () => Promise.resolve(bytesSource(weights())),
    readText: () => Promise.resolve(adapterConfig),
    exists: (name) => Promise.resolve(["adapter_config.json", "adapter_model.safetensors"].includes(name)),
  };
}

/** The name of adapter number `index`. */
export const adapterName = (index: number): string => `adapter-${index}`;

/** Adapters without number: n = 1000 on all seven linears of every layer, numbers of their own in one file's form. */
export function randomAdapters(config: ModelConfig): AdapterStore {
  const paths = layerLinears(weightsOf(config)).map(({ path }) => path);
  const form = writeSafetensors(
    paths.map((path) =>
      fromTensor(`base_model.model.${path}.fourierft_spectrum`, tensor(new Float32Array(n)))
    ),
  );
  const count = n * paths.length;
  const weights = (index: number): Uint8Array => {
    const bytes = form.slice();
    // 97 has no divisor in common with the modulus: no two adapters begin at the same number.
    const at = 97 * index % (coefficients.length - count);
    new Float32Array(bytes.buffer, bytes.length - 4 * count).set(coefficients.subarray(at, at + count));
    return bytes;
  };
  return {
    list: () => Promise.resolve([]),
    open: (id) => {
      const index = Number(id.replace("adapter-", ""));
      return Promise.resolve({
        folder: adapterFolder(() => weights(index)),
        version: "1",
        modifiedUnixSeconds: 0,
      });
    },
  };
}
