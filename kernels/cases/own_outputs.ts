import { normals } from "../kernel.ts";
import { ownOutputs } from "../own_outputs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { ownRecords } from "./own.ts";

function sized(
  rows: number,
  { in: inSize, out, count }: { readonly in: number; readonly out: number; readonly count: number },
): CaseOf<typeof ownOutputs> {
  const { uniforms, ...own } = ownRecords(
    rows,
    (slot) => [slot * count, 3 + slot * count * inSize, count - Number(slot > 0 && count > 1), 0],
  );
  return {
    name: `${rows} x ${inSize}, ${count} of ${out}`,
    uniforms: { ...uniforms, in: inSize, out, most: count },
    make: (random) => ({
      ...own,
      x: normals(rows * inSize, random),
      tables: Uint32Array.from({ length: 3 * count }, (_, i) => 2 * (i % count)),
      values: normals(3 + 3 * count * inSize, random),
      y: normals(rows * out, random),
    }),
  };
}

/** Cases of {@linkcode ownOutputs}. */
export const ownOutputsCases: KernelCases = casesFor(ownOutputs, {
  cases: [
    sized(1, { in: 1, out: 1, count: 1 }),
    sized(5, { in: 65, out: 9, count: 5 }),
    sized(9, { in: 256, out: 31, count: 7 }),
  ],
});
