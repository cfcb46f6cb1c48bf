/**
 * WGSL of transforms in workgroup memory: Stockham passes with values in named registers, twiddles from a table.
 *
 * All transforms have the sign +: X[k] = SUM_j x[j] e^{+2 pi i j k / n}. The names `local` (invocation index), `work`
 * (the workgroup's `array<vec2f>`) and the binding `twiddles` (a {@linkcode twiddleTables}) are the caller's.
 *
 * @module
 */
import type { Table } from "../kernel.ts";
import { butterfly, straightRadices } from "./butterfly.ts";
import type { TransformPlan } from "./plan.ts";

/** Functions every transform needs. */
export const fftFunctions = /* wgsl */ `
fn cmul(a: vec2f, b: vec2f) -> vec2f { return vec2f(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
fn conj(a: vec2f) -> vec2f { return vec2f(a.x, -a.y); }
fn times_i(a: vec2f) -> vec2f { return vec2f(-a.y, a.x); }
fn times_w8(a: vec2f) -> vec2f { return 0.7071067811865476 * vec2f(a.x - a.y, a.x + a.y); }
// Neighbours in memory stay in different banks when they are 8 or 16 elements apart.
fn at(i: u32) -> u32 { return i ^ ((i >> 4) & 15); }
// a * b mod d for a, b < d <= 2^20: every intermediate stays below 2^31.
fn mulmod(a: u32, b: u32, d: u32) -> u32 { return (((((a >> 10) * b) % d) << 10) + (a & 1023) * b) % d; }
`;

/** WGSL declaration of the workgroup memory for transforms of up to `size` points; `at` permutes blocks of 16. */
export const workDeclaration = (size: number): string =>
  `var<workgroup> work: array<vec2f, ${Math.ceil(size / 16) * 16}>;`;

/** WGSL expression of e^{2 pi i index / length}, index in 0..length-1, for one length. */
export type Twiddles = (index: string) => string;

/** Tables of twiddles for some lengths, one after the other in one buffer: the binding `twiddles`, `array<vec2f>`. */
export interface TwiddleTables {
  readonly table: Table;
  of(length: number): Twiddles;
}

/** Tables e^{2 pi i k / length}, k in 0..length-1, as (cos, sin) pairs from float64; equal lengths share one. */
export function twiddleTables(...wanted: readonly number[]): TwiddleTables {
  const starts = new Map<number, number>();
  let size = 0;
  for (const length of wanted) {
    if (starts.has(length)) continue;
    starts.set(length, size);
    size += length;
  }
  return {
    table: {
      key: `twiddles:${[...starts.keys()]}`,
      make: () => {
        const table = new Float32Array(2 * size);
        for (const [length, start] of starts) {
          for (let k = 0; k < length; k++) {
            table[2 * (start + k)] = Math.cos(2 * Math.PI * k / length);
            table[2 * (start + k) + 1] = Math.sin(2 * Math.PI * k / length);
          }
        }
        return table;
      },
    },
    of: (length) => {
      const start = starts.get(length)!;
      return (index) => start === 0 ? `twiddles[${index}]` : `twiddles[${start}u + ${index}]`;
    },
  };
}

/** Where a transform's input comes from and its output goes to. */
export interface TransformIo {
  /** Those of the plan's length. */
  readonly twiddles: Twiddles;
  /** WGSL expression of element `index`; absent when the input is in `work` and a barrier has passed. */
  readonly load?: (index: string) => string;
  /** Whether `load` reads `work`: then all loads are done before anything is written. */
  readonly loadReadsWork?: boolean;
  /** WGSL statement that stores element `index`; absent to leave the output in `work`, behind a barrier. */
  readonly store?: (index: string, value: string) => string;
}

interface Pass {
  readonly radix: number;
  /** Product of the radices before. */
  readonly done: number;
  readonly load?: (index: string) => string;
  readonly barrierBeforeWrite: boolean;
  readonly store?: (index: string, value: string) => string;
}

const barrier = "workgroupBarrier();\n";

/** Runs `body` for `index = local + b * threads` below `count`, once for each b, unrolled. */
function unrolled(count: number, threads: number, body: (b: number, index: string) => string): string {
  const turns = Math.ceil(count / threads);
  return Array.from({ length: turns }, (_, b) => {
    const index = b === 0 ? "local" : `(local + ${b * threads}u)`;
    const guarded = (b + 1) * threads > count;
    return `{ let j = ${index};\n${guarded ? `if (j < ${count}u) {\n` : ""}${body(b, "j")}${
      guarded ? "}\n" : ""
    }}\n`;
  }).join("");
}

const write = (pass: Pass, index: string, value: string): string =>
  pass.store ? pass.store(index, value) + "\n" : `work[at(${index})] = ${value};\n`;

/** Multiplies v[t] by w^t: w from the table, its powers by products of the shortest chains (3 units in the last place). */
function turns(v: readonly string[], w1: string): string {
  const lines = [`let w1 = ${w1};\n`];
  for (let t = 2; t < v.length; t++) {
    lines.push(`let w${t} = cmul(w${t >> 1}, w${t - (t >> 1)});\n`);
  }
  for (let t = 1; t < v.length; t++) lines.push(`${v[t]} = cmul(${v[t]}, w${t});\n`);
  return lines.join("");
}

function straightPass(plan: TransformPlan, io: TransformIo, pass: Pass): string {
  const { radix, done } = pass;
  const { size, threads, length } = plan;
  const count = size / radix;
  const hold = pass.barrierBeforeWrite;
  const names = (b: number): string[] => Array.from({ length: radix }, (_, t) => `v${b}_${t}`);
  const declare = (b: number): string => names(b).map((n) => `var ${n} = vec2f();`).join(" ") + "\n";
  const compute = (b: number, j: string): string => {
    const v = names(b);
    const place = (t: number): string => t === 0 ? j : `${j} + ${t * count}u`;
    const lines = v.map((n, t) => `${n} = ${pass.load ? pass.load(place(t)) : `work[at(${place(t)})]`};\n`);
    if (done > 1) lines.push(turns(v, io.twiddles(`(${j} % ${done}u) * ${length / (done * radix)}u`)));
    return lines.join("") + butterfly(v).code;
  };
  const put = (b: number, j: string): string => {
    const base = done === 1
      ? `let o = ${j} * ${radix}u;\n`
      : `let o = ${j} / ${done}u * ${done * radix}u + ${j} % ${done}u;\n`;
    const { outputs } = butterfly(names(b));
    return base + outputs.map((n, t) => write(pass, t === 0 ? "o" : `o + ${t * done}u`, n)).join("");
  };
  if (!hold) return unrolled(count, threads, (b, j) => declare(b) + compute(b, j) + put(b, j));
  const all = Array.from({ length: Math.ceil(count / threads) }, (_, b) => declare(b)).join("");
  return `{\n${all}${unrolled(count, threads, compute)}${barrier}${unrolled(count, threads, put)}}\n`;
}

/** A prime radix without a butterfly: each invocation sums its outputs term by term. */
function loopPass(plan: TransformPlan, io: TransformIo, pass: Pass): string {
  const { radix, done } = pass;
  const { size, threads, length } = plan;
  const inner = size / radix;
  const turns = Math.ceil(size / threads);
  const declare = Array.from({ length: turns }, (_, b) => `var v${b} = vec2f();`).join(" ");
  const compute = (b: number, o: string): string => `
let i = ${o} % ${inner}u;
let step = ((i % ${done}u) * ${length / (done * radix)}u + ${o} / ${inner}u * ${
    length / radix
  }u) % ${length}u;
var k = 0u;
for (var q = 0u; q < ${radix}u; q++) {
  v${b} += cmul(work[at(i + q * ${inner}u)], ${io.twiddles("k")});
  k += step;
  if (k >= ${length}u) { k -= ${length}u; }
}
`;
  const put = (b: number, o: string): string =>
    `let i = ${o} % ${inner}u;
${write(pass, `i / ${done}u * ${done * radix}u + i % ${done}u + ${o} / ${inner}u * ${done}u`, `v${b}`)}`;
  return `{\n${declare}\n${unrolled(size, threads, compute)}${barrier}${unrolled(size, threads, put)}}\n`;
}

/** WGSL statements of one complex transform of `plan.size` points by one workgroup of `plan.threads` invocations. */
export function transform(plan: TransformPlan, io: TransformIo): string {
  const { radices, size, threads } = plan;
  const isStraight = (radix: number): boolean => straightRadices.includes(radix);
  const lines: string[] = [];
  let load = io.load;
  if (load && (radices.length === 0 || !isStraight(radices[0]))) {
    const stage = load;
    if (io.loadReadsWork) {
      const turns = Math.ceil(size / threads);
      lines.push("{\n", ...Array.from({ length: turns }, (_, b) => `var v${b} = vec2f();\n`));
      lines.push(unrolled(size, threads, (b, j) => `v${b} = ${stage(j)};\n`), barrier);
      lines.push(unrolled(size, threads, (b, j) => `work[at(${j})] = v${b};\n`), "}\n", barrier);
    } else {
      lines.push(unrolled(size, threads, (_, j) => `work[at(${j})] = ${stage(j)};\n`), barrier);
    }
    load = undefined;
  }
  let done = 1;
  radices.forEach((radix, i) => {
    const last = i === radices.length - 1;
    const first = i === 0;
    const store = last ? io.store : undefined;
    const readsWork = !(first && load) || io.loadReadsWork === true;
    const pass: Pass = {
      radix,
      done,
      load: first ? load : undefined,
      barrierBeforeWrite: readsWork && !store,
      store,
    };
    lines.push(isStraight(radix) ? straightPass(plan, io, pass) : loopPass(plan, io, pass));
    if (!store) lines.push(barrier);
    done *= radix;
  });
  if (radices.length === 0 && io.store) {
    lines.push(unrolled(size, threads, (_, j) => io.store!(j, `work[at(${j})]`) + "\n"));
  }
  return lines.join("");
}
