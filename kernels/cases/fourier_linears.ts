import { fourierLinears } from "../fourier_linears.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { mixedArrays, mixedBank, type MixedSize } from "./fourier_adapters.ts";

type Size = MixedSize & { readonly outs: readonly [number, number?, number?] };

function mixed(name: string, size: Size): CaseOf<typeof fourierLinears> {
  const [out0, out1 = 0, out2 = 0] = size.outs;
  return {
    name,
    uniforms: { rows: size.rows, in: size.in, out0, out1, out2, ...mixedBank(size) },
    make: (random) => mixedArrays(size, random),
  };
}

function bench(size: Size): BenchOf<typeof fourierLinears> {
  const columns = size.outs.reduce<number>((sum, out) => sum + (out ?? 0), 0);
  return {
    ...mixed(`${size.outs.join(", ")} x ${size.in}, T = ${size.rows}`, size),
    // A test's case has rows without an adapter, too: here all have one, as the bytes are counted.
    make: (random) => ({ ...mixedArrays(size, random), slots: new Uint32Array(size.rows) }),
    bytes: 4 * size.rows * (size.in + 2 * columns),
  };
}

const qkv = [4096, 1024, 1024] as const;

const gateUp = [8192, 8192] as const;

/** Cases of {@linkcode fourierLinears}. */
export const fourierLinearsCases: KernelCases = casesFor(fourierLinears, {
  cases: [
    mixed("one linear", { rows: 3, in: 12, outs: [8], adapters: [9] }),
    mixed("one element each", { rows: 2, in: 1, outs: [1, 1, 1], adapters: [1] }),
    mixed("the first alone has coefficients", { rows: 4, in: 8, outs: [12, 12], adapters: [3, 2, 0] }),
    mixed("odd between even", { rows: 3, in: 10, outs: [16, 7, 6], adapters: [30, 12] }),
    mixed("q, k, v: 256, 64, 64 x 256", { rows: 5, in: 256, outs: [256, 64, 64], adapters: [500, 90] }),
    mixed("gate, up: 2 x 768 x 256", { rows: 3, in: 256, outs: [768, 768], adapters: [1000, 200] }),
    mixed("three lengths", { rows: 2, in: 96, outs: [37, 768, 130], adapters: [100] }),
    mixed("many rows, x once", { rows: 259, in: 24, outs: [128, 7, 128], adapters: [40, 3, 0] }),
    mixed("residues in and in one out", { rows: 3, in: 18944, outs: [64, 17408, 37], adapters: [40, 2] }),
  ],
  benches: [
    ...[1, 64, 4096].map((rows) => bench({ rows, in: 4096, outs: qkv, adapters: [1000] })),
    ...[1, 64, 4096].map((rows) => bench({ rows, in: 2048, outs: gateUp, adapters: [1000] })),
  ],
});
