import { nextTokens } from "../next_tokens.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Every third row has a token of its own. */
function sized(rows: number, outputs: number): CaseOf<typeof nextTokens> {
  return {
    name: `${rows} rows, of ${outputs} outputs`,
    uniforms: { rows, outputs },
    make: (random) => ({
      tokens: Uint32Array.from({ length: rows }, () => Math.floor(1000 * random())),
      from: Uint32Array.from(
        { length: rows },
        (_, r) => r % 3 === 0 ? 0xffffffff - r : Math.floor(outputs * random()),
      ),
      sampled: Uint32Array.from({ length: outputs }, () => 1000 + Math.floor(1000 * random())),
      ids: new Uint32Array(rows).fill(0xffffffff),
    }),
  };
}

/** Cases of {@linkcode nextTokens}. */
export const nextTokensCases: KernelCases = casesFor(nextTokens, {
  cases: [sized(1, 1), sized(2, 1), sized(255, 7), sized(257, 64)],
  benches: [{ ...sized(256, 256), bytes: 4 * 4 * 256 }],
});
