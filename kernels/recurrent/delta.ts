/**
 * The gated delta rule (Yang et al. 2025, arXiv:2412.06464), token by token: what both its kernels share.
 *
 * A head has a state S (keyDim, valueDim), which starts as zeros. A token with query q, key k, value v, both of length 1,
 * has S = decay S, then S += beta k (v - S^T k)^T, and gives S^T q / sqrt(keyDim). Columns of S do not depend on each other.
 *
 * @module
 */
import { loader, storageType } from "../half.ts";
import {
  declareBindings,
  type DType,
  type TypedArray,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { type Binding, uniformStruct } from "../kernel.ts";

/** Uniform words of both kernels. */
export const deltaUniforms = {
  rows: "u32",
  keyHeads: "u32",
  heads: "u32",
  keyDim: "u32",
  valueDim: "u32",
  betaStride: "u32",
  betaAt: "u32",
  dtStride: "u32",
  dtAt: "u32",
} as const;

/** Their values. */
export type DeltaWords = Readonly<Record<keyof typeof deltaUniforms, number>>;

/** Buffers of both kernels. */
export const deltaBuffers = {
  qkv: {
    access: "read",
    dtypes: ["float32"],
    doc: "(rows, 2 keyHeads keyDim + heads valueDim), row-major: queries, then keys, then values",
  },
  beta: {
    access: "read",
    dtypes: ["float32"],
    doc: "(rows, betaStride), row-major: from betaAt on, one a head",
  },
  dt: { access: "read", dtypes: ["float32"], doc: "(rows, dtStride), row-major: from dtAt on, one a head" },
  decay: {
    access: "read",
    dtypes: ["float32", "float16", "bfloat16"],
    doc: "(2 heads): A_log of each head, then dt_bias of each",
  },
} as const;

/** What both do, for their documentation. */
export const deltaDoc =
  "Of each head h, with the query and key of head floor(h keyHeads / heads) divided by sqrt(their sum of squares + 1e-6): " +
  "S = exp(-exp(A_log[h]) log(1 + exp(dt[r, h] + dt_bias[h]))) S; S += k (v - S^T k)^T / (1 + exp(-beta[r, h])); " +
  "y[r, h] = S^T q / sqrt(keyDim)";

/** Columns of a state that a workgroup has, and threads that share a column. */
const columns = 16, lanes = 4;

/** Workgroups of a launch. */
export const deltaGroups = ({ rows, heads, valueDim }: DeltaWords): number =>
  rows * heads * Math.ceil(valueDim / columns);

/** Where sequences of the rows begin, as statements and expressions of `row`, `begin` and `index` (an element of a state). */
export interface DeltaSequences {
  readonly uniforms: Readonly<Record<string, "u32">>;
  readonly bindings: readonly Binding[];
  readonly types: Readonly<Record<string, string>>;
  /** Returns from `main` unless `begin` is a sequence's first row; `local`, `head` and `column` are there. */
  readonly enter: string;
  /** Whether `row` is of the sequence of `begin`. */
  readonly isSame: string;
  /** The element `index` of a state that the sequence starts with, and a statement that keeps `value` there. */
  readonly load: string;
  readonly store: string;
}

/** The text for keys of so many columns. A column's threads add up four sums and a fifth in one go. */
export function deltaWgsl(keyDim: number, dtype: DType, sequences: DeltaSequences): string {
  const { uniforms, bindings, types, enter, isSame, load, store } = sequences;
  const each = Math.ceil(keyDim / lanes);
  return /* wgsl */ `
${uniformStruct({ ...deltaUniforms, ...uniforms })}
${
    declareBindings(bindings, {
      ...{ qkv: "f32", beta: "f32", dt: "f32", decay: storageType(dtype), y: "f32", ...types },
    })
  }
${loader("decay", dtype)}
// A thread's parts of S^T k, S^T q, k^T q and k^T k, and of q^T q.
var<workgroup> sums: array<vec4f, ${columns * lanes}>;
var<workgroup> squares: array<f32, ${columns * lanes}>;

fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0) / (1 + e);
}

// log(1 + exp(x)), also where 1 + exp(x) is rounded to 1.
fn softplus(x: f32) -> f32 {
  let e = exp(-abs(x));
  return max(x, 0.0) + select(log(1 + e), e * (1 - 0.5 * e), e < 1e-3);
}

@compute @workgroup_size(${columns * lanes})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let tiles = (uniforms.valueDim + ${columns - 1}) / ${columns};
  let begin = id / (tiles * uniforms.heads);
  if (begin >= uniforms.rows) { return; }
  let head = id / tiles % uniforms.heads;
  let column = (id % tiles) * ${columns} + local % ${columns};
  let lane = local / ${columns};
  let inside = column < uniforms.valueDim;
  let values = uniforms.heads * uniforms.valueDim;
${enter}
  var s: array<f32, ${each}>;
  for (var n = 0u; n < ${each}; n++) {
    let i = n * ${lanes} + lane;
    let index = (head * uniforms.keyDim + i) * uniforms.valueDim + column;
    s[n] = 0;
    if (inside && i < uniforms.keyDim) { s[n] = ${load}; }
  }
  let keys = uniforms.keyHeads * uniforms.keyDim;
  let key_head = head / (uniforms.heads / uniforms.keyHeads) * uniforms.keyDim;
  let rate = -exp(decay_at(head));
  let offset = decay_at(uniforms.heads + head);
  for (var row = begin; row < uniforms.rows; row++) {
    if (!(${isSame})) { break; }
    let q_at = row * (2 * keys + values) + key_head;
    var sum = vec4f();
    var square = 0.0;
    for (var n = 0u; n < ${each}; n++) {
      let i = n * ${lanes} + lane;
      if (i < uniforms.keyDim) {
        let q = qkv[q_at + i];
        let k = qkv[q_at + keys + i];
        sum += vec4f(s[n] * k, s[n] * q, k * q, k * k);
        square += q * q;
      }
    }
    sums[local] = sum;
    squares[local] = square;
    workgroupBarrier();
    var all = vec4f();
    var queries = 0.0;
    for (var n = local % ${columns}; n < ${columns * lanes}; n += ${columns}) {
      all += sums[n];
      queries += squares[n];
    }
    workgroupBarrier();
    let k_factor = inverseSqrt(all.w + 1e-6);
    let q_factor = inverseSqrt((queries + 1e-6) * f32(uniforms.keyDim));
    let factor = exp(rate * softplus(dt[row * uniforms.dtStride + uniforms.dtAt + head] + offset));
    var value = 0.0;
    if (inside) { value = qkv[q_at - key_head + 2 * keys + head * uniforms.valueDim + column]; }
    let learnt = sigmoid(beta[row * uniforms.betaStride + uniforms.betaAt + head]);
    let change = learnt * (value - factor * k_factor * all.x) * k_factor;
    if (inside && lane == 0) {
      y[row * values + head * uniforms.valueDim + column] = q_factor * (factor * all.y + change * all.z);
    }
    for (var n = 0u; n < ${each}; n++) {
      let i = n * ${lanes} + lane;
      if (i < uniforms.keyDim) { s[n] = factor * s[n] + change * qkv[q_at + keys + i]; }
    }
  }
  for (var n = 0u; n < ${each}; n++) {
    let i = n * ${lanes} + lane;
    let index = (head * uniforms.keyDim + i) * uniforms.valueDim + column;
    if (inside && i < uniforms.keyDim) { let value = s[n]; ${store} }
  }
}
`;
}

/** Throws where heads do not share keys evenly. */
export function checkDelta({ heads, keyHeads }: DeltaWords): void {
  if (heads % keyHeads !== 0) {
    throw new RangeError(
      `Cannot launch a delta rule of ${heads} heads: they must be a multiple of ${keyHeads}`,
    );
  }
}

type DeltaArrays = Readonly<Record<keyof typeof deltaBuffers | "y", TypedArray>>;

/** A token's query or key, times 1 / sqrt(its sum of squares + 1e-6). */
function unit(source: TypedArray, at: number, dim: number): Float64Array {
  const made = Float64Array.from({ length: dim }, (_, i) => source[at + i]);
  const factor = 1 / Math.sqrt(made.reduce((sum, value) => sum + value * value, 1e-6));
  return made.map((value) => value * factor);
}

/** One head of the rows of one sequence; `s` (keyDim, valueDim) is its state before and after them. */
export function deltaRows(
  { qkv, beta, dt, decay, y }: DeltaArrays,
  { begin, end, head, s }: {
    readonly begin: number;
    readonly end: number;
    readonly head: number;
    readonly s: Float64Array;
  },
  { keyHeads, heads, keyDim, valueDim, betaStride, betaAt, dtStride, dtAt }: DeltaWords,
): void {
  const keys = keyHeads * keyDim, width = 2 * keys + heads * valueDim;
  const keyAt = Math.floor(head / (heads / keyHeads)) * keyDim;
  const change = new Float64Array(valueDim), out = new Float64Array(valueDim);
  for (let row = begin; row < end; row++) {
    const q = unit(qkv, row * width + keyAt, keyDim), k = unit(qkv, row * width + keys + keyAt, keyDim);
    const x = dt[row * dtStride + dtAt + head] + decay[heads + head];
    const softplus = Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    const factor = Math.exp(-Math.exp(decay[head]) * softplus);
    const learnt = 1 / (1 + Math.exp(-beta[row * betaStride + betaAt + head]));
    change.fill(0);
    out.fill(0);
    for (let i = 0; i < keyDim; i++) {
      for (let j = 0; j < valueDim; j++) change[j] += factor * s[i * valueDim + j] * k[i];
    }
    const valueAt = row * width + 2 * keys + head * valueDim;
    for (let j = 0; j < valueDim; j++) change[j] = learnt * (qkv[valueAt + j] - change[j]);
    for (let i = 0; i < keyDim; i++) {
      for (let j = 0; j < valueDim; j++) {
        const value = factor * s[i * valueDim + j] + k[i] * change[j];
        s[i * valueDim + j] = value;
        out[j] += value * q[i];
      }
    }
    for (let j = 0; j < valueDim; j++) {
      y[(row * heads + head) * valueDim + j] = out[j] / Math.sqrt(keyDim);
    }
  }
}
