import { defineKernel, grid, type Kernel, type TypedArray } from "./kernel.ts";
import { chooseWgsl } from "./sample/choose.ts";
import { slicesWgsl } from "./sample/slices.ts";
import { sliceCount, uniforms } from "./sample/wgsl.ts";

type Buffers = "logits" | "params" | "tokens";
type Uniforms = "rows" | "vocab";

/** How a row is sampled; see the kernel's documentation. */
export interface Choice {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  /** How far below the largest logit a kept one may be; below 0, or absent: any distance. */
  readonly depth?: number;
}

/** A row's logits and their weights; the largest logit weighs 1. */
interface Weighted {
  readonly values: TypedArray;
  readonly weights: Float64Array;
}

/** What stands in place of a token where a row has a logit that is no finite number. */
export const noToken = 0xffffffff;

/** As `weight_of` in the WGSL: 1 for the largest, at any temperature. */
const weightOf = (value: number, max: number, temperature: number): number =>
  value === max ? 1 : Math.exp((value - max) / temperature);

export function weighted(values: TypedArray, temperature: number): Weighted {
  const max = values[greedy(values)];
  return { values, weights: Float64Array.from(values, (value) => weightOf(value, max, temperature)) };
}

function sumFrom({ values, weights }: Weighted, floor: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) if (values[i] >= floor) sum += weights[i];
  return sum;
}

/** The smallest logit that top-k and top-p keep. */
export function keptFloor(row: Weighted, { temperature, topP, topK, depth = -1 }: Choice): number {
  const { values } = row;
  const n = values.length, k = Math.floor(topK);
  const limited = k >= 1 && k < n;
  const deepest = depth >= 0 ? Math.fround(values[greedy(values)] - depth) : -Infinity;
  if (!limited && !(topP < 1)) return deepest;
  const sorted = values.slice().sort();
  const floor = Math.max(deepest, limited ? sorted[n - k] : -Infinity);
  if (!(topP < 1)) return floor;
  const wanted = topP * sumFrom(row, floor);
  let sum = 0;
  for (let i = n - 1; i >= 0; i--) {
    sum += weightOf(sorted[i], sorted[n - 1], temperature);
    if (sum >= wanted) return Math.max(sorted[i], floor);
  }
  return floor;
}

function greedy(logits: TypedArray): number {
  let best = 0, most = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > most) {
      most = logits[i];
      best = i;
    }
  }
  return best;
}

export function sampleRow(logits: TypedArray, choice: Choice, u: number): number {
  for (let i = 0; i < logits.length; i++) if (!Number.isFinite(logits[i])) return noToken;
  if (!(choice.temperature > 0)) return greedy(logits);
  const row = weighted(logits, choice.temperature);
  const floor = keptFloor(row, choice);
  const target = u * sumFrom(row, floor);
  const { values, weights } = row;
  let running = 0, last = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < floor || weights[i] === 0) continue;
    running += weights[i];
    last = i;
    if (running > target) break;
  }
  return last;
}

/** Draws a token from each row of logits. */
export const sample: Kernel<Buffers, Uniforms> = defineKernel({
  name: "sample",
  doc:
    "tokens[r] is drawn from softmax(logits[r] / temperature). Kept are the logits not below the top_k-th largest " +
    "(0: all) nor further below the largest than depth (less than 0: all), and of these the fewest of the largest whose probabilities, renormalised, sum to top_p (at least one; " +
    "equal logits stay together). The token is the first, in index order, where the running sum of kept " +
    "probabilities passes u. A temperature of 0 takes the largest logit, the lowest index among equals. " +
    "A row with a logit that is NaN or infinite has no token: 0xffffffff stands in its place.",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, vocab), row-major" },
    params: {
      access: "read",
      dtypes: ["float32"],
      doc: "(rows, 5): temperature, top_p, top_k, u in [0, 1), depth",
    },
    tokens: { access: "read_write", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch({ uniforms: { rows, vocab } }, limits) {
    if (vocab < 1) throw new RangeError("Cannot sample from a vocabulary of 0");
    const slices = rows * sliceCount(vocab);
    const inputs = [{ name: "logits", access: "read" }, { name: "params", access: "read" }] as const;
    return {
      dispatches: [
        {
          wgsl: slicesWgsl(vocab),
          bindings: [...inputs, { name: "slices", access: "read_write" }],
          grid: grid(slices, limits),
        },
        {
          wgsl: chooseWgsl(vocab, limits),
          bindings: [...inputs, { name: "slices", access: "read" }, { name: "tokens", access: "read_write" }],
          grid: grid(rows, limits),
        },
      ],
      scratch: { slices: 16 * Math.max(1, slices) },
    };
  },
  reference({ logits, params, tokens }, { rows, vocab }) {
    for (let r = 0; r < rows; r++) {
      const [temperature, topP, topK, u, depth] = params.subarray(5 * r, 5 * r + 5);
      tokens[r] = sampleRow(
        logits.subarray(r * vocab, (r + 1) * vocab),
        { temperature, topP, topK, depth },
        u,
      );
    }
  },
  wasm: ({ rows, vocab }) => ({
    function: "sample",
    args: ["logits", vocab, "params", "tokens", "work", vocab],
    items: rows,
    work: 16 * rows * vocab,
    each: { work: 256 * 12 + 4 * (vocab + 3) },
  }),
  tolerance: 0,
});
