/**
 * The output projection and cross-entropy as dispatches: logits of as many rows as a bounded scratch holds, their
 * softmax in place, and the product of what remains with the weight; then the next rows.
 *
 * @module
 */
import {
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  type Table,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import type { StoredWeight, TextSize } from "../formats/format.ts";
import { softcapText } from "../softcap.ts";
import { floats, ofWeight, partialScratch, productLaunch } from "../linear/product.ts";

/** Uniform words of the cross-entropy kernels. */
export const uniforms = {
  rows: "u32",
  dim: "u32",
  vocab: "u32",
  scale: "f32",
  /** What logits are capped to by tanh; 0: not at all. */
  softcap: "f32",
} as const;

export type Uniforms = keyof typeof uniforms;
export type Sizes = Readonly<Record<Uniforms, number>>;

/** A row that takes no part. */
export const noTarget = 0xffffffff;

/** Logits held at once: 32 MiB, or one row's. */
const logitsAtOnce = 2 ** 23;

/** Rows that fill a GPU even with a small vocabulary. */
const mostRows = 4096;

/** Rows taken together: whole tiles where they fit. */
function chunkRows(vocab: number): number {
  const rows = Math.max(1, Math.min(mostRows, Math.floor(logitsAtOnce / vocab)));
  return rows > 64 ? rows - rows % 64 : rows;
}

const rowsHere = "min(chunk, uniforms.rows - u32(start[0]))";

/** What the text depends on. */
interface SoftmaxText {
  readonly gradient: boolean;
  /** Whether logits are capped first, where they lie. */
  readonly capped: boolean;
}

/**
 * One workgroup a row of the chunk: its loss; with a gradient, logits give way to probabilities less 1 at the target.
 * The target's logit is read before any is overwritten.
 */
const softmaxWgsl = ({ gradient, capped }: SoftmaxText): string => /* wgsl */ `
${uniformStruct(uniforms)}
override chunk: u32;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> start: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

var<workgroup> numbers: array<f32, 256>;
${capped ? softcapText("f32") : ""}

fn largest(value: f32, local: u32) -> f32 {
  numbers[local] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { numbers[local] = max(numbers[local], numbers[local + half]); }
    workgroupBarrier();
  }
  let result = numbers[0];
  workgroupBarrier();
  return result;
}

fn total(value: f32, local: u32) -> f32 {
  numbers[local] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { numbers[local] += numbers[local + half]; }
    workgroupBarrier();
  }
  return numbers[0];
}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let line = ${workgroupIndex};
  if (line >= ${rowsHere}) { return; }
  let row = u32(start[0]) + line;
  let begin = line * uniforms.vocab;
  let target_id = targets[row];
  let wanted = target_id < uniforms.vocab;
${
  capped
    ? `  for (var i = local; i < uniforms.vocab; i += 256) {
    logits[begin + i] = softcapped(logits[begin + i], uniforms.softcap);
  }
  storageBarrier();`
    : ""
}
  var value = -1e38;
  for (var i = local; i < uniforms.vocab; i += 256) { value = max(value, logits[begin + i]); }
  let maximum = largest(value, local);
  var sum = 0.0;
  for (var i = local; i < uniforms.vocab; i += 256) { sum += exp(logits[begin + i] - maximum); }
  let logsumexp = maximum + log(total(sum, local));
  if (local == 0) {
    var loss = 0.0;
    if (wanted) { loss = logsumexp - logits[begin + target_id]; }
    losses[row] = loss;
  }
${
  gradient
    ? `  storageBarrier();
  for (var i = local; i < uniforms.vocab; i += 256) {
    let rest = exp(logits[begin + i] - logsumexp) - select(0.0, 1.0, i == target_id);
    ${
      capped
        ? "let passed = 1 - logits[begin + i] * logits[begin + i] / (uniforms.softcap * uniforms.softcap);"
        : ""
    }
    logits[begin + i] = select(0.0, ${capped ? "passed * " : ""}rest, wanted);
  }`
    : ""
}
}
`;

/** Binds the chunk's own table as `start`. */
const startingAt = (first: number) => (dispatch: Dispatch): Dispatch => ({
  ...dispatch,
  bindings: dispatch.bindings.map((b) => b.name === "start" ? { ...b, name: `start_${first}` } : b),
});

function softmax(rows: number, options: SoftmaxText & { chunk: number }, limits: Limits): Dispatch {
  return {
    wgsl: softmaxWgsl(options),
    bindings: [
      { name: "targets", access: "read" },
      { name: "start", access: "read" },
      { name: "logits", access: "read_write" },
      { name: "losses", access: "read_write" },
    ],
    constants: { chunk: options.chunk },
    grid: grid(rows, limits),
  };
}

/**
 * The launch for losses alone, or with the gradient of the hidden states; the head's weight is (vocab, dim).
 *
 * @throws RangeError for a weight that its format cannot have.
 */
export function crossEntropyLaunch(
  u: Sizes,
  { weight, gradient }: { readonly weight: StoredWeight; readonly gradient: boolean },
  limits: Limits,
): Launch {
  weight.format.check({ out: u.vocab, in: u.dim });
  const chunk = chunkRows(u.vocab);
  const dim = { count: u.dim, text: "uniforms.dim" }, vocab = { count: u.vocab, text: "uniforms.vocab" };
  const dispatches: Dispatch[] = [], tables: Record<string, Table> = {};
  let partials: Record<string, number> = {};
  for (let first = 0; first < u.rows; first += chunk) {
    const rows: TextSize = { count: Math.min(chunk, u.rows - first), text: rowsHere };
    const common = { uniforms, rows, also: ["start"], constants: { chunk } };
    const base = { count: first * u.dim, text: "u32(start[0]) * uniforms.dim" };
    const products = [productLaunch({
      ...common,
      x: { stored: floats({ name: "hidden", base }), along: "inner", shape: [rows, dim] },
      weight: { stored: ofWeight(weight), along: "inner", shape: [vocab, dim] },
      y: { name: "logits", put: "logits[row * uniforms.vocab + column] = value;" },
      columns: vocab,
      inner: dim,
    }, limits)];
    if (gradient) {
      products.push(productLaunch({
        ...common,
        x: { stored: floats({ name: "logits" }), along: "inner", shape: [rows, vocab] },
        weight: { stored: ofWeight(weight), along: "outer", shape: [vocab, dim] },
        y: {
          name: "dhidden",
          put: `dhidden[${base.text} + row * uniforms.dim + column] = uniforms.scale * value;`,
        },
        columns: dim,
        inner: vocab,
      }, limits));
    }
    const [forward, ...backward] = products.map((product) => product.dispatches);
    const steps = [
      ...forward,
      softmax(rows.count, { gradient, chunk, capped: u.softcap > 0 }, limits),
      ...backward.flat(),
    ];
    dispatches.push(...steps.map(startingAt(first)));
    tables[`start_${first}`] = { key: `number ${first}`, make: () => Float32Array.of(first) };
    const needed = partialScratch(products);
    if ((needed.partials ?? 0) > (partials.partials ?? 0)) partials = needed;
  }
  return {
    dispatches,
    tables,
    scratch: { logits: 4 * Math.max(1, Math.min(chunk, u.rows)) * u.vocab, ...partials },
  };
}
