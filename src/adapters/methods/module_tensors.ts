/**
 * The tensors of modules as PEFT names them: `base_model.model.<module path>.<tensor>`, each tensor in every module.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { AdapterFiles } from "../method.ts";
import { finiteFloats } from "../numbers.ts";

/** A tensor of one module, its numbers checked. */
export interface ModuleTensor {
  /** As the file has it, for messages. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

/** Words for fields whose refusal needs more than the rule. */
export const refusals = {
  bias: "trained biases are not supported",
  modules_to_save: "whole saved modules are not supported",
} as const;

/**
 * Reads the tensors of every module, by path, in the file's order.
 *
 * @param names Of each module's tensors, all of them needed.
 * @throws ConfigError that names the tensor and the rule: a tensor of another name, a module that lacks one, NaN or infinity.
 */
export function moduleTensors<Name extends string>(
  { tensors }: AdapterFiles,
  { method, names, prefix = "base_model.model." }: {
    readonly method: string;
    readonly names: readonly Name[];
    /** Of every name; PEFT's unless told. */
    readonly prefix?: string;
  },
): Map<string, Readonly<Record<Name, ModuleTensor>>> {
  const modules = new Map<string, Readonly<Record<Name, ModuleTensor>>>();
  for (const name of tensors.keys()) {
    const own = names.find((one) => name.endsWith(`.${one}`));
    const path = own && name.slice(prefix.length, -own.length - 1);
    if (!path || !name.startsWith(prefix)) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as ${method}: only ${prefix}<module>.${
          names.join(" and .")
        } are supported`,
      );
    }
    if (modules.has(path)) continue;
    const read = (one: Name): [Name, ModuleTensor] => {
      const full = `${prefix}${path}.${one}`;
      const t = tensors.get(full);
      if (!t) throw new ConfigError(`Cannot find adapter tensor "${full}": "${name}" needs it`);
      return [one, { name: full, shape: t.shape, values: finiteFloats(full, t) }];
    };
    modules.set(path, Object.fromEntries(names.map(read)) as Record<Name, ModuleTensor>);
  }
  return modules;
}

/** The error of a tensor whose shape breaks a rule. */
export function shapeError({ name, shape }: ModuleTensor, rule: string): ConfigError {
  return new ConfigError(`Cannot read adapter tensor "${name}": its shape must be ${rule}, it is [${shape}]`);
}
