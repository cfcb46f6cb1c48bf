import { circulantSpectra, circulantTable } from "../circulant/blocks.ts";
import { circulantLinear } from "../circulant_linear.ts";
import { normals } from "../kernel.ts";
import { bitsOf, noSlot, recordWords } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Sizes of a case, and each adapter's block size; 0 for an adapter of other linears. */
interface BankSize {
  readonly rows: number;
  readonly in: number;
  readonly outs: readonly number[];
  readonly blocks: readonly number[];
}

/** Rows take the adapters in turn, and then none; a linear before stands empty. */
function sized(
  { rows, in: inSize, outs, blocks }: BankSize,
): CaseOf<typeof circulantLinear> {
  const [out0, out1 = 0, out2 = 0] = outs, capacity = blocks.length + 1;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, blocks of ${blocks}`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const tables: number[] = [7], values: number[] = [NaN, NaN, NaN];
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords);
      outs.forEach((out, i) =>
        blocks.forEach((block, slot) => {
          if (block === 0) return;
          const kernels = normals(out / block * inSize, random, 1 / Math.sqrt(inSize));
          records.set(
            [tables.length, values.length, block, bitsOf(0.5 + slot + i)],
            ((1 + i) * capacity + slot) * recordWords,
          );
          for (const word of circulantTable(block)) tables.push(word);
          for (const value of circulantSpectra(kernels, { out, in: inSize, block })) values.push(value);
        })
      );
      const choices = blocks.length + (rows > 1 ? 1 : 0);
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(
          { length: rows },
          (_, row) => row % choices < blocks.length ? row % choices : noSlot,
        ),
        records,
        tables: Uint32Array.from(tables),
        values: Float32Array.from(values),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode circulantLinear}. */
export const circulantLinearCases: KernelCases = casesFor(circulantLinear, {
  cases: [
    sized({ rows: 1, in: 1, outs: [1], blocks: [1] }),
    sized({ rows: 3, in: 12, outs: [18], blocks: [1, 2, 3, 6] }),
    sized({ rows: 4, in: 35, outs: [70], blocks: [5, 7, 35] }),
    sized({ rows: 5, in: 60, outs: [60, 15, 30], blocks: [15, 0, 5] }),
    sized({ rows: 2, in: 1100, outs: [1133], blocks: [11, 1] }),
    sized({ rows: 2, in: 688, outs: [2064], blocks: [344, 172, 43] }),
    sized({ rows: 3, in: 1024, outs: [512, 2048], blocks: [256, 64, 512] }),
    sized({ rows: 2, in: 3 * 1030, outs: [2 * 1030], blocks: [515, 1030] }),
    sized({ rows: 1, in: 2048, outs: [4096], blocks: [2048, 1024] }),
    sized({ rows: 130, in: 8, outs: [1024], blocks: [8, 4] }),
    sized({ rows: 64, in: 6, outs: [4098], blocks: [6, 3, 2] }),
    sized({ rows: 1, in: 1031, outs: [1031], blocks: [1031] }),
  ],
  benches: [1, 64, 512, 4096].map((rows) => ({
    ...sized({ rows, in: 4096, outs: [4096], blocks: [256] }),
    bytes: 4 * (rows * 3 * 4096 + 4096 * 16),
  })),
});
