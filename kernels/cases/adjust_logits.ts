import { adjustLogits, inPrompt, noExtra } from "../adjust_logits.ts";
import { normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases, shuffled } from "./case.ts";

/** Lists of the first tokens of a vocabulary in any order, `each` a row; late tokens are in them or not. */
function sized(rows: number, vocab: number, each: number): CaseOf<typeof adjustLogits> {
  const size = rows * each, outputs = rows + 1;
  return {
    name: `${rows} rows of ${vocab}, ${each} entries each`,
    uniforms: { rows, vocab, size, outputs },
    make(random) {
      const entries = new Uint32Array(3 * size), biases = new Float32Array(entries.buffer);
      for (let r = 0; r < rows; r++) {
        const tokens = shuffled(vocab, random);
        for (let i = 0; i < each; i++) {
          const at = 3 * (r * each + i);
          entries[at] = tokens[i];
          entries[at + 1] = [0, 1, inPrompt, inPrompt + 3, 200][i % 5];
          biases[at + 2] = i % 3 === 0 ? 0 : 4 * random() - 2;
        }
      }
      return {
        logits: normals(rows * vocab, random, 3),
        strengths: Float32Array.from(
          { length: 3 * rows },
          (_, i) => [0.5, -0.25, 1.5][i % 3] + 0.1 * random(),
        ),
        lists: Uint32Array.from(
          { length: 3 * rows },
          (_, i) =>
            [each * Math.floor(i / 3), each * Math.floor(i / 3 + 1), sourceOf(Math.floor(i / 3))][i % 3],
        ),
        entries,
        sampled: Uint32Array.from(
          { length: outputs },
          (_, o) => o % 4 === 3 ? noExtra : Math.floor(random() * vocab),
        ),
        kept: new Float32Array(size + rows).fill(7),
        extra: new Uint32Array(rows).fill(9),
      };
    },
  };
}

/** Every third row has no late token. */
const sourceOf = (row: number): number => row % 3 === 2 ? noExtra : row;

/** Cases of {@linkcode adjustLogits}. */
export const adjustLogitsCases: KernelCases = casesFor(adjustLogits, {
  cases: [sized(1, 1, 1), sized(3, 7, 0), sized(9, 11, 7), sized(5, 300, 257), sized(2, 4001, 3000)],
  benches: [{ ...sized(64, 128256, 512), bytes: 64 * 512 * 24 }],
});
