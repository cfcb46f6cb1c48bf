import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "y";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", width: "u32", blocks: "u32", kinds: "u32", weight: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let columns = uniforms.blocks * uniforms.kinds;
  if (i >= uniforms.rows * uniforms.blocks * columns * uniforms.width) { return; }
  let line = i / uniforms.width;
  let column = line % columns;
  var own = line / columns % uniforms.blocks;
  if (uniforms.weight != 0) {
    own = (i % uniforms.width * uniforms.blocks + own) / uniforms.width;
  }
  let sign = select(-1.0, 1.0, column / uniforms.blocks == 1);
  y[i] = select(0.0, sign * y[i], column % uniforms.blocks == own);
}
`;

/** The factor of an element: 0, or the sign of its kind. */
function factorOf(i: number, { width, blocks, kinds, weight }: Sizes): number {
  const line = Math.floor(i / width), column = line % (blocks * kinds);
  const part = Math.floor(line / (blocks * kinds)) % blocks;
  const own = weight === 0 ? part : Math.floor((i % width * blocks + part) / width);
  if (column % blocks !== own) return 0;
  return Math.floor(column / blocks) === 1 ? 1 : -1;
}

/** What ETHER's vectors meet: products with vectors of other blocks are left out, and each kind has its sign. */
export const ownBlocks: Kernel<Buffers, Uniforms> = defineKernel({
  name: "own_blocks",
  doc:
    "y[r, c, k, b, o] *= -1 of the kind k = 0 and 1 of the kind k = 1 where b is the element's block, 0 elsewhere; " +
    "the block is c, or (o blocks + c) div width where weight is not 0",
  buffers: {
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, blocks, kinds, blocks, width), row-major, in place",
    },
  },
  uniforms,
  launch: ({ uniforms: { rows, width, blocks, kinds } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "y", access: "read_write" }],
      grid: grid(Math.ceil(rows * blocks * kinds * blocks * width / 256), limits),
    }],
  }),
  reference({ y }, u) {
    const count = u.rows * u.blocks * u.kinds * u.blocks * u.width;
    for (let i = 0; i < count; i++) y[i] *= factorOf(i, u);
  },
  tolerance: 0,
});
