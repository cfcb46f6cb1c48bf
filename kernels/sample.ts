import { type Case, defineKernel, grid, type Kernel, normals, type TypedArray } from "./kernel.ts";
import { chooseWgsl } from "./sample/choose.ts";
import { slicesWgsl } from "./sample/slices.ts";
import { sliceCount, uniforms } from "./sample/wgsl.ts";

type Buffers = "logits" | "params" | "tokens";
type Uniforms = "rows" | "vocab";

/** How a row is sampled; see the kernel's documentation. */
interface Choice {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
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

function weighted(values: TypedArray, temperature: number): Weighted {
  const max = values[greedy(values)];
  return { values, weights: Float64Array.from(values, (value) => weightOf(value, max, temperature)) };
}

function sumFrom({ values, weights }: Weighted, floor: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) if (values[i] >= floor) sum += weights[i];
  return sum;
}

/** The smallest logit that top-k and top-p keep. */
function keptFloor(row: Weighted, { temperature, topP, topK }: Choice): number {
  const { values } = row;
  const n = values.length, k = Math.floor(topK);
  const limited = k >= 1 && k < n;
  if (!limited && !(topP < 1)) return -Infinity;
  const sorted = values.slice().sort();
  const floor = limited ? sorted[n - k] : -Infinity;
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

function sampleRow(logits: TypedArray, choice: Choice, u: number): number {
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

/** The middle of the step that `at` of the whole falls on: as far as can be from where rounding decides. */
function middle(steps: Float64Array, at: number): number {
  const all = steps.reduce((a, b) => a + b, 0);
  let before = 0;
  for (const step of steps) {
    if (before + step > at * all) return (before + step / 2) / all;
    before += step;
  }
  return 0.5;
}

/** Row parameters whose u and top_p lie in the middle of a step, for u at least 1e-4 wide. */
function settled(logits: Float32Array, choice: Choice, random: () => number): number[] {
  const { temperature, topK } = choice;
  const settles = temperature > 0 && logits.every(Number.isFinite);
  if (!settles) return [temperature, choice.topP, topK, random()];
  const row = weighted(logits, temperature);
  const kept = (floor: number) => row.weights.map((w, i) => row.values[i] >= floor ? w : 0);
  const descending = kept(keptFloor(row, { ...choice, topP: 1 })).sort().reverse();
  const topP = choice.topP > 0 && choice.topP < 1 ? middle(descending, choice.topP) : choice.topP;
  const steps = kept(keptFloor(row, { temperature, topK, topP }));
  const all = steps.reduce((a, b) => a + b, 0);
  for (let tries = 0; tries < 1000; tries++) {
    const u = middle(steps, random());
    if (steps[sampleRow(logits, { temperature, topK, topP }, u)] / all > 1e-4) {
      return [temperature, topP, topK, u];
    }
  }
  throw new RangeError("Cannot make a sampling case: no token has a probability over 1e-4");
}

const choices: readonly Choice[] = [
  { temperature: 0, topP: 1, topK: 0 },
  { temperature: 1, topP: 1, topK: 0 },
  { temperature: 0.7, topP: 0.9, topK: 0 },
  { temperature: 1.3, topP: 1, topK: 5 },
  { temperature: 0.8, topP: 0.5, topK: 20 },
  { temperature: 1, topP: 0, topK: 0 },
  { temperature: 1, topP: 1, topK: 1 },
];

function sized(
  rows: number,
  vocab: number,
  edit: (logits: Float32Array) => void = () => {},
  note = "",
): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${vocab}${note}`,
    uniforms: { rows, vocab },
    make(random) {
      const logits = normals(rows * vocab, random, 3);
      edit(logits);
      const params = Array.from(
        { length: rows },
        (_, r) => settled(logits.subarray(r * vocab, (r + 1) * vocab), choices[r % choices.length], random),
      );
      return {
        logits,
        params: Float32Array.from(params.flat()),
        tokens: new Uint32Array(rows).fill(0xfffffffe),
      };
    },
  };
}

/** Finite, and less than what a model says: the logit of a token that may not be drawn. */
const lowest = -3.4028234663852886e38;

/** Draws a token from each row of logits. */
export const sample: Kernel<Buffers, Uniforms> = defineKernel({
  name: "sample",
  doc:
    "tokens[r] is drawn from softmax(logits[r] / temperature). Kept are the logits not below the top_k-th largest " +
    "(0: all), and of these the fewest of the largest whose probabilities, renormalised, sum to top_p (at least one; " +
    "equal logits stay together). The token is the first, in index order, where the running sum of kept " +
    "probabilities passes u. A temperature of 0 takes the largest logit, the lowest index among equals. " +
    "A row with a logit that is NaN or infinite has no token: 0xffffffff stands in its place.",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, vocab), row-major" },
    params: { access: "read", dtypes: ["float32"], doc: "(rows, 4): temperature, top_p, top_k, u in [0, 1)" },
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
      const [temperature, topP, topK, u] = params.subarray(4 * r, 4 * r + 4);
      tokens[r] = sampleRow(logits.subarray(r * vocab, (r + 1) * vocab), { temperature, topP, topK }, u);
    }
  },
  wasm: ({ rows, vocab }) => ({
    function: "sample",
    args: ["logits", vocab, "params", "tokens", "work", rows, vocab],
    scratch: { work: 256 * 12 + 4 * (vocab + 3) },
  }),
  tolerance: 0,
  cases: [
    sized(7, 1),
    sized(14, 2),
    sized(14, 251),
    sized(7, 256),
    sized(7, 257),
    sized(7, 4096),
    sized(7, 66000),
    sized(2, 530001),
    sized(7, 5003, (logits) => logits.forEach((value, i) => logits[i] = value / 30), ", nearly flat"),
    sized(7, 12000, (logits) => logits.forEach((value, i) => logits[i] = Math.round(value)), ", many equal"),
    sized(7, 300, (logits) => logits.fill(2), ", all equal"),
    sized(7, 300, (logits) => logits.fill(lowest), ", all the lowest number"),
    sized(
      7,
      300,
      (logits) => logits.forEach((_, i) => i % 3 && logits.set([[lowest, -0, 0][i % 4 % 3]], i)),
      ", the lowest number and signed zeros among them",
    ),
    sized(2, 9, (logits) => logits.set([3e38, -3e38, lowest, -lowest], 11), ", near the ends of float32"),
    sized(7, 300, (logits) => logits.fill(NaN), ", all NaN"),
    sized(7, 5003, (logits) => logits.set([NaN], 4999), ", one NaN in a later slice"),
    sized(1, 66000, (logits) => logits.set([-Infinity], 65999), ", an infinity at the end"),
    // Seven rows of each: one for every choice of a token.
    ...[0x7fc00000, 0xffc00000, 0x7f800001, 0x7f800000, 0xff800000].map((bits) =>
      sized(
        14,
        300,
        (logits) => {
          const words = new Uint32Array(logits.buffer);
          for (let r = 0; r < 7; r++) words[300 * r + [0, 1, 2, 150, 297, 298, 299][r]] = bits;
        },
        `, of half of them one 0x${bits.toString(16)}`,
      )
    ),
  ],
  benches: [{ ...sized(16, 128256), bytes: 16 * 128256 * 4 }],
});
