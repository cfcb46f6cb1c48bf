/**
 * SVFT's files: the authors' tensors, or M alone with check numbers of the base's singular vectors.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { HostTensor } from "../../tensor.ts";
import { integerField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles } from "../method.ts";
import { finiteFloats } from "../numbers.ts";
import { checkIndices, type Places } from "./svft_places.ts";

const tensorName =
  /^(?:base_model\.model\.)?(.+)\.svft_layer\.(u|v|s_pre|s|gate|check|s_row|s_col|s_pre_row|s_pre_col)$/;
/** Names of tensors that hold indices. */
export const indexName = /\.svft_layer\.(?:s_row|s_col|s_pre_row|s_pre_col)$/;

const patterns = ["banded", "random", "top_k"] as const;

/** Entries at most: kernels keep their numbers as float32. */
const mostEntries = 2 ** 24;

/** What a config says. */
export interface Setting {
  readonly pattern: typeof patterns[number];
  readonly offDiag: number;
  /** Singular values that W keeps; all where it is absent. */
  readonly rank?: number;
}

/** U (out, n), diag(s) and V^T (n, in) as a file has them. */
export interface FileFactors {
  readonly out: number;
  readonly in: number;
  readonly n: number;
  readonly s: Float32Array;
  /** V^T, then U, as kernels take them. */
  readonly factors: Float32Array;
}

/** A module's tensors, checked as far as they can be without the linear. */
export interface SvftFile {
  readonly setting: Setting;
  readonly s: Float32Array;
  readonly gate: number;
  /** Absent where the entries are a band and the file says no more. */
  readonly places?: Places;
  readonly factors?: FileFactors;
  /** (n, 2): see `checkNumbers`. */
  readonly check?: Float32Array;
}

/** Throws ConfigError that names the field and the rule. */
export function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  refuseUnknown(config, {
    known: ["pattern", "off_diag", "rank"],
    reasons: { fill_orthonormal: "random directions in place of W's own are not supported" },
  });
  const pattern = patterns.find((one) => one === config.pattern), offDiag = integerField(config, "off_diag");
  if (!pattern) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "pattern" = ${JSON.stringify(config.pattern)}: it must be ${
        patterns.join(", ")
      }`,
    );
  }
  if (offDiag < 0) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "off_diag" = ${offDiag}: it must be 0 or more`,
    );
  }
  if (config.rank === undefined || config.rank === null) return { pattern, offDiag };
  const rank = integerField(config, "rank");
  if (rank < 1) {
    throw new ConfigError(`Cannot read adapter_config.json field "rank" = ${rank}: it must be 1 or more`);
  }
  return { pattern, offDiag, rank };
}

/** The tensors of one module. */
class ModuleFile {
  readonly #tensors = new Map<string, { readonly name: string; readonly t: HostTensor }>();

  add(last: string, name: string, t: HostTensor): void {
    const known = this.#tensors.get(last);
    if (known) throw new ConfigError(`Cannot read adapter tensor "${name}": "${known.name}" is the same`);
    this.#tensors.set(last, { name, t });
  }

  has(...names: readonly string[]): boolean {
    return names.some((name) => this.#tensors.has(name));
  }

  /** A tensor of a shape whose sizes may be left open. */
  get(last: string, rule: string, ...sizes: readonly (number | undefined)[]) {
    const found = this.#tensors.get(last);
    if (!found) {
      const [[other, { name }]] = this.#tensors;
      throw new ConfigError(
        `Cannot find adapter tensor "${name.slice(0, -other.length)}${last}": "${name}" needs it`,
      );
    }
    const { name, t: { shape } } = found;
    if (shape.length === sizes.length && shape.every((size, i) => size > 0 && size === (sizes[i] ?? size))) {
      return found;
    }
    throw new ConfigError(
      `Cannot read adapter tensor "${name}": its shape must be ${rule}, it is [${shape}]`,
    );
  }

  floats(last: string, rule: string, ...sizes: readonly (number | undefined)[]): Float32Array {
    const { name, t } = this.get(last, rule, ...sizes);
    return finiteFloats(name, t);
  }
}

function factorsOf(file: ModuleFile, { rank }: Setting): FileFactors | undefined {
  if (!file.has("u", "v", "s_pre")) return undefined;
  const [out, n] = file.get("u", "(out, n)", undefined, undefined).t.shape;
  const [, inSize] = file.get("v", `(n, in) with n = ${n}`, n, undefined).t.shape;
  const s = file.floats("s_pre", `(n) with n = ${n}`, n);
  const { name } = file.get("u", "(out, n)", undefined, undefined);
  if (n > Math.min(out, inSize) || (rank !== undefined && n > rank)) {
    throw new ConfigError(
      `Cannot read adapter tensor "${name}": n must be at most out, in and "rank", its shape is [${out},${n}], ` +
        `in is ${inSize} and "rank" ${rank ?? null}`,
    );
  }
  for (const last of ["s_pre_row", "s_pre_col"]) {
    if (!file.has(last)) continue;
    const { name, t } = file.get(last, `(n) with n = ${n}`, n);
    const at = (t.data as Int32Array).findIndex((index, i) => index !== i);
    if (at >= 0) throw new ConfigError(`Cannot read adapter tensor "${name}": element ${at} is not ${at}`);
  }
  const factors = new Float32Array(n * (inSize + out));
  factors.set(file.floats("v", "(n, in)", n, inSize));
  factors.set(file.floats("u", "(out, n)", out, n), n * inSize);
  return { out, in: inSize, n, s, factors };
}

/** The places of a file's entries, inside of M and of the pattern as far as the file tells. */
function placesOf(
  file: ModuleFile,
  { pattern, offDiag }: Setting,
  { count, n }: { readonly count: number; readonly n?: number },
): Places | undefined {
  if (!file.has("s_row", "s_col") && pattern === "banded") return undefined;
  const rule = `(entries) with entries = ${count}`;
  const row = file.get("s_row", rule, count), column = file.get("s_col", rule, count);
  const rows = row.t.data as Int32Array, columns = column.t.data as Int32Array;
  checkIndices(row.name, rows, n ?? 2 ** 31);
  checkIndices(column.name, columns, n ?? 2 ** 31);
  const off = rows.findIndex((one, e) => Math.abs(one - columns[e]) > offDiag);
  if (pattern === "banded" && off >= 0) {
    throw new ConfigError(
      `Cannot read adapter tensor "${column.name}": entry ${off} at (${rows[off]}, ${
        columns[off]
      }) is off the band ` +
        `of "off_diag" = ${offDiag}`,
    );
  }
  return { rows, columns };
}

function moduleFile(file: ModuleFile, setting: Setting): SvftFile {
  const factors = factorsOf(file, setting);
  if (!factors && file.has("s_pre_row", "s_pre_col")) file.get("s_pre", "(n)", undefined);
  const { name, t } = file.get("s", "(entries)", undefined), count = t.shape[0];
  if (count > mostEntries) {
    throw new ConfigError(
      `Cannot read adapter tensor "${name}": at most ${mostEntries} entries are accepted`,
    );
  }
  const [gate] = file.floats("gate", "(1)", 1);
  const check = file.has("check") ? file.floats("check", "(n, 2)", factors?.n, 2) : undefined;
  const n = factors?.n ?? (check && check.length / 2);
  const isPlain = setting.pattern === "banded" && setting.offDiag === 0;
  // Signs matter away from the diagonal: a file without vectors has to pin them.
  if (!factors && !check && !isPlain) file.get("check", "(n, 2)", undefined, 2);
  return {
    setting,
    s: finiteFloats(name, t),
    gate,
    places: placesOf(file, setting, { count, n }),
    factors,
    check,
  };
}

/**
 * The modules of a file by path, in the file's order.
 *
 * @throws ConfigError that names the tensor and the rule.
 */
export function svftFiles({ tensors }: AdapterFiles, setting: Setting): Map<string, SvftFile> {
  const files = new Map<string, ModuleFile>();
  for (const [name, t] of tensors) {
    const [, path, last] = tensorName.exec(name) ?? [];
    if (path === undefined) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}" as SVFT: only <module>.svft_layer. and u, v, s_pre, s, gate, s_row, ` +
          "s_col or check are supported",
      );
    }
    const file = files.get(path) ?? new ModuleFile();
    file.add(last, name, t);
    files.set(path, file);
  }
  return new Map([...files].map(([path, file]) => [path, moduleFile(file, setting)]));
}
