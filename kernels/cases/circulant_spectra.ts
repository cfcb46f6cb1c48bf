import { blocksOf, circulantTable } from "../circulant/blocks.ts";
import { circulantSpectraOf } from "../circulant_spectra.ts";
import { nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(
  out: number,
  inSize: number,
  block: number,
  transposed = 0,
): CaseOf<typeof circulantSpectraOf> {
  const { half, size } = blocksOf(block), offset = 3;
  return {
    name: `(${out}, ${inSize}) in blocks of ${block}${transposed ? ", transposed" : ""}`,
    uniforms: { out, in: inSize, block, offset, transposed },
    make: (random) => ({
      kernels: normals(offset + out / block * inSize, random),
      tables: circulantTable(block),
      spectra: nans(out / size * (inSize / size) * half * 2),
    }),
  };
}

/** Cases of {@linkcode circulantSpectraOf}. */
export const circulantSpectraOfCases: KernelCases = casesFor(circulantSpectraOf, {
  cases: [
    sized(1, 1, 1),
    sized(6, 4, 2),
    sized(15, 30, 15, 1),
    sized(24, 12, 12, 1),
    sized(514, 257, 257),
    sized(2060, 1030, 1030, 1),
  ],
  benches: [{ ...sized(4096, 4096, 256), bytes: 4 * 2 * 4096 * 16, flops: 4 * 4096 * 16 * 128 }],
});
