import { normals } from "../kernel.ts";
import { drawnToken, mostLogprobs, mostTop, nothingWanted, tokenLogprobs } from "../token_logprobs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Rows want 0, 1, 2, ... of the likeliest, of their drawn token or of another; the last of several wants nothing. */
function sized(rows: number, vocab: number, { coarse = false } = {}): CaseOf<typeof tokenLogprobs> {
  return {
    name: `${rows} rows of ${vocab}${coarse ? ", many equal" : ""}`,
    uniforms: { rows, vocab },
    make(random) {
      const logits = normals(rows * vocab, random).map((x) => coarse ? Math.round(2 * x) / 2 : 5 * x);
      const token = (): number => Math.floor(random() * vocab);
      const wanted = Uint32Array.from({ length: 2 * rows }, (_, i) => {
        const row = i >>> 1;
        if (i % 2 === 0) return row % 2 === 0 ? drawnToken : token();
        return row > 0 && row === rows - 1 ? nothingWanted : [20, 0, 5, 1][row % 4];
      });
      return {
        logits,
        wanted,
        sampled: Uint32Array.from({ length: rows }, token),
        top: new Uint32Array(rows * mostTop).fill(0xffffffff),
        logprobs: new Float32Array(rows * mostLogprobs).fill(NaN),
      };
    },
  };
}

/** Cases of {@linkcode tokenLogprobs}. */
export const tokenLogprobsCases: KernelCases = casesFor(tokenLogprobs, {
  cases: [sized(1, 1), sized(3, 7), sized(6, 1031), sized(5, 300, { coarse: true })],
  benches: [{ ...sized(64, 128256), bytes: 64 * 4 * 128256 }],
});
