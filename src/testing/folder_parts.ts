/**
 * Parts of PEFT's adapter folders, for the arbitraries of each method.
 *
 * @module
 */
import fc from "fast-check";
import { narrow, widen } from "../../kernels/half.ts";
import type { LinearShape } from "../adapters/method.ts";
import { fromTensor, writeSafetensors } from "../safetensors/mod.ts";
import { type DType, type HostTensor, tensor } from "../tensor.ts";

/** A PEFT adapter folder, and what it does to the model's weights. */
export interface AdapterFolderCase {
  /** `adapter_config.json` and `adapter_model.safetensors`. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** PEFT's name of the method. */
  readonly peftType: "FOURIERFT" | "LORA" | "C3A" | "WAVEFT";
  /** By module path. */
  readonly modules: ReadonlyMap<string, {
    readonly shape: LinearShape;
    /** dW (out, in) in float64, row-major, of the numbers as the file holds them. */
    readonly delta: Float64Array;
  }>;
}

const paths = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.0.self_attn.v_proj",
  "model.layers.0.mlp.down_proj",
  "model.layers.1.self_attn.q_proj",
];

/** Element types of stored numbers. */
export const storedDtypes: fc.Arbitrary<DType> = fc.constantFrom("float32", "float16", "bfloat16");

/** Numbers as a file of a dtype holds them, and what these are worth. */
export function stored(
  values: Float32Array,
  shape: readonly number[],
  dtype: DType,
): { t: HostTensor; worth: Float32Array } {
  const data = narrow(values, dtype);
  return { t: tensor(data, shape, { dtype }), worth: widen(data, dtype) };
}

/** The two files of a folder. */
export function folderOf(
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, HostTensor>,
): ReadonlyMap<string, Uint8Array> {
  const views = [...tensors].map(([name, t]) => fromTensor(`base_model.model.${name}`, t));
  return new Map([
    ["adapter_config.json", new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)],
    ["adapter_model.safetensors", writeSafetensors(views, { metadata: { format: "pt" } })],
  ]);
}

/** Fields that all methods' configs have. */
export const common = {
  task_type: "CAUSAL_LM",
  base_model_name_or_path: null,
  inference_mode: true,
  modules_to_save: null,
};

/** One to four module paths, each with a value of its own. */
export const modulesOf = <T>(
  value: fc.Arbitrary<T>,
): fc.Arbitrary<readonly (readonly [path: string, value: T])[]> =>
  fc.subarray(paths, { minLength: 1 }).chain((chosen) =>
    fc.tuple(...chosen.map((path) => value.map((one) => [path, one] as const)))
  );

/** What PEFT calls target modules: the last part of each path. */
export const namesOf = (list: readonly (readonly [path: string, ...rest: unknown[]])[]): string[] => [
  ...new Set(list.map(([path]) => path.split(".").pop()!)),
];
