import { normals } from "../kernel.ts";
import { maskLogits, noMask } from "../mask_logits.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Every third row has no mask; rows share masks. */
function sized(rows: number, vocab: number, masks: number): CaseOf<typeof maskLogits> {
  return {
    name: `${rows} rows of ${vocab}, ${masks} masks`,
    uniforms: { rows, vocab },
    make: (random) => ({
      logits: normals(rows * vocab, random),
      which: Uint32Array.from({ length: rows }, (_, r) => r % 3 === 2 ? noMask : r % masks),
      masks: Uint32Array.from({ length: masks * Math.ceil(vocab / 32) }, () => random() * 2 ** 32),
      masked: new Float32Array(rows * vocab).fill(NaN),
    }),
  };
}

/** Cases of {@linkcode maskLogits}. */
export const maskLogitsCases: KernelCases = casesFor(maskLogits, {
  cases: [sized(1, 1, 1), sized(3, 33, 2), sized(5, 1031, 4)],
  benches: [{ ...sized(64, 128256, 64), bytes: 64 * (8 * 128256 + 128256 / 8) }],
});
