import { loader, storageType } from "./half.ts";
import {
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  type TypedArray,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { clearStateless, sequenceBuffers, type Stretch, stretches } from "./recurrent/sequences.ts";

type Buffers = "x" | "weight" | "bias" | "stateIndex" | "positions" | "state" | "y";
type Uniforms = "rows" | "dim" | "width" | "stride" | "at" | "before" | "after" | "states";

const uniforms = {
  rows: "u32",
  dim: "u32",
  width: "u32",
  stride: "u32",
  at: "u32",
  before: "u32",
  after: "u32",
  states: "u32",
} as const;

/** In place of columns of factors, where there are none. */
export const noColumns = 0xffffffff;

/** Channels of a workgroup, and rows that it takes at once. */
const channels = 64, lanes = 4;

const bindings = [
  { name: "x", access: "read" },
  { name: "weight", access: "read" },
  { name: "bias", access: "read" },
  { name: "stateIndex", access: "read" },
  { name: "positions", access: "read" },
  { name: "state", access: "read_write" },
  { name: "y", access: "read_write" },
] as const;

/** A workgroup for each sequence and 64 channels, which is the one of the sequence's first row. */
const wgsl = ({ weight, bias }: Readonly<Record<"weight" | "bias", DType>>): string => /* wgsl */ `
${uniformStruct(uniforms)}
${
  declareBindings(bindings, {
    ...{ x: "f32", weight: storageType(weight), bias: storageType(bias), stateIndex: "u32" },
    ...{ positions: "u32", state: "f32", y: "f32" },
  })
}
${loader("weight", weight)}
${loader("bias", bias)}

fn input_at(row: u32, channel: u32) -> f32 {
  let begin = row * uniforms.stride + channel;
  let value = x[begin + uniforms.at];
  if (uniforms.before == ${noColumns}u) { return value; }
  return value * x[begin + uniforms.before];
}

// What came i rows after the oldest row that is kept.
fn kept_at(number: u32, i: u32, channel: u32) -> f32 {
  return state[(number * (uniforms.width - 1) + i) * uniforms.dim + channel];
}

@compute @workgroup_size(${channels * lanes})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let tiles = (uniforms.dim + ${channels - 1}) / ${channels};
  let begin = id / tiles;
  if (begin >= uniforms.rows) { return; }
  let channel = (id % tiles) * ${channels} + local % ${channels};
  let lane = local / ${channels};
  let inside = channel < uniforms.dim;
  let number = stateIndex[begin];
  if (number >= uniforms.states) {
    if (inside && lane == 0) { y[begin * uniforms.dim + channel] = 0; }
    return;
  }
  if (begin > 0 && stateIndex[begin - 1] == number) { return; }
  var end = begin + 1;
  while (end < uniforms.rows && stateIndex[end] == number) { end++; }
  let fresh = positions[begin] == 0;
  let kept = uniforms.width - 1;
  if (inside) {
    for (var row = begin + lane; row < end; row += ${lanes}) {
      var sum = bias_at(channel);
      for (var back = 0u; back < uniforms.width; back++) {
        var value = 0.0;
        if (begin + back <= row) { value = input_at(row - back, channel); }
        else if (!fresh) { value = kept_at(number, kept + row - begin - back, channel); }
        sum += weight_at(channel * uniforms.width + kept - back) * value;
      }
      if (uniforms.after != ${noColumns}u) { sum *= x[row * uniforms.stride + uniforms.after + channel]; }
      y[row * uniforms.dim + channel] = sum;
    }
  }
  // The state is read above and written below.
  storageBarrier();
  if (inside && lane == 0) {
    let count = end - begin;
    for (var i = 0u; i < kept; i++) {
      var value = 0.0;
      if (i + count >= kept) { value = input_at(begin + i + count - kept, channel); }
      else if (!fresh) { value = kept_at(number, i + count, channel); }
      state[(number * kept + i) * uniforms.dim + channel] = value;
    }
  }
}
`;

type Words = Readonly<Record<Uniforms, number>>;

/** A channel's inputs: those that are kept, then those of the stretch. */
function inputsOf(
  { x, state }: Readonly<Record<"x" | "state", TypedArray>>,
  { begin, end, state: number, isFresh }: Stretch,
  { dim, width, stride, at, before, channel }: Words & { readonly channel: number },
): Float64Array {
  const kept = width - 1, inputs = new Float64Array(kept + end - begin);
  for (let i = 0; i < kept && !isFresh; i++) inputs[i] = state[(number * kept + i) * dim + channel];
  for (let row = begin; row < end; row++) {
    const factor = before === noColumns ? 1 : x[row * stride + before + channel];
    inputs[kept + row - begin] = Math.fround(x[row * stride + at + channel] * factor);
  }
  return inputs;
}

/** `causal_conv` of rows of many sequences, each of which goes on from where its last step ended. */
export const causalConvStep: Kernel<Buffers, Uniforms> = defineKernel({
  name: "causal_conv_step",
  doc:
    "y[r, c] = (bias[c] + sum over j < width of weight[c, j] u[r - (width - 1) + j, c]) x[r, after + c], where " +
    "u[r, c] = x[r, at + c] x[r, before + c]; `before` or `after` of 2^32 - 1 stands for a factor of 1. Rows before a " +
    "sequence's first here are those that its state keeps, which then keeps the last. A row without a state gives 0",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, stride), row-major" },
    weight: {
      access: "read",
      dtypes: ["float32", "float16", "bfloat16"],
      doc: "(dim, width), row-major: the row's own column is the last",
    },
    bias: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    ...sequenceBuffers,
    state: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(states, width - 1, dim), row-major: the last inputs of a sequence, the oldest first",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim }, dtypes }, limits) => ({
    dispatches: [{ wgsl: wgsl(dtypes), bindings, grid: grid(rows * Math.ceil(dim / channels), limits) }],
  }),
  reference({ x, weight, bias, stateIndex, positions, state, y }, words) {
    const { dim, width, stride, after } = words, kept = width - 1;
    clearStateless(y, stateIndex, words);
    for (const stretch of stretches({ stateIndex, positions }, words)) {
      const { begin, end, state: number } = stretch;
      for (let c = 0; c < dim; c++) {
        const inputs = inputsOf({ x, state }, stretch, { ...words, channel: c });
        for (let row = begin; row < end; row++) {
          let sum = bias[c];
          for (let j = 0; j < width; j++) sum += weight[c * width + j] * inputs[row - begin + j];
          y[row * dim + c] = after === noColumns ? sum : sum * x[row * stride + after + c];
        }
        for (let i = 0; i < kept; i++) state[(number * kept + i) * dim + c] = inputs[end - begin + i];
      }
    }
  },
  tolerance: 1e-6,
});
