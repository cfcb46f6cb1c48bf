/**
 * Products of a row's entries, coefficient times source bin, made in workgroup memory before the bins sum them.
 *
 * @module
 */
import type { Limits } from "../kernel.ts";
import type { TransformPlan } from "./plan.ts";
import { type Round, workBytes } from "./wgsl.ts";

/** Coefficients that an adapter usually has at most: memory is made for their products, even beside short rows. */
const usualEntries = 1024;
/** Entries of a row that products are made of at most, and of those an invocation's. */
const mostEntries = 2048;
const mostOfInvocation = 8;
/** Entries that an invocation reads long before they are used, so that memory is not waited for. */
const readAhead = 2;

/**
 * Entries whose products fit `work`, where all `plans` share it; 0 when that is too few to pay. Each entry is then
 * multiplied once, by neighbouring invocations, before the bins sum what is theirs.
 */
export function productCount(plans: readonly TransformPlan[], limits: Limits): number {
  if (plans.every(({ mode, size }) => mode !== "half" || size < 64)) return 0;
  const [{ threads }] = plans;
  const bytes = Math.max(workBytes(plans), Math.min(8 * usualEntries, limits.workgroupStorageBytes));
  const most = Math.min(bytes / 8, mostEntries, mostOfInvocation * threads);
  return Math.floor(most / threads) * threads;
}

/**
 * The products of a row's entries, made by neighbouring invocations. They take the place of what `work` holds, so each
 * invocation keeps its own until all are made: workgroups with less memory are more at a time.
 */
export interface Products {
  /** Most entries of a row that is summed from products. */
  readonly most: number;
  readonly declare: string;
  /** Statements that read each invocation's first entries. */
  readonly fetch: string;
  /** Statements that put the products of all entries, up to `most`, in place of what `work` holds. */
  multiply(round: Round): string;
  /** WGSL expression of an entry's product. */
  readonly at: (entry: string) => string;
}

/** What products are made of. */
export interface ProductsOf {
  /** Of {@linkcode productCount}. */
  readonly most: number;
  readonly plan: TransformPlan;
  /** WGSL expression of the number of a row's entries. */
  readonly count: string;
  /** Whether entries are read from `work`. */
  readonly fromWork: boolean;
  /** Whether invocations read all of their entries, and of bins in `work` the turns, before `work` holds these. */
  readonly ahead?: boolean;
}

/** Products of up to `most` entries; undefined where there is no room. */
export function entryProducts(
  { most, plan, count, fromWork, ahead = false }: ProductsOf,
): Products | undefined {
  if (most === 0) return undefined;
  const { threads, parts } = plan;
  const early = ahead ? most / threads : readAhead;
  const each = (end: number, body: (b: number, e: string) => string): string =>
    Array.from(
      { length: Math.min(end, most / threads) },
      (_, b) => body(b, b === 0 ? "local" : `local + ${b * threads}u`),
    ).join("\n") + "\n";
  const put = (e: string, value: string): string =>
    parts ? `work[2 * (${e})] = ${value}.x; work[2 * (${e}) + 1] = ${value}.y;` : `work[${e}] = ${value};`;
  const product = (b: number, e: string, suffix: string): string =>
    ahead
      ? `coefficient_${b} * turned_spectrum${suffix}(source_${b}, turn_${b})`
      : `product${suffix}(${
        b < early ? `source_${b}, coefficient_${b}` : `source(${e}), coefficient(${e})`
      })`;
  return {
    most,
    declare: each(
      early,
      (b) => `var source_${b} = 0u; var coefficient_${b} = 0.0;${ahead ? ` var turn_${b} = vec2f();` : ""}`,
    ),
    fetch: each(
      early,
      (b, e) => `if (${e} < ${count}) { source_${b} = source(${e}); coefficient_${b} = coefficient(${e}); }`,
    ) + (ahead ? each(early, (b) => `turn_${b} = turn_of(source_${b});`) : ""),
    multiply: ({ suffix }) =>
      each(
        Infinity,
        (b, e) =>
          `var product_${b} = vec2f(); if (${e} < ${count}) { product_${b} = ${product(b, e, suffix)}; }`,
      ) + (fromWork ? "workgroupBarrier();\n" : "") +
      each(Infinity, (b, e) => `if (${e} < ${count}) { ${put(e, `product_${b}`)} }`),
    at: (e) => parts ? `vec2f(work[2 * ${e}], work[2 * ${e} + 1])` : `work[${e}]`,
  };
}
