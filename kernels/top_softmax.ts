import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "weights";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", vectors: "u32", top: "u32", offset: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

var<workgroup> values: array<f32, 64>;
var<workgroup> places: array<u32, 64>;

// Whether one number of a row comes before another: the greater one, and the first of equal ones.
fn precedes(value: f32, place: u32, other: f32, other_place: u32) -> bool {
  return value > other || (value == other && place < other_place);
}

// One workgroup a row; a thread has every 64th number, which it alone reads and writes.
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.vectors;
  for (var j = local; j < uniforms.vectors; j += 64) { weights[begin + j] = 0.0; }
  var greatest = 0.0;
  var last = 0.0;
  var last_place = 0u;
  var sum = 0.0;
  for (var k = 0u; k < uniforms.top; k++) {
    var best = 0.0;
    var place = uniforms.vectors;
    for (var j = local; j < uniforms.vectors; j += 64) {
      let value = logits[uniforms.offset + begin + j];
      if (k > 0 && !precedes(last, last_place, value, j)) { continue; }
      if (place == uniforms.vectors || precedes(value, j, best, place)) {
        best = value;
        place = j;
      }
    }
    values[local] = best;
    places[local] = place;
    workgroupBarrier();
    for (var half = 32u; half > 0; half >>= 1) {
      if (local < half) {
        let other = local + half;
        let is_there = places[other] < uniforms.vectors;
        if (is_there && (places[local] == uniforms.vectors ||
            precedes(values[other], places[other], values[local], places[local]))) {
          values[local] = values[other];
          places[local] = places[other];
        }
      }
      workgroupBarrier();
    }
    last = values[0];
    last_place = places[0];
    workgroupBarrier();
    if (k == 0) { greatest = last; }
    let power = exp(last - greatest);
    sum += power;
    if (last_place % 64 == local) { weights[begin + last_place] = power; }
  }
  for (var j = local; j < uniforms.vectors; j += 64) { weights[begin + j] /= sum; }
}
`;

/** The softmax of the greatest numbers of each row: the weights of VB-LoRA's mixtures while they are trained. */
export const topSoftmax: Kernel<Buffers, Uniforms> = defineKernel({
  name: "top_softmax",
  doc:
    "weights[r, j] = the softmax of the `top` greatest of logits[r], of equal ones the first; 0 for the others",
  buffers: {
    logits: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: (rows, vectors), row-major",
    },
    weights: { access: "read_write", dtypes: ["float32"], doc: "(rows, vectors), row-major" },
  },
  uniforms,
  launch({ uniforms: { rows, vectors, top } }, limits) {
    if (top < 1 || top > vectors) {
      throw new RangeError(
        `Cannot take the ${top} greatest of ${vectors} numbers: it must be 1 to ${vectors}`,
      );
    }
    return {
      dispatches: [{
        wgsl,
        bindings: [{ name: "logits", access: "read" }, { name: "weights", access: "read_write" }],
        grid: grid(rows, limits),
      }],
    };
  },
  reference({ logits, weights }, { rows, vectors, top, offset }) {
    for (let r = 0; r < rows; r++) {
      const own = logits.subarray(offset + r * vectors, offset + (r + 1) * vectors);
      const order = [...own.keys()].sort((i, j) => own[j] - own[i] || i - j).slice(0, top);
      const powers = order.map((j) => Math.exp(own[j] - own[order[0]]));
      const sum = powers.reduce((so, power) => so + power, 0);
      weights.fill(0, r * vectors, (r + 1) * vectors);
      order.forEach((j, k) => weights[r * vectors + j] = powers[k] / sum);
    }
  },
  tolerance: 1e-6,
});
