/**
 * Adapters of every method with random numbers, for any model: in memory, as PEFT would have written them.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { AdapterStore } from "../src/adapters/registry.ts";
import type { LinearShape } from "../src/adapters/method.ts";
import { uniforms } from "../src/engine/random.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { readTextBy } from "../src/folder.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { elements, tensor } from "../src/tensor.ts";

/** A linear of a model. */
interface Linear {
  readonly path: string;
  readonly shape: LinearShape;
}

/** The sizes of tensors, by names after the linear's path (`.x`, or `_x` without a dot between) or by whole names. */
type Sizes = Readonly<Record<string, readonly number[]>>;

/** How a method's adapters are made. */
export interface MethodAdapter {
  /** The row of the table. */
  readonly row: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** The tensors of one linear. */
  readonly tensors: (shape: LinearShape, path: string) => Sizes;
  /** Tensors of random places: a row for each axis, of so many numbers below its size. */
  readonly places?: (
    shape: LinearShape,
  ) => Readonly<Record<string, { readonly count: number; readonly below: readonly number[] }>>;
  /** The tensors that all linears share, by whole names. */
  readonly shared?: (linears: readonly Linear[]) => Sizes;
  /** Tensors that stand for sizes or angles near one: 1 is added to each number. */
  readonly nearOne?: RegExp;
  /** The names of the authors' own files have no prefix. */
  readonly bare?: boolean;
}

const lora = (r: number, more: Readonly<Record<string, unknown>> = {}) => ({
  peft_type: "LORA",
  r,
  lora_alpha: r,
  ...more,
});

const factors = (r: number) => ({ out, in: inSize }: LinearShape): Sizes => ({
  ".lora_A.weight": [r, inSize],
  ".lora_B.weight": [out, r],
});

/** PEFT divides the sizes of a block, so that a size of 2048 and one of 64 both take it. */
const blockOf = (size: number, most: number): number => {
  let block = Math.min(most, size);
  while (size % block !== 0) block--;
  return block;
};

/** PEFT's sizes of LoKr's first factor: the divisor nearest to the root, from below. */
const rootOf = (size: number): number => blockOf(size, Math.floor(Math.sqrt(size)));

/** Each method once, in sizes that its authors or PEFT take by default, as far as a row of its own can have them. */
export const methodAdapters: readonly MethodAdapter[] = [
  {
    row: "FourierFT n = 1000",
    config: { peft_type: "FOURIERFT", n_frequency: 1000, scaling: 150, random_loc_seed: 777 },
    tensors: () => ({ ".fourierft_spectrum": [1000] }),
  },
  { row: "LoRA r = 16", config: lora(16), tensors: factors(16) },
  {
    row: "DoRA r = 16",
    config: lora(16, { use_dora: true }),
    tensors: (shape) => ({ ...factors(16)(shape), ".lora_magnitude_vector": [shape.out] }),
    nearOne: /magnitude/,
  },
  {
    row: "VB-LoRA r = 4",
    config: { peft_type: "VBLORA", r: 4, num_vectors: 90, vector_length: 32, topk: 2 },
    tensors: ({ out, in: inSize }) => ({
      ".vblora_logits_A": [4, inSize / 32, 90],
      ".vblora_logits_B": [out / 32, 4, 90],
    }),
    shared: () => ({ "base_model.vblora_vector_bank": [90, 32] }),
  },
  {
    row: "LoRA-XS r = 16",
    config: lora(16),
    tensors: (shape) => ({ ...factors(16)(shape), "_lora_latent_mapping.weight": [16, 16] }),
  },
  {
    row: "VeRA r = 64",
    config: { peft_type: "VERA", r: 64, projection_prng_key: 0, save_projection: true, d_initial: 0.1 },
    tensors: ({ out }) => ({ ".vera_lambda_b": [out], ".vera_lambda_d": [64] }),
    shared: (linears) => ({
      "base_model.vera_A": [64, Math.max(...linears.map(({ shape }) => shape.in))],
      "base_model.vera_B": [Math.max(...linears.map(({ shape }) => shape.out)), 64],
    }),
  },
  {
    row: "AdaLoRA r = 12",
    config: { peft_type: "ADALORA", init_r: 12, target_r: 8, r: 8, lora_alpha: 12, total_step: 10 },
    tensors: ({ out, in: inSize }) => ({ ".lora_A": [12, inSize], ".lora_E": [12, 1], ".lora_B": [out, 12] }),
  },
  {
    row: "DeLoRA r = 8",
    config: { peft_type: "DELORA", r: 8, delora_lambda: 2 },
    tensors: ({ out, in: inSize }) => ({
      ".delora_A": [8, inSize],
      ".delora_B": [out, 8],
      ".delora_lambda": [1],
      ".delora_w_norm": [inSize],
    }),
  },
  {
    row: "MiSS r = 64",
    config: { peft_type: "MISS", r: 64, init_weights: true, mini_r: 1 },
    tensors: ({ out }) => ({ ".miss_block": [64, out] }),
  },
  {
    row: "MiSS-bat r = 64",
    config: { peft_type: "MISS", r: 64, init_weights: "bat", mini_r: 1 },
    tensors: ({ out, in: inSize }) => {
      const r = blockOf(out, blockOf(inSize, 64));
      return { ".miss_block": [out / r, r, r] };
    },
  },
  {
    row: "LoHa r = 8",
    config: { peft_type: "LOHA", r: 8, alpha: 8 },
    tensors: ({ out, in: inSize }) => ({
      ".hada_w1_a": [out, 8],
      ".hada_w1_b": [8, inSize],
      ".hada_w2_a": [out, 8],
      ".hada_w2_b": [8, inSize],
    }),
  },
  {
    row: "LoKr r = 8",
    config: { peft_type: "LOKR", r: 8, alpha: 8, decompose_factor: -1 },
    tensors: ({ out, in: inSize }) => {
      const o = rootOf(out), i = rootOf(inSize);
      return { ".lokr_w1": [o, i], ".lokr_w2_a": [out / o, 8], ".lokr_w2_b": [8, inSize / i] };
    },
  },
  {
    row: "HiRA r = 32",
    config: { peft_type: "HIRA", r: 32 },
    tensors: ({ out, in: inSize }) => ({ ".hira_A": [32, inSize], ".hira_B": [out, 32] }),
  },
  {
    row: "RandLoRA r = 32",
    config: {
      peft_type: "RANDLORA",
      r: 32,
      randlora_alpha: 640,
      projection_prng_key: 0,
      save_projection: false,
    },
    tensors: ({ out, in: inSize }) => {
      const min = Math.min(out, inSize), n = Math.ceil(min / 32);
      return { ".randlora_lambda": [32, n], ".randlora_gamma": [n, min] };
    },
  },
  {
    row: "SHiRA r = 32",
    config: { peft_type: "SHIRA", r: 32, mask_type: "random" },
    tensors: ({ out, in: inSize }) => ({ ".shira_weight": [32 * (out + inSize)] }),
    places: ({ out, in: inSize }) => ({
      ".shira_indices": { count: 32 * (out + inSize), below: [out, inSize] },
    }),
  },
  {
    row: "IA3",
    config: { peft_type: "IA3", feedforward_modules: ["down_proj"] },
    tensors: ({ out, in: inSize }, path) => ({
      ".ia3_l": path.endsWith("down_proj") ? [1, inSize] : [out, 1],
    }),
    nearOne: /./,
  },
  {
    row: "RoAd 1",
    config: { peft_type: "ROAD", variant: "road_1", group_size: 16 },
    tensors: ({ out }) => ({ ".road_theta": [out / 2], ".road_alpha": [out / 2] }),
    nearOne: /alpha/,
  },
  {
    row: "HRA r = 8",
    config: { peft_type: "HRA", r: 8, apply_GS: false },
    tensors: ({ in: inSize }) => ({ ".hra_u": [inSize, 8] }),
  },
  {
    row: "OFT blocks of 32",
    config: {
      peft_type: "OFT",
      r: 0,
      oft_block_size: 32,
      use_cayley_neumann: true,
      num_cayley_neumann_terms: 5,
      block_share: false,
      coft: false,
    },
    tensors: ({ in: inSize }) => ({ ".oft_R.weight": [inSize / blockOf(inSize, 32), 496] }),
  },
  {
    row: "BOFT blocks of 4",
    config: { peft_type: "BOFT", boft_block_size: 4, boft_block_num: 0, boft_n_butterfly_factor: 1 },
    tensors: ({ out, in: inSize }) => ({ ".boft_R": [1, inSize / 4, 4, 4], ".boft_s": [out, 1] }),
    nearOne: /boft_s/,
  },
  {
    row: "C3A blocks of 128",
    config: { peft_type: "C3A", block_size: 128 },
    tensors: ({ out, in: inSize }) => {
      const b = blockOf(out, blockOf(inSize, 128));
      return { ".c3a_kernel": [out / b, inSize / b, b] };
    },
  },
  {
    row: "WaveFT n = 1000",
    config: {
      peft_type: "WAVEFT",
      n_frequency: 1000,
      scaling: 25,
      random_loc_seed: 777,
      wavelet_family: "db1",
    },
    tensors: () => ({ ".waveft_spectrum": [1000] }),
  },
  {
    row: "TinyLoRA r = 2, u = 64",
    config: {
      peft_type: "TINYLORA",
      r: 2,
      u: 64,
      weight_tying: 0,
      projection_seed: 42,
      save_projection: true,
    },
    tensors: ({ out, in: inSize }) => ({
      ".tinylora_A": [2, inSize],
      ".tinylora_B": [out, 2],
      ".tinylora_P": [64, 2, 2],
    }),
    shared: (linears) => Object.fromEntries(linears.map((_, i) => [`base_model.tinylora_v.${i}`, [64]])),
  },
  {
    row: "ETHER nb = 1",
    config: { peft_type: "ETHER", Htype: "ether", nb: 1 },
    tensors: ({ in: inSize }) => ({ ".ether_R": [1, inSize] }),
    bare: true,
  },
  {
    row: "ETHER+ nb = 1",
    config: { peft_type: "ETHER", Htype: "etherplus", nb: 1 },
    tensors: ({ in: inSize }) => ({ ".ether_R": [1, inSize], ".ether_R2": [1, inSize] }),
    bare: true,
  },
];

const block = normals(2 ** 20, uniforms(13), 0.02);

/** Random numbers of a size; each adapter begins elsewhere. */
function numbers(
  size: readonly number[],
  { at, one }: { readonly at: number; readonly one: boolean },
): Float32Array {
  const data = new Float32Array(elements(size));
  for (let i = 0; i < data.length; i++) data[i] = block[(at + i) % block.length] + (one ? 1 : 0);
  return data;
}

/** An adapter's file. */
function fileOf(
  { tensors, places, shared, nearOne, bare }: MethodAdapter,
  { linears, index }: { readonly linears: readonly Linear[]; readonly index: number },
): Uint8Array {
  const sizes = linears.flatMap(({ path, shape }) =>
    Object.entries(tensors(shape, path)).map(([name, size]) =>
      [`${bare ? "" : "base_model.model."}${path}${name}`, size] as const
    )
  );
  let at = 7919 * index;
  const floats = [...Object.entries(shared?.(linears) ?? {}), ...sizes].map(([name, size]) => {
    at += elements(size);
    return fromTensor(name, tensor(numbers(size, { at, one: nearOne?.test(name) ?? false }), size));
  });
  const random = uniforms(index);
  const integers = linears.flatMap(({ path, shape }) =>
    Object.entries(places?.(shape) ?? {}).map(([name, { count, below }]) => {
      const numbers = below.flatMap((size) =>
        Array.from({ length: count }, () => Math.floor(random() * size))
      );
      return fromTensor(
        `base_model.model.${path}${name}`,
        tensor(Int32Array.from(numbers), [below.length, count]),
      );
    })
  );
  return writeSafetensors([...floats, ...integers]);
}

/** The name of a method's adapter number `index` in {@linkcode randomMethods}. */
export const methodAdapterName = ({ row }: MethodAdapter, index: number): string => `${row} ${index}`;

/** A store of adapters of every method without number, for these linears. */
export function randomMethods(linears: readonly Linear[]): AdapterStore {
  const targets = [...new Set(linears.map(({ path }) => path.split(".").at(-1)!))];
  return {
    list: () => Promise.resolve([]),
    open: (id) => {
      const method = methodAdapters.find(({ row }) => id.startsWith(`${row} `));
      if (!method) return Promise.resolve(undefined);
      const index = Number(id.slice(method.row.length + 1));
      const files: Readonly<Record<string, () => Uint8Array>> = {
        "adapter_config.json": () =>
          new TextEncoder().encode(JSON.stringify({ target_modules: targets, ...method.config })),
        "adapter_model.safetensors": () => fileOf(method, { linears, index }),
      };
      const open: ReadableFolder["open"] = (name) => Promise.resolve(bytesSource(files[name]()));
      const folder: ReadableFolder = {
        open,
        readText: (name, options) => readTextBy(open, name, options),
        exists: (name) => Promise.resolve(name in files),
      };
      return Promise.resolve({ folder, version: "1", modifiedUnixSeconds: 0 });
    },
  };
}
