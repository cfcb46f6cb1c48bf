/**
 * The tensors of adapters' files by module: each method says its tensors as data, with sizes that go together.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { HostTensor } from "../../tensor.ts";
import type { AdapterFiles } from "../method.ts";
import { finiteFloats } from "../numbers.ts";

/**
 * The sizes of a tensor: each a number, or the name of a size that all tensors of a module share. `unchecked` where the method
 * checks the shape itself ({@linkcode shapeError}).
 */
type Sizes = readonly (string | number)[] | "unchecked";

/** The tensors of a method's files, and their sizes. */
export interface TensorNames {
  readonly method: string;
  /** Each module's tensors, by what follows the module's path. */
  readonly own: Readonly<Record<string, Sizes>>;
  /** Tensors of all modules together, by what follows `base_model.`. */
  readonly shared?: Readonly<Record<string, Sizes>>;
  /** What a module's path follows; PEFT's `base_model.model.` unless told. */
  readonly prefix?: string;
}

/** A tensor whose numbers are checked. */
export interface ModuleTensor {
  /** As the file has it, for messages. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

/** The tensors of one module, with those that it shares; sizes are checked. */
export interface ModuleTensors {
  readonly path: string;
  /** Numbers of the module's own tensors. */
  readonly count: number;
  has(name: string): boolean;
  /** @throws ConfigError that names a tensor which is not there. */
  size(name: string, of: string): number;
  /** @throws ConfigError that names the tensor, where it is not there or not finite. */
  floats(name: string): Float32Array;
  /** The same with the tensor's name and shape. */
  tensor(name: string): ModuleTensor;
  /** @throws ConfigError that names the tensor, where it is not there. */
  integers(name: string): Int32Array;
}

interface Named {
  readonly name: string;
  readonly t: HostTensor;
}

/** Notes the sizes of a tensor; refuses a tensor whose sizes are others than those that are known. */
function noteSizes(known: Map<string, number>, { name, t: { shape } }: Named, sizes: Sizes): void {
  if (sizes === "unchecked") return;
  const facts = sizes.filter((size) => known.has(`${size}`)).map((size) =>
    `${size} = ${known.get(`${size}`)}`
  );
  const fits = sizes.every((size, i) => {
    const rule = typeof size === "number" ? size : known.get(size) ?? shape[i];
    if (typeof size === "string") known.set(size, rule);
    return shape[i] === rule;
  });
  if (fits && shape.length === sizes.length) return;
  throw new ConfigError(
    `Cannot use adapter tensor "${name}" of shape (${shape}): it must be (${sizes.join(", ")})` +
      (facts.length > 0 ? ` with ${facts.join(", ")}` : ""),
  );
}

/** The float32 numbers of tensors, each looked at once. */
function floatsOnce(): (named: Named) => Float32Array {
  const made = new Map<string, Float32Array>();
  return ({ name, t }) => {
    const floats = made.get(name) ?? finiteFloats(name, t);
    made.set(name, floats);
    return floats;
  };
}

/**
 * The tensors of every module, in the file's order.
 *
 * @throws ConfigError that names a tensor which the method does not have, or whose sizes do not go with the others'.
 */
export function tensorsByModule(
  { tensors }: AdapterFiles,
  { method, own, shared = {}, prefix = "base_model.model." }: TensorNames,
): ModuleTensors[] {
  const modules = new Map<string, Map<string, Named>>(), common = new Map<string, Named>();
  const commonSizes = new Map<string, number>();
  for (const [name, t] of tensors) {
    const last = Object.keys(own).find((one) => name.endsWith(`.${one}`)) ?? "";
    const path = name.startsWith(prefix) && last ? name.slice(prefix.length, -last.length - 1) : "";
    const [, whole] = /^base_model\.(.+)$/.exec(name) ?? [];
    if (path) {
      if (!modules.has(path)) modules.set(path, new Map());
      modules.get(path)!.set(last, { name, t });
    } else if (whole !== undefined && Object.hasOwn(shared, whole)) {
      noteSizes(commonSizes, { name, t }, shared[whole]);
      common.set(whole, { name, t });
    } else {
      const names = Object.keys(own).map((one) => `${prefix}<module>.${one}`).concat(
        Object.keys(shared).map((one) => `base_model.${one}`),
      );
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as ${method}: only ${names.join(", ")} are supported`,
      );
    }
  }
  const floatsOf = floatsOnce();
  return [...modules].map(([path, parts]) => {
    const sizes = new Map(commonSizes);
    for (const [last, named] of parts) noteSizes(sizes, named, own[last]);
    const find = (name: string): Named => {
      const found = parts.get(name) ?? common.get(name);
      if (found) return found;
      const full = Object.hasOwn(own, name) ? `${prefix}${path}.${name}` : `base_model.${name}`;
      const [{ name: one }] = parts.values();
      throw new ConfigError(`Cannot find adapter tensor "${full}": "${one}" needs it`);
    };
    return {
      path,
      count: [...parts.values()].reduce((sum, { t }) => sum + t.data.length, 0),
      has: (name) => parts.has(name) || common.has(name),
      size: (name, of) => (find(of), sizes.get(name)!),
      floats: (name) => floatsOf(find(name)),
      tensor(name) {
        const named = find(name);
        return { name: named.name, shape: named.t.shape, values: floatsOf(named) };
      },
      integers: (name) => find(name).t.data as Int32Array,
    };
  });
}

/** The error of a tensor whose shape breaks a rule. */
export function shapeError({ name, shape }: ModuleTensor, rule: string): ConfigError {
  return new ConfigError(`Cannot read adapter tensor "${name}": its shape must be ${rule}, it is [${shape}]`);
}
