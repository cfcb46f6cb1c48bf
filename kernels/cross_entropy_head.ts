import { type Case, defineKernel, type DType, type Kernel, nans, normals } from "./kernel.ts";
import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, noTarget, type Uniforms, uniforms } from "./cross_entropy/launch.ts";
import { narrow } from "./half.ts";

type Buffers = "hidden" | "weight" | "targets" | "losses" | "dhidden";

interface CaseSizes {
  readonly rows: number;
  readonly dim: number;
  readonly vocab: number;
  readonly dtype?: DType;
}

/** Every fifth row has no target. */
function sized({ rows, dim, vocab, dtype = "float32" }: CaseSizes): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${dim}, vocabulary of ${vocab}, ${dtype}`,
    uniforms: { rows, dim, vocab, scale: 1 / rows },
    dtypes: { weight: dtype },
    make: (random) => ({
      hidden: normals(rows * dim, random),
      weight: narrow(normals(vocab * dim, random, 2 / Math.sqrt(dim)), dtype),
      targets: Uint32Array.from(
        { length: rows },
        (_, r) => r % 5 === 4 ? noTarget : Math.floor(random() * vocab),
      ),
      losses: nans(rows),
      dhidden: nans(rows * dim),
    }),
  };
}

function bench(sizes: CaseSizes): Kernel<Buffers, Uniforms>["benches"][number] {
  const { rows, dim, vocab, dtype = "float32" } = sizes;
  return {
    ...sized(sizes),
    bytes: 2 * vocab * dim * (dtype === "float32" ? 4 : 2) + 8 * rows * dim,
    flops: 4 * rows * dim * vocab,
  };
}

/** Output projection, cross-entropy and its gradient, without the logits of all rows at once. */
export const crossEntropyHead: Kernel<Buffers, Uniforms> = defineKernel({
  name: "cross_entropy_head",
  doc:
    "with logits = hidden W^T: losses[r] = log of the sum of exp(logits[r]) - logits[r, targets[r]], and " +
    "dhidden[r] = scale (softmax(logits[r]) - one at targets[r]) W. A target of vocab or more (0xffffffff: none) " +
    "gives zeros. Logits take 32 MiB at most, or one row",
  buffers: {
    hidden: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(vocab, dim), row-major" },
    targets: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    losses: { access: "read_write", dtypes: ["float32"], doc: "(rows), not scaled" },
    dhidden: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: sizes, dtypes }, limits) =>
    crossEntropyLaunch(sizes, {
      uniforms,
      weight: { name: "weight", dtype: dtypes.weight },
      gradient: true,
    }, limits),
  reference: crossEntropyReference,
  cpu: crossEntropyCpu,
  tolerance: 1e-5,
  cases: [
    sized({ rows: 1, dim: 1, vocab: 2 }),
    // Two chunks of 4096 rows, and one of one.
    sized({ rows: 8193, dim: 5, vocab: 7 }),
    sized({ rows: 7, dim: 31, vocab: 37, dtype: "float16" }),
    sized({ rows: 65, dim: 64, vocab: 101, dtype: "bfloat16" }),
    sized({ rows: 5, dim: 68, vocab: 1031 }),
  ],
  benches: [
    bench({ rows: 512, dim: 576, vocab: 49152, dtype: "bfloat16" }),
    bench({ rows: 512, dim: 4096, vocab: 128256, dtype: "bfloat16" }),
  ],
});
