import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "which" | "masks" | "masked";
type Uniforms = "rows" | "vocab";

const uniforms = { rows: "u32", vocab: "u32" } as const;

/** A row without a mask. */
export const noMask = 0xffffffff;

/** The lowest finite float32: an infinite logit is a failure. */
const lowest = -3.4028234663852886e38;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> which: array<u32>;
@group(0) @binding(3) var<storage, read> masks: array<u32>;
@group(0) @binding(4) var<storage, read_write> masked: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.vocab) { return; }
  let row = i / uniforms.vocab;
  let token = i - row * uniforms.vocab;
  var value = logits[i];
  let mask = which[row];
  // What is no finite number stays: it is a failure, and sampling says so.
  if (mask != ${noMask}u && (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u) {
    let words = (uniforms.vocab + 31) / 32;
    let allowed = (masks[mask * words + token / 32] >> (token % 32)) & 1;
    if (allowed == 0) { value = ${lowest}; }
  }
  masked[i] = value;
}
`;

/** Keeps the logits of tokens that a row's mask allows. */
export const maskLogits: Kernel<Buffers, Uniforms> = defineKernel({
  name: "mask_logits",
  doc:
    "masked[r, t] = logits[r, t] where bit t % 32 of word t / 32 of the row's mask is set, else the lowest finite " +
    "float32. which[r] is the row's mask, 0xffffffff for none: then the row is copied. Logits that are not finite stay",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, vocab), row-major" },
    which: { access: "read", dtypes: ["uint32"], doc: "(rows): rows of masks" },
    masks: { access: "read", dtypes: ["uint32"], doc: "(any, ceil(vocab / 32)): a bit a token" },
    masked: { access: "read_write", dtypes: ["float32"], doc: "(rows, vocab)" },
  },
  uniforms,
  launch: ({ uniforms: { rows, vocab } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "logits", access: "read" },
        { name: "which", access: "read" },
        { name: "masks", access: "read" },
        { name: "masked", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * vocab / 256), limits),
    }],
  }),
  reference({ logits, which, masks, masked }, { rows, vocab }) {
    const words = Math.ceil(vocab / 32);
    for (let r = 0; r < rows; r++) {
      const mask = which[r], begin = r * vocab;
      for (let t = 0; t < vocab; t++) {
        const value = logits[begin + t];
        const allowed = mask === noMask || (masks[mask * words + (t >>> 5)] >>> (t & 31) & 1) === 1;
        masked[begin + t] = allowed || !Number.isFinite(value) ? value : lowest;
      }
    }
  },
  tolerance: 0,
});
