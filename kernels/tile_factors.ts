import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

const uniforms = { rank: "u32", in: "u32", out: "u32", length: "u32", back: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let middle = uniforms.rank * uniforms.in;
  if (i >= middle + uniforms.out * uniforms.rank) { return; }
  var place = i;
  if (i >= middle) {
    let element = (i - middle) % uniforms.length;
    let vector = (i - middle) / uniforms.length;
    let row = vector / uniforms.rank * uniforms.length + element;
    place = middle + row * uniforms.rank + vector % uniforms.rank;
  }
  if (uniforms.back == 0) { y[place] = x[i]; } else { y[i] = x[place]; }
}
`;

/** Where element `i` of the vectors stands in the factors. */
function placeOf(i: number, { rank, in: inSize, length }: Sizes): number {
  const middle = rank * inSize;
  if (i < middle) return i;
  const vector = Math.floor((i - middle) / length), element = (i - middle) % length;
  return middle + (Math.floor(vector / rank) * length + element) * rank + vector % rank;
}

/** Low-rank factors from the vectors that they are cut into, and their gradients back: VB-LoRA's, while it is trained. */
export const tileFactors: Kernel<Buffers, Uniforms> = defineKernel({
  name: "tile_factors",
  doc:
    "y = factors of the vectors x: A's as they stand; vector (t, k) of B is column k of rows t length on. Where " +
    "back is not 0, y = vectors of the factors x",
  buffers: {
    x: {
      access: "read",
      dtypes: ["float32"],
      doc: "vectors: (rank, in / length, length) of A, then (out / length, rank, length) of B",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "factors: A (rank, in), then B (out, rank), as in lora_product",
    },
  },
  uniforms,
  launch({ uniforms: u }, limits) {
    const { rank, in: inSize, out, length } = u;
    if (inSize % length !== 0 || out % length !== 0) {
      throw new RangeError(
        `Cannot cut factors of (${out}, ${inSize}) into vectors of ${length}: it must divide both sizes`,
      );
    }
    return {
      dispatches: [{
        wgsl,
        bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
        grid: grid(Math.ceil(rank * (inSize + out) / 256), limits),
      }],
    };
  },
  reference({ x, y }, u) {
    const count = u.rank * (u.in + u.out);
    for (let i = 0; i < count; i++) {
      const place = placeOf(i, u);
      if (u.back === 0) y[place] = x[i];
      else y[i] = x[place];
    }
  },
  tolerance: 0,
});
