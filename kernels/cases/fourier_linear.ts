import { fourierLinear } from "../fourier_linear.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { mixedArrays, mixedBank, type MixedSize } from "./fourier_adapters.ts";

/** Makes a case: `rows` rows, each with one of `adapters` (n of each) or none, of linear 1 of 2. */
function mixed(
  name: string,
  { out, ...rest }: Omit<MixedSize, "outs"> & { readonly out: number },
): CaseOf<typeof fourierLinear> {
  const size = { ...rest, outs: [out] };
  return {
    name,
    uniforms: { rows: size.rows, in: size.in, out, ...mixedBank(size) },
    make: (random) => mixedArrays(size, random),
  };
}

/** Cases of {@linkcode fourierLinear}. */
export const fourierLinearCases: KernelCases = casesFor(fourierLinear, {
  cases: [
    mixed("one element", { rows: 1, in: 1, out: 1, adapters: [1] }),
    mixed("smallest even", { rows: 2, in: 2, out: 2, adapters: [4] }),
    mixed("odd by even, all frequencies", { rows: 3, in: 6, out: 7, adapters: [42, 1] }),
    mixed("prime by prime", { rows: 2, in: 37, out: 53, adapters: [100] }),
    mixed("no adapter but none, n = 0", { rows: 3, in: 8, out: 12, adapters: [0, 5] }),
    mixed("mixed rows 256 x 768", { rows: 5, in: 768, out: 256, adapters: [1000, 500, 30] }),
    mixed("more coefficients than products are held, and fewer", {
      rows: 3,
      in: 192,
      out: 160,
      adapters: [2500, 90],
    }),
    mixed("mixed rows 768 x 96", { rows: 4, in: 96, out: 768, adapters: [200, 300] }),
    mixed("radices 3, 5, 7, 11, 13", { rows: 2, in: 2 * 3 * 5 * 7, out: 11 * 13 * 4, adapters: [64] }),
    mixed("looped radices 17, 37", { rows: 2, in: 17 * 38, out: 37 * 2 * 3, adapters: [64] }),
    mixed("looped radices 19, 43", { rows: 2, in: 19 * 256, out: 43 * 64, adapters: [64] }),
    mixed("looped radix 221, more invocations than outputs", { rows: 2, in: 221, out: 42, adapters: [64] }),
    mixed("4096 in one workgroup", { rows: 2, in: 4096, out: 4096, adapters: [50] }),
    mixed("long in and out", { rows: 2, in: 11008, out: 9216, adapters: [20, 10] }),
    mixed("residues in and out", { rows: 2, in: 17408, out: 28672, adapters: [10] }),
    mixed("residues out only", { rows: 2, in: 64, out: 21504, adapters: [50] }),
    mixed("odd and long", { rows: 1, in: 3 * 1375, out: 5 * 847, adapters: [12] }),
    mixed("prime and long", { rows: 1, in: 4099, out: 4111, adapters: [3] }),
  ],
  benches: [[4096, 1, 1], [4096, 64, 64], [4096, 512, 1], [4096, 4096, 1], [4096, 4096, 1024], [
    8192,
    4096,
    1,
  ]].map(
    ([d, rows, adapters]) => ({
      ...mixed(`${d} x ${d}, T = ${rows}, ${adapters} adapters`, {
        rows,
        in: d,
        out: d,
        adapters: Array.from({ length: adapters }, () => 1000),
      }),
      bytes: 4 * rows * 3 * d,
    }),
  ),
});
