import { normals } from "../kernel.ts";
import { type Choice, keptFloor, sample, sampleRow, weighted } from "../sample.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

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
  const { temperature, topK, depth = -1 } = choice;
  const settles = temperature > 0 && logits.every(Number.isFinite);
  if (!settles) return [temperature, choice.topP, topK, random(), depth];
  const row = weighted(logits, temperature);
  const kept = (floor: number) => row.weights.map((w, i) => row.values[i] >= floor ? w : 0);
  const descending = kept(keptFloor(row, { ...choice, topP: 1 })).sort().reverse();
  const topP = choice.topP > 0 && choice.topP < 1 ? middle(descending, choice.topP) : choice.topP;
  const steps = kept(keptFloor(row, { temperature, topK, topP, depth }));
  const all = steps.reduce((a, b) => a + b, 0);
  for (let tries = 0; tries < 1000; tries++) {
    const u = middle(steps, random());
    if (steps[sampleRow(logits, { temperature, topK, topP, depth }, u)] / all > 1e-4) {
      return [temperature, topP, topK, u, depth];
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

/** The same, and logits no further below the largest than some depth. */
const deep: readonly Choice[] = choices.map((choice, i) => ({ ...choice, depth: [2, 0.5, 6, 0][i % 4] }));

function sized(
  rows: number,
  vocab: number,
  edit: (logits: Float32Array) => void = () => {},
  note = "",
  of: readonly Choice[] = choices,
): CaseOf<typeof sample> {
  return {
    name: `${rows} rows of ${vocab}${note}`,
    uniforms: { rows, vocab },
    make(random) {
      const logits = normals(rows * vocab, random, 3);
      edit(logits);
      const params = Array.from(
        { length: rows },
        (_, r) => settled(logits.subarray(r * vocab, (r + 1) * vocab), of[r % of.length], random),
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

/** Cases of {@linkcode sample}. */
export const sampleCases: KernelCases = casesFor(sample, {
  cases: [
    sized(7, 1),
    sized(14, 2),
    sized(14, 251),
    sized(7, 256),
    sized(7, 257),
    sized(7, 4096),
    sized(7, 66000),
    sized(28, 251, () => {}, ", by depth", deep),
    sized(
      7,
      12000,
      (logits) => logits.forEach((value, i) => logits[i] = Math.round(value)),
      ", equal by depth",
      deep,
    ),
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
