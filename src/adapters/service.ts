/**
 * What the server and the CLI ask of adapters.
 *
 * @module
 */
import type { HostTensor } from "../tensor.ts";
import type { LinearModule } from "./alone.ts";
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
  /** Whether it stays there though others need the room. */
  readonly pinned?: boolean;
  /** Unix seconds of the weights' file. */
  readonly createdUnixSeconds: number;
}

/** An adapter on the device: kept for good, held by a sequence, or there until others need the room. */
export interface ResidentAdapter {
  readonly id: string;
  readonly level: "pinned" | "in_use" | "cached";
}

/** What adapters did since the start, in counts. */
export interface AdapterStats {
  /** Adapters of one method that may be on the device at once. */
  readonly capacity: number;
  readonly resident: readonly ResidentAdapter[];
  /** Adapters that were on the device when they were needed, and those that were not. */
  readonly hits: number;
  readonly misses: number;
  /** Adapters taken off the device, by the reason: `capacity`, `unload`. */
  readonly evictions: Readonly<Record<string, number>>;
  /** Adapters whose files were read and checked, and the time it took together. */
  readonly loads: number;
  readonly loadSeconds: number;
}

/** Which adapters of a list are asked for. */
export interface PageOptions {
  readonly after?: string;
  readonly limit: number;
  readonly mayShow?: (id: string) => boolean;
}

/** Some adapters of a list. */
export interface AdapterPage {
  readonly cards: readonly AdapterCard[];
  readonly hasMore: boolean;
}

/** Adapters by id, and their arithmetic on one linear layer without a model's forward. */
export interface AdapterService {
  /** Every adapter of the store, sorted by id. Folders that cannot be read are left out and logged. */
  list(): Promise<readonly AdapterCard[]>;
  /**
   * At most `limit` adapters of those for which `mayShow` holds, sorted by id, from the first after `after` on; `hasMore`
   * when more follow. Looks at no others. Absent where only whole lists are made.
   */
  page?(options: PageOptions): Promise<AdapterPage>;
  /** Throws NotFoundError for an unknown id (also for one that breaks the name rule). */
  card(id: string): Promise<AdapterCard>;
  /** The shape that a base model has at a module's path; absent where none is known. */
  linear?(module: string): LinearShape | undefined;
  /** Module paths an adapter adapts, in the files' order, e.g. `model.layers.0.self_attn.q_proj`. */
  modules(id: string): Promise<readonly string[]>;
  /**
   * A module as its method read it, ready for the device. Absent where modules stay inside.
   *
   * @throws NotFoundError for an unknown adapter or module; RangeError where no base model says the linear's shape.
   */
  module?(id: string, path: string): Promise<LinearModule>;
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
  /** What there is to count; absent where nothing counts. */
  stats?(): AdapterStats;
  /**
   * Puts an adapter on the device, if there is room. Absent where there is no device to put it on.
   *
   * @throws NotFoundError; ConfigError for broken files; OverloadedError when all room is in use.
   */
  preload?(id: string): Promise<void>;
  /** Takes an adapter off the device, once nobody uses it; harmless where it is not there. */
  unload?(id: string): Promise<void>;
  /** Whether an adapter is to stay on the device; as {@linkcode AdapterService.preload} where it is. */
  pin?(id: string, pinned: boolean): Promise<void>;
  /** dW (out, in), float32. */
  delta(id: string, module: string, shape?: LinearShape): Promise<HostTensor>;
}
