/**
 * The values of arguments: each is read strictly, and refused by the argument's name.
 *
 * @module
 */
import { type KvCacheDtype, kvCacheDtypes } from "../../kernels/caches/mod.ts";
import type { QuantizeTo } from "../models/quantization.ts";
import type { CpuDeviceOptions } from "../device/cpu.ts";
import { mostThreads } from "../device/cpu_team.ts";
import type { CpuProducts } from "../device/wasm.ts";
import { UsageError } from "./arguments.ts";

/** The numbers that an argument may be. */
export interface Range {
  readonly least?: number;
  readonly most?: number;
}

function within(value: number, { least = 0, most = Infinity }: Range): boolean {
  return value >= least && value <= most;
}

function rule(what: string, { least = 0, most }: Range): string {
  return most === undefined ? `${what} of ${least} or more` : `${what} from ${least} to ${most}`;
}

/**
 * Parses a whole number argument, of 0 or more unless told.
 *
 * @throws UsageError that names the argument.
 */
export function parseCount(name: string, text: string, range: Range = {}): number {
  const count = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(count) && within(count, range)) return count;
  if (count > Number.MAX_SAFE_INTEGER) range = { most: Number.MAX_SAFE_INTEGER, ...range };
  throw new UsageError(`Cannot read --${name} "${text}": it must be ${rule("a whole number", range)}`);
}

/**
 * Parses a number argument, of 0 or more unless told: decimal, as `0.5`, `1e-4`.
 *
 * @throws UsageError that names the argument.
 */
export function parseNumber(name: string, text: string, range: Range = {}): number {
  const value = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN;
  if (Number.isFinite(value) && within(value, range)) return value;
  throw new UsageError(`Cannot read --${name} "${text}": it must be ${rule("a number", range)}`);
}

/** Parses `OUTxIN`. */
export function parseShape(text: string): { out: number; in: number } {
  const match = /^([1-9][0-9]{0,7})x([1-9][0-9]{0,7})$/.exec(text);
  if (!match) throw new UsageError(`Cannot read shape "${text}": it must be OUTxIN, e.g. 4096x4096`);
  return { out: Number(match[1]), in: Number(match[2]) };
}

/** The value of a `--quantize` argument. */
export function parseQuantize(text: string | undefined): QuantizeTo | undefined {
  if (text === undefined || text === "int8" || text === "int4") return text;
  throw new UsageError(`Cannot read --quantize "${text}": it must be int8 or int4`);
}

/** The value of a `--kv-cache-dtype` argument. */
export function parseKvCacheDtype(text: string | undefined): KvCacheDtype | undefined {
  if (text === undefined) return undefined;
  const known = kvCacheDtypes.find((dtype) => dtype === text);
  if (known) return known;
  throw new UsageError(`Cannot read --kv-cache-dtype "${text}": it must be float32, float16 or int8`);
}

/** Arguments that name a device. */
export interface NamedDevice {
  readonly device: string;
  readonly threads?: string;
  readonly "cpu-products"?: string;
}

/** The value of `--cpu-products`. */
function parseProducts(text: string | undefined): CpuProducts | undefined {
  if (text === undefined || text === "int8") return text;
  throw new UsageError(`Cannot read --cpu-products "${text}": it must be int8`);
}

/** The values of `--device`, `--threads` and `--cpu-products`. */
export function parseDevice(
  { device: kind, threads: text, "cpu-products": productsText }: NamedDevice,
): { readonly kind: "auto" | "webgpu" | "cpu" } & Pick<CpuDeviceOptions, "threads" | "products"> {
  if (kind !== "auto" && kind !== "webgpu" && kind !== "cpu") {
    throw new UsageError(`Cannot open device "${kind}": it must be auto, webgpu or cpu`);
  }
  const threads = text === undefined
    ? undefined
    : parseCount("threads", text, { least: 1, most: mostThreads });
  const products = parseProducts(productsText);
  if (kind === "webgpu" && text !== undefined) {
    throw new UsageError(`Cannot use --threads ${text} with --device webgpu: a GPU has none`);
  }
  if (kind === "webgpu" && products) {
    throw new UsageError(`Cannot use --cpu-products ${products} with --device webgpu: they are the CPU's`);
  }
  return { kind, threads, products };
}
