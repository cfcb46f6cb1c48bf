/**
 * A model that SVFT was fused into, and its base, to an adapter.
 *
 * The authors' code keeps fused models alone. W' - W of each linear is looked at in the terms of W's singular vectors: where
 * it is not sparse there, the model is refused.
 *
 * @module
 */
import { widen } from "../kernels/half.ts";
import { sparseChange, svftTensors } from "./adapters/methods/svft_convert.ts";
import { type Setting, settingOf } from "./adapters/methods/svft_file.ts";
import { svd } from "./adapters/svd.ts";
import { ConfigError } from "./errors.ts";
import type { ReadableFolder } from "./folder.ts";
import type { Checkpoint } from "./models/checkpoint.ts";
import { isTransposed, openWeights, readConfig, weightsOf } from "./models/families.ts";
import { layerLinears, type LinearSpec } from "./models/spec.ts";
import { transposed } from "./models/transpose.ts";
import type { HostTensor } from "./tensor.ts";
import { adapterFiles, type Files } from "./training/checkpoint.ts";

/** Part of the change's norm that may be left beside the rounding of W', unless told. */
const mostRest = 1e-3;

/** How much more than its expected size the rounding of W' may be. */
const roundingMargin = 1.5;

/** Part of a change that the rounding of W' may be: beyond that any change would pass. */
const mostRounding = 0.5;

/** Bits of a float's mantissa, the hidden one with them. */
const precision: Readonly<Record<string, number>> = { float32: 24, float16: 11, bfloat16: 8 };

/** One linear of a conversion. */
export interface ConvertedModule {
  readonly path: string;
  readonly entries: number;
  /** The part of the change's norm that the entries leave, 0 to 1, and the part that rounding W' is expected to leave. */
  readonly residual: number;
  readonly rounding: number;
}

/** How a fused model is converted. */
export interface ConvertOptions {
  /** The folder of the fused model, and of its base. */
  readonly model: ReadableFolder;
  readonly base: ReadableFolder;
  /** Default `banded`; `random` and `top_k` take the largest entries, as many as the band would have. */
  readonly pattern?: "banded" | "random" | "top_k";
  /** Diagonals on either side; default 0. */
  readonly offDiag?: number;
  /** Whether the file has singular vectors themselves, in place of check numbers. */
  readonly vectors?: boolean;
  /** Part of a change's norm that the entries may leave; by default the rounding of W' and a thousandth. */
  readonly maxResidual?: number;
  readonly onModule?: (module: ConvertedModule) => void;
  readonly onWeight?: (done: number, total: number) => void;
}

/** The two models' weights. */
interface Pair {
  readonly fused: Checkpoint;
  readonly base: Checkpoint;
}

/** The tensors of both by one name. */
async function both({ fused, base }: Pair, name: string): Promise<[HostTensor, HostTensor]> {
  const shapes = [fused, base].map((checkpoint) => `${checkpoint.info(name).shape}`);
  if (shapes[0] !== shapes[1]) {
    throw new ConfigError(`Cannot convert "${name}": its shape is [${shapes[0]}], the base's [${shapes[1]}]`);
  }
  return [await fused.read(name), await base.read(name)];
}

/** W' - W; undefined where they are equal. */
async function changeOf(pair: Pair, name: string) {
  const [now, was] = await both(pair, name);
  const after = widen(now.data, now.dtype), before = widen(was.data, was.dtype);
  const change = Float64Array.from(after, (value, i) => value - before[i]);
  const fault = change.findIndex((value) => !Number.isFinite(value));
  if (fault >= 0) throw new ConfigError(`Cannot convert "${name}": element ${fault} is not finite in both`);
  return change.every((value) => value === 0) ? undefined : { change, now, was };
}

/** The norm that rounding a tensor to its own dtype has, where each error is anywhere up to half a unit in the last place. */
function roundingOf({ data, dtype }: HostTensor): number {
  const last = 2 ** (1 - precision[dtype]);
  return Math.sqrt(
    widen(data, dtype).reduce((sum, value) => {
      const unit = value === 0 ? 0 : last * 2 ** Math.floor(Math.log2(Math.abs(value)));
      return sum + unit * unit / 12;
    }, 0),
  );
}

/** Tensors that SVFT does not change are those of the base, and both have the same. */
async function checkOthers(pair: Pair, linears: ReadonlySet<string>): Promise<void> {
  const { fused, base } = pair, has = (of: Checkpoint) => (name: string): boolean => of.names.includes(name);
  const lacking = [...linears, ...base.names].find((name) => !has(fused)(name));
  if (lacking !== undefined) throw new ConfigError(`Cannot convert the model: it has no "${lacking}"`);
  const more = [...linears, ...fused.names].find((name) => !has(base)(name));
  if (more !== undefined) throw new ConfigError(`Cannot convert the model: its base has no "${more}"`);
  for (const name of base.names) {
    if (linears.has(name)) continue;
    if (await changeOf(pair, name)) {
      throw new ConfigError(
        `Cannot convert the model: its "${name}" is not the base's, and SVFT changes linears alone`,
      );
    }
  }
}

interface Converting extends Required<Pick<ConvertOptions, "vectors">> {
  readonly setting: Setting;
  readonly maxResidual?: number;
}

/** One linear's tensors; undefined where it did not change. */
async function converted(
  pair: Pair,
  { path, shape, turns }: LinearSpec & { readonly turns: boolean },
  { setting, vectors, maxResidual }: Converting,
) {
  const name = `${path}.weight`, found = await changeOf(pair, name);
  if (!found) return undefined;
  const { now, was } = found, [fused, base] = turns ? [transposed(now), transposed(was)] : [now, was];
  const weight = widen(base.data, base.dtype), after = widen(fused.data, fused.dtype);
  const of = await svd(weight, shape);
  const difference = Float64Array.from(weight, (value, i) => after[i] - value);
  const change = await sparseChange(difference, of, setting);
  const residual = change.rest / change.norm, rounding = roundingOf(now) / change.norm;
  const limit = maxResidual ?? roundingMargin * rounding + mostRest;
  const module = { path, entries: change.entries.length, residual, rounding };
  if (maxResidual === undefined && rounding > mostRounding) {
    throw new ConfigError(
      `Cannot convert "${name}": rounding it to ${now.dtype} is expected to be ${
        rounding.toPrecision(3)
      } of its change`,
    );
  }
  if (residual > limit) {
    throw new ConfigError(
      `Cannot convert "${name}" as SVFT with "pattern" = "${setting.pattern}" and "off_diag" = ${setting.offDiag}: ` +
        `the entries leave ${residual.toPrecision(3)} of its change, at most ${
          limit.toPrecision(3)
        } is accepted`,
    );
  }
  return { module, tensors: await svftTensors(path, { change, of, pattern: setting.pattern, vectors }) };
}

/**
 * The two files of an SVFT adapter. The fused model is the base with it merged in.
 *
 * @throws ConfigError when a change is not SVFT's with the pattern, when other tensors differ, and when nothing does.
 */
export async function convertFused(
  { model, base: baseFolder, pattern = "banded", offDiag = 0, vectors = false, ...options }: ConvertOptions,
): Promise<Files> {
  const { maxResidual, onModule = () => {}, onWeight = () => {} } = options;
  const fields = { pattern, off_diag: offDiag, rank: null, fill_orthonormal: false };
  const setting = settingOf(fields), config = await readConfig(baseFolder);
  const linears = layerLinears(weightsOf(config));
  const base = await openWeights(baseFolder, config);
  try {
    const fused = await openWeights(model, config);
    try {
      const pair = { base, fused };
      await checkOthers(pair, new Set(linears.map(({ path }) => `${path}.weight`)));
      const tensors = new Map<string, HostTensor>(), modules: string[] = [];
      for (const [i, linear] of linears.entries()) {
        const turns = isTransposed(config, linear.path);
        const made = await converted(pair, { ...linear, turns }, { setting, vectors, maxResidual });
        onWeight(i + 1, linears.length);
        if (!made) continue;
        onModule(made.module);
        modules.push(linear.path);
        for (const [name, t] of made.tensors) tensors.set(name, t);
      }
      if (modules.length === 0) throw new ConfigError("Cannot convert the model: its linears are the base's");
      return adapterFiles({ peft_type: "SVFT", ...fields, target_modules: modules }, tensors);
    } finally {
      await fused.close();
    }
  } finally {
    await base.close();
  }
}
