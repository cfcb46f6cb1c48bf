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
import { type BufferSpec, defineKernel, type Kernel } from "./kernel.ts";
import { noSlot } from "./record.ts";

const uniforms = { rows: "u32", in: "u32", out: "u32", linear: "u32", capacity: "u32" } as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;

const linearsOf = ({ out, ...rest }: Uniforms): Linears => ({ ...rest, outs: [out] });

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
      "(linears, capacity, 4): offset of the adapter's table in `tables`, offset of its coefficients in `values`, " +
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
  adds: "y",
  launch: (call, limits) => launchLinears(linearsOf(call.uniforms), { uniforms, limits }),
  reference: (arrays, words) => referenceLinears(arrays, linearsOf(words)),
  cpu: (arrays, words) => cpuLinears(arrays, linearsOf(words)),
  wasm: (words) => wasmLinears(linearsOf(words)),
  tolerance: 1e-6,
});
