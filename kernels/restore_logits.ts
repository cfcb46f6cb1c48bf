import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "lists" | "entries" | "kept" | "extra";
type Uniforms = "rows" | "vocab" | "size";

const uniforms = { rows: "u32", vocab: "u32", size: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;
@group(0) @binding(3) var<storage, read> entries: array<u32>;
@group(0) @binding(4) var<storage, read> kept: array<f32>;
@group(0) @binding(5) var<storage, read> extra: array<u32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.vocab;
  for (var i = lists[3 * row] + local; i < min(lists[3 * row + 1], uniforms.size); i += 256) {
    logits[begin + entries[3 * i]] = kept[i];
  }
  if (local == 0 && extra[row] < uniforms.vocab) { logits[begin + extra[row]] = kept[uniforms.size + row]; }
}
`;

/** Takes `adjust_logits` back. */
export const restoreLogits: Kernel<Buffers, Uniforms> = defineKernel({
  name: "restore_logits",
  doc:
    "logits[r, token] = kept[i] for the tokens of a row's list, entries[lists[r, 0]] to entries[lists[r, 1]], and " +
    "logits[r, extra[r]] = kept[size + r] where extra[r] is below vocab: as they were before `adjust_logits`",
  buffers: {
    logits: { access: "read_write", dtypes: ["float32"], doc: "(rows, vocab), row-major, in place" },
    lists: { access: "read", dtypes: ["uint32"], doc: "(rows, 3): as `adjust_logits` had them" },
    entries: { access: "read", dtypes: ["uint32"], doc: "(size, 3): the same" },
    kept: { access: "read", dtypes: ["float32"], doc: "(size + rows)" },
    extra: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "logits", access: "read_write" },
        { name: "lists", access: "read" },
        { name: "entries", access: "read" },
        { name: "kept", access: "read" },
        { name: "extra", access: "read" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ logits, lists, entries, kept, extra }, { rows, vocab, size }) {
    for (let r = 0; r < rows; r++) {
      for (let i = lists[3 * r]; i < Math.min(lists[3 * r + 1], size); i++) {
        logits[r * vocab + entries[3 * i]] = kept[i];
      }
      if (extra[r] < vocab) logits[r * vocab + extra[r]] = kept[size + r];
    }
  },
  tolerance: 0,
});
