/**
 * What the server and the CLI ask of adapters.
 *
 * @module
 */
import type { HostTensor } from "../tensor.ts";
import type { LinearShape } from "./method.ts";

export type { LinearShape } from "./method.ts";

/** What is known of an adapter without loading it on a device. */
export interface AdapterCard {
  readonly id: string;
  /** PEFT's `peft_type`, e.g. `FOURIERFT`. */
  readonly peftType: string;
  readonly sizeBytes: number;
  /** SHA-256 of config and weights, hex; absent until first loaded. */
  readonly digest?: string;
  /** Whether it is on the device now. */
  readonly resident: boolean;
  /** Unix seconds of the weights' file. */
  readonly createdUnixSeconds: number;
}

/** Adapters by id, and their arithmetic on one linear layer without a model's forward. */
export interface AdapterService {
  /** Every adapter of the store, sorted by id. Folders that cannot be read are left out and logged. */
  list(): Promise<readonly AdapterCard[]>;
  /** Throws NotFoundError for an unknown id (also for one that breaks the name rule). */
  card(id: string): Promise<AdapterCard>;
  /** The shape that a base model has at a module's path; absent where none is known. */
  linear?(module: string): LinearShape | undefined;
  /** Module paths an adapter adapts, in the files' order, e.g. `model.layers.0.self_attn.q_proj`. */
  modules(id: string): Promise<readonly string[]>;
  /**
   * `y + x dW^T`, or `x dW^T` without `y`: x (rows, in), y (rows, out), result (rows, out), float32.
   *
   * `shape` is needed where no base model says it.
   * @throws NotFoundError for an unknown adapter or module; RangeError for shapes that disagree.
   */
  apply(
    id: string,
    module: string,
    input: { readonly x: HostTensor; readonly y?: HostTensor; readonly shape?: LinearShape },
  ): Promise<HostTensor>;
  /** dW (out, in), float32. */
  delta(id: string, module: string, shape?: LinearShape): Promise<HostTensor>;
}
