/**
 * `fourier_linear`: y += x dW^T without dW, each row with its own adapter.
 *
 * dW = scale * Re(IDFT2(F)) has n nonzero frequencies, so a row costs one real transform of x, n multiply-adds from
 * input bins to output bins, and one real transform back (Gao et al. 2024, arXiv 2405.03003, equations 2-4).
 *
 * @module
 */
import { cpuLinears, referenceLinears } from "./fourier/linears_cpu.ts";
import { launchLinears, type Linears, type LinearsBuffer } from "./fourier/linears.ts";
import { wasmLinears } from "./fourier/linears_wasm.ts";
import { mixedArrays, mixedBank, type MixedSize } from "./fourier/linears_case.ts";
import { type BufferSpec, type Case, defineKernel, type Kernel } from "./kernel.ts";
import { noSlot } from "./record.ts";

const uniforms = { rows: "u32", in: "u32", out: "u32", layer: "u32", capacity: "u32" } as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;

const linearsOf = ({ out, ...rest }: Uniforms): Linears => ({ ...rest, outs: [out] });

/** Makes a case: `rows` rows, each with one of `adapters` (n of each) or none, at layer 1 of 2. */
function mixed(
  name: string,
  { out, ...rest }: Omit<MixedSize, "outs"> & { readonly out: number },
): Case<LinearsBuffer, keyof typeof uniforms> {
  const size = { ...rest, outs: [out] };
  return {
    name,
    uniforms: { rows: size.rows, in: size.in, out, ...mixedBank(size) },
    make: (random) => mixedArrays(size, random),
  };
}

const read = (dtype: "float32" | "uint32", doc: string): BufferSpec => ({
  access: "read",
  dtypes: [dtype],
  doc,
});

/** See the module's documentation. */
export const fourierLinear: Kernel<LinearsBuffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_linear",
  doc: "y (rows, out) += x (rows, in) dW^T, where row r has the dW of adapter slots[r], or none. " +
    "No (out, in) matrix is formed. Any lengths from 1 to 2^20.",
  buffers: {
    x: read("float32", "(rows, in)"),
    slots: read("uint32", `(rows): the row's adapter, ${noSlot} for none`),
    records: read(
      "uint32",
      "(layers, capacity, 4): offset of the adapter's table in `tables`, offset of its coefficients in `values`, " +
        "their number (0 adds nothing), and the factor scaling / (out * in) as float32 bits",
    ),
    tables: read(
      "uint32",
      "tables of `fourierTable` with destination out and source in, one after the other",
    ),
    values: read("float32", "coefficients in their table's order"),
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), added to" },
  },
  uniforms,
  launch: (call, limits) => launchLinears(linearsOf(call.uniforms), { uniforms, limits }),
  reference: (arrays, words) => referenceLinears(arrays, linearsOf(words)),
  cpu: (arrays, words) => cpuLinears(arrays, linearsOf(words)),
  wasm: (words) => wasmLinears(linearsOf(words)),
  tolerance: 1e-6,
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
