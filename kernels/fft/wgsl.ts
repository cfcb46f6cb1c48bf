/**
 * WGSL of transforms: points stay in registers and change hands through workgroup memory between Stockham stages.
 *
 * All transforms have the sign +: X[k] = SUM_j x[j] e^{+2 pi i j k / n}. The names `local` (invocation index), `work` and
 * `at` ({@linkcode workMemory}) and the binding `twiddles` are the caller's.
 *
 * @module
 */
import { isStraight } from "./butterfly.ts";
import { type Layout, paddedPoints, type Place, placeInWork } from "./layout.ts";
import type { TransformPlan } from "./plan.ts";
import { type Ahead, type Held, holdStage, stagesOf } from "./stages.ts";
import type { Twiddles } from "./twiddles.ts";

/** Functions every transform needs. */
export const fftFunctions = /* wgsl */ `
fn cmul(a: vec2f, b: vec2f) -> vec2f { return vec2f(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
fn conj(a: vec2f) -> vec2f { return vec2f(a.x, -a.y); }
fn times_i(a: vec2f) -> vec2f { return vec2f(-a.y, a.x); }
fn times_w8(a: vec2f) -> vec2f { return 0.7071067811865476 * vec2f(a.x - a.y, a.x + a.y); }
// a * b mod d for a, b < d <= 2^20: every intermediate stays below 2^31.
fn mulmod(a: u32, b: u32, d: u32) -> u32 { return (((((a >> 10) * b) % d) << 10) + (a & 1023) * b) % d; }
`;

/** Bytes of {@linkcode workMemory}. */
export function workBytes(plans: readonly TransformPlan[]): number {
  const points = Math.max(...plans.map((plan) => plan.padded ? paddedPoints(plan) : plan.size));
  return plans[0].parts ? 4 * 32 * Math.ceil(points / 32) : 8 * 16 * Math.ceil(points / 16);
}

/**
 * WGSL declaration of the workgroup memory for transforms of one workgroup (see `together`), and for as many products in
 * their place; and of `at`, the place of a point in a layout without room for padding: it takes bits of the index that
 * vary between invocations, in the stores of a first pass of radix 8 (stride 8) and of a second one (runs of 8, stride
 * 64), to bits of the bank that do not.
 */
export function workMemory(plans: readonly TransformPlan[], products = 0): string {
  const bytes = Math.max(workBytes(plans), 8 * products);
  return plans[0].parts
    ? `var<workgroup> work: array<f32, ${bytes / 4}>;
fn at(i: u32) -> u32 { return i ^ ((i >> 5) & 7) ^ ((i >> 3) & 24); }\n`
    : `var<workgroup> work: array<vec2f, ${bytes / 8}>;
fn at(i: u32) -> u32 { return i ^ ((i >> 4) & 7) ^ ((i >> 3) & 8); }\n`;
}

/** What `work` holds at a time: whole points, or the real parts and then the imaginary parts of all. */
export interface Round {
  /** Ends the names of WGSL functions that read `work`. */
  readonly suffix: "" | "_re" | "_im";
  readonly field: "" | ".x" | ".y";
}

/** The rounds in which points change hands. */
export function roundsOf({ parts }: Pick<TransformPlan, "parts">): readonly Round[] {
  return parts
    ? [{ suffix: "_re", field: ".x" }, { suffix: "_im", field: ".y" }]
    : [{ suffix: "", field: "" }];
}

/**
 * Statements that put `held` into `work`, round by round, and use it behind a barrier; `fresh` says that `work` was not
 * read before.
 */
export function expose(
  plan: TransformPlan,
  { held, layout = "plain", fresh = false, rounds = roundsOf(plan) }: {
    readonly held: Held;
    readonly layout?: Layout;
    readonly fresh?: boolean;
    readonly rounds?: readonly Round[];
  },
  use: (round: Round) => string,
): string {
  return rounds.map((round, i) => {
    const put = held.put((place, value) => `work[${placeInWork(layout, place)}] = ${value}${round.field};\n`);
    return `${fresh && i === 0 ? "" : "workgroupBarrier();\n"}${put}workgroupBarrier();\n${use(round)}`;
  }).join("");
}

/** A transform's text: `declare`, then statements by `take`, then `run`; `output` is then held in registers. */
export interface Transform {
  /** What `run` needs to have been read, where {@linkcode TransformOf.ahead} asked for it. */
  readonly ahead: readonly Ahead[];
  readonly declare: string;
  /** Takes (or adds) the points that `read` says. */
  take(read: (place: Place) => string, assign?: "=" | "+="): string;
  readonly run: string;
  readonly output: Held;
}

/** What {@linkcode transform} is given beside its plan. */
export interface TransformOf {
  /** Begins the names of its variables. */
  readonly name: string;
  readonly twiddles: Twiddles;
  /** Whether `work` was not read before, or reads of it lie behind a barrier. */
  readonly fresh?: boolean;
  /** Points in registers to begin with; `take` is then not called. */
  readonly held?: Held;
  /** Whether twiddles are read ahead: they take registers, and no stage waits for memory. */
  readonly ahead?: boolean;
}

/** One complex transform of `plan.size` points by one workgroup of `plan.threads` invocations. */
export function transform(plan: TransformPlan, of: TransformOf): Transform {
  const { name, twiddles, fresh, held, ahead } = of;
  const stages = stagesOf({ plan, name, twiddles, ahead });
  const direct = plan.radices.length > 0 && isStraight(plan.radices[0]);
  const first = held || direct ? undefined : holdStage({ plan, name, twiddles });
  if (first) stages.unshift(first);
  const steps = stages.map((stage, i) => {
    const from = i === 0 ? held : stages[i - 1];
    if (!from) return stage.compute;
    const isFirst = fresh === true && (i === 0 || (i === 1 && !held));
    const layout = i === 0 ? "plain" : stages[i - 1].layout;
    const get = ({ field }: Round): string =>
      stage.get((place) => `work[${placeInWork(layout, place)}]`, field);
    return `${i === 0 ? "" : stage.declare}${
      expose(plan, { held: from, layout, fresh: isFirst }, get)
    }${stage.compute}`;
  });
  return {
    ahead: stages.flatMap((stage) => stage.ahead),
    declare: stages.length > 0 ? stages[0].declare : "",
    take: (read, assign) => stages[0].get(read, "", assign),
    run: steps.join(""),
    output: stages.at(-1) ?? held!,
  };
}
