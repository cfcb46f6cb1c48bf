import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "strengths" | "lists" | "entries" | "sampled" | "kept" | "extra";
type Uniforms = "rows" | "vocab" | "size" | "outputs";

const uniforms = { rows: "u32", vocab: "u32", size: "u32", outputs: "u32" } as const;

/** Words of an entry: token, counts and bias. */
export const entryWords = 3;

/** In an entry's counts: the token is one of the prompt's. The other bits are how often it came since. */
export const inPrompt = 0x80000000;

/** Where a row has no token beside its list. */
export const noExtra = 0xffffffff;

/** The greatest finite float32. */
const greatest = 3.4028234663852886e38;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> strengths: array<f32>;
@group(0) @binding(3) var<storage, read> lists: array<u32>;
@group(0) @binding(4) var<storage, read> entries: array<u32>;
@group(0) @binding(5) var<storage, read> sampled: array<u32>;
@group(0) @binding(6) var<storage, read_write> kept: array<f32>;
@group(0) @binding(7) var<storage, read_write> extra: array<u32>;

var<workgroup> is_listed: atomic<u32>;

fn adjust(row: u32, token: u32, counts: u32, bias: f32, slot: u32) {
  let at = row * uniforms.vocab + token;
  let before = logits[at];
  kept[slot] = before;
  // What is no finite number stays: it is a failure, and sampling says so.
  if ((bitcast<u32>(before) & 0x7f800000u) == 0x7f800000u) { return; }
  var value = before + bias;
  let count = counts & 0x7fffffffu;
  let repetition = strengths[3 * row + 2];
  if (counts != 0) { value = select(value * repetition, value / repetition, value > 0); }
  value -= strengths[3 * row + 1] * f32(count);
  if (count > 0) { value -= strengths[3 * row]; }
  logits[at] = clamp(value, -${greatest}, ${greatest});
}

// A workgroup has a row.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let end = min(lists[3 * row + 1], uniforms.size);
  let source = lists[3 * row + 2];
  var late = ${noExtra}u;
  if (source < uniforms.outputs) { late = sampled[source]; }
  if (local == 0) { atomicStore(&is_listed, 0); }
  workgroupBarrier();
  for (var i = lists[3 * row] + local; i < end; i += 256) {
    let token = entries[3 * i];
    var counts = entries[3 * i + 1];
    if (token == late) {
      counts += 1;
      atomicStore(&is_listed, 1);
    }
    adjust(row, token, counts, bitcast<f32>(entries[3 * i + 2]), i);
  }
  workgroupBarrier();
  if (local > 0) { return; }
  let is_extra = late < uniforms.vocab && atomicLoad(&is_listed) == 0;
  extra[row] = select(${noExtra}u, late, is_extra);
  if (is_extra) { adjust(row, late, 1, 0.0, uniforms.size + row); }
}
`;

/** A logit after its bias and penalties, rounded once to float32. */
function adjusted(
  before: number,
  { counts, bias, strengths: [presence, frequency, repetition] }: {
    readonly counts: number;
    readonly bias: number;
    readonly strengths: ArrayLike<number> & Iterable<number>;
  },
): number {
  if (!Number.isFinite(before)) return before;
  const count = counts & 0x7fffffff;
  const biased = before + bias;
  const repeated = counts === 0 ? biased : biased > 0 ? biased / repetition : biased * repetition;
  const value = repeated - frequency * count - (count > 0 ? presence : 0);
  return Math.min(greatest, Math.max(-greatest, value));
}

/** Biases of tokens, and penalties of those that came before. */
export const adjustLogits: Kernel<Buffers, Uniforms> = defineKernel({
  name: "adjust_logits",
  doc:
    "For each entry (token, counts, bias) of a row's list, entries[lists[r, 0]] to entries[lists[r, 1]], " +
    "l = logits[r, token] becomes l + bias; then, where counts is not 0, l / repetition if l > 0, else l repetition; " +
    "then l - frequency count - (presence if count > 0), where count is counts without its highest bit. A row whose " +
    "lists[r, 2] is below `outputs` has the token sampled[lists[r, 2]] once more, whether its list has the token or " +
    "not. kept has what the logits were, and extra[r] that token where the list has it not, else 0xffffffff: " +
    "`restore_logits` puts them back. Logits that are not finite stay, others stay finite. No token is twice in a list",
  buffers: {
    logits: { access: "read_write", dtypes: ["float32"], doc: "(rows, vocab), row-major, in place" },
    strengths: { access: "read", dtypes: ["float32"], doc: "(rows, 3): presence, frequency, repetition" },
    lists: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(rows, 3): first entry, the one after the last (at most size), and an output of the step before",
    },
    entries: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(size, 3): token; counts, the highest bit for tokens of the prompt; bits of the float32 bias",
    },
    sampled: { access: "read", dtypes: ["uint32"], doc: "(outputs): tokens of the step before" },
    kept: { access: "read_write", dtypes: ["float32"], doc: "(size + rows)" },
    extra: { access: "read_write", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "logits", access: "read_write" },
        { name: "strengths", access: "read" },
        { name: "lists", access: "read" },
        { name: "entries", access: "read" },
        { name: "sampled", access: "read" },
        { name: "kept", access: "read_write" },
        { name: "extra", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ logits, strengths, lists, entries, sampled, kept, extra }, { rows, vocab, size, outputs }) {
    const words = entries as Uint32Array,
      biases = new Float32Array(words.buffer, words.byteOffset, words.length);
    for (let r = 0; r < rows; r++) {
      const source = lists[3 * r + 2], late = source < outputs ? sampled[source] : noExtra;
      let isListed = false;
      const own = strengths.subarray(3 * r, 3 * r + 3);
      const adjust = (token: number, slot: number, change: { counts: number; bias: number }): void => {
        const at = r * vocab + token;
        kept[slot] = logits[at];
        logits[at] = adjusted(logits[at], { ...change, strengths: own });
      };
      for (let i = lists[3 * r]; i < Math.min(lists[3 * r + 1], size); i++) {
        const isLate = words[3 * i] === late;
        isListed ||= isLate;
        adjust(words[3 * i], i, { counts: words[3 * i + 1] + Number(isLate), bias: biases[3 * i + 2] });
      }
      const isExtra = late < vocab && !isListed;
      extra[r] = isExtra ? late : noExtra;
      if (isExtra) adjust(late, size + r, { counts: 1, bias: 0 });
    }
  },
  tolerance: 1e-6,
});
