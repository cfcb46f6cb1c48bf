import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "tokens" | "from" | "sampled" | "ids";
type Uniforms = "rows" | "outputs";

const uniforms = { rows: "u32", outputs: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> from_output: array<u32>;
@group(0) @binding(3) var<storage, read> sampled: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = (${workgroupIndex}) * 256 + local;
  if (row >= uniforms.rows) { return; }
  var id = tokens[row];
  if (from_output[row] < uniforms.outputs) { id = sampled[from_output[row]]; }
  ids[row] = id;
}
`;

/** The tokens of a step that follows one whose samples the host has not read. */
export const nextTokens: Kernel<Buffers, Uniforms> = defineKernel({
  name: "next_tokens",
  doc:
    "ids[r] = sampled[from[r]]; where from[r] is `outputs` or more, ids[r] = tokens[r]. What is sampled may be no token " +
    "(see `sample`): `embedding` has zeros for it",
  buffers: {
    tokens: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    from: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    sampled: { access: "read", dtypes: ["uint32"], doc: "(outputs)" },
    ids: { access: "read_write", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "tokens", access: "read" },
        { name: "from", access: "read" },
        { name: "sampled", access: "read" },
        { name: "ids", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows / 256), limits),
    }],
  }),
  reference({ tokens, from, sampled, ids }, { rows, outputs }) {
    for (let r = 0; r < rows; r++) ids[r] = from[r] < outputs ? sampled[from[r]] : tokens[r];
  },
  tolerance: 0,
});
