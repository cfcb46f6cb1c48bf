/**
 * The WGSL of low-rank updates of rows: A x first, then B times it.
 *
 * @module
 */
import { uniformStruct, workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { sideBySide as uniforms } from "../side_by_side.ts";

/** Ranks whose A x comes from the first dispatch. What is above, the second makes anew in each workgroup. */
export const listed = 256;

/** Rows of a workgroup. */
export const tile = 8;
/** Ranks that a workgroup of the first dispatch makes at a time, and the threads of each. */
const ranks = 16;
const lanes = 16;
/** Workgroups that share the ranks of a row's adapter. */
export const phases = 4;

/** Text for each of the first rows of a run. */
const each = (rows: number, text: (row: number) => string): string =>
  Array.from({ length: rows }, (_, row) => text(row)).join("\n      ");

/**
 * Text for a run of one row, or of up to a tile's rows. Rows that are not there are computed, too, as the last one: a branch for
 * each row would make a thread wait for each row's loads.
 */
const byCount = (text: (rows: number) => string): string =>
  `if (count == 1) {${text(1)}
    } else {${text(tile)}
    }`;

/** A loop over runs of neighbouring rows with one adapter, up to a tile's end: `row` is the first of `count`. */
const runs = (body: string): string => /* wgsl */ `
  let end = min(first + ${tile}, uniforms.rows);
  var next = first;
  while (next < end) {
    let row = next;
    let slot = slots[row];
    next++;
    while (next < end && slots[next] == slot) { next++; }
    let count = next - row;
    if (slot >= uniforms.capacity) { continue; }
    let record = records[(uniforms.linear + number) * uniforms.capacity + slot];
    let rank = record.z;
    if (rank == 0) { continue; }
${body}
  }`;

/** Sums of products of a rank of A and rows of x, over a workgroup's part of the inputs, into `sums`. */
const productsText = (rows: number): string => {
  const at = (k: number, step: number): string => `x[at${k} + i + ${step * lanes}]`;
  const weights = [0, 1, 2, 3].map((step) => `values[a + i + ${step * lanes}]`);
  return `
      ${each(rows, (k) => `let at${k} = (row + min(${k}u, count - 1)) * uniforms.in; var part${k} = 0.0;`)}
      var i = split * size + lane;
      // Four loads of each at a time: a thread alone would wait for each.
      for (; i + ${3 * lanes} < x_end; i += ${4 * lanes}) {
        let weights = vec4f(${weights.join(", ")});
        ${each(rows, (k) => `let x${k} = vec4f(${[0, 1, 2, 3].map((step) => at(k, step)).join(", ")});`)}
        ${each(rows, (k) => `part${k} += dot(weights, x${k});`)}
      }
      for (; i < x_end; i += ${lanes}) {
        let weight = values[a + i];
        ${each(rows, (k) => `part${k} += weight * ${at(k, 0)};`)}
      }
      ${each(rows, (k) => `sums[${k * ranks * (lanes + 1)} + line] = part${k};`)}`;
};

/** The first dispatch: hidden (splits, rows, linears, listed) = A x, a part of the inputs in each split. */
export const hiddenWgsl = (splits: number): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> hidden: array<f32>;

// A line for each row and rank, padded to avoid bank conflicts.
var<workgroup> sums: array<f32, ${tile * ranks * (lanes + 1)}>;

@compute @workgroup_size(${ranks * lanes})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let phase = id % ${phases};
  let split = id / ${phases} % ${splits};
  let place = id / ${phases * splits};
  let linears = 1 + select(0u, 1u, uniforms.out1 > 0) + select(0u, 1u, uniforms.out2 > 0);
  let number = place % linears;
  let first = place / linears * ${tile};
  let lane = local % ${lanes};
  let line = local / ${lanes} * ${lanes + 1} + lane;
  let size = (uniforms.in + ${splits - 1}) / ${splits};
  let x_end = min(uniforms.in, (split + 1) * size);
${
  runs(`    for (var block = phase * ${ranks}; block < min(rank, ${listed}); block += ${phases * ranks}) {
      // Threads past the last rank make it, too, and store nothing.
      let a = record.y + min(block + local / ${lanes}, rank - 1) * uniforms.in;
      workgroupBarrier();
      ${byCount(productsText)}
      workgroupBarrier();
      let made = block + local % ${ranks};
      if (local < count * ${ranks} && made < min(rank, ${listed})) {
        var total = 0.0;
        for (var j = 0u; j < ${lanes}; j++) { total += sums[local * ${lanes + 1} + j]; }
        hidden[((split * uniforms.rows + row + local / ${ranks}) * linears + number) * ${listed} + made] = total;
      }
    }`)
}
}
`;

/** Ranks that a thread loads at a time: of many, and of those that are left. */
const [many, few] = [32, 16];

/** Adds B times the hidden numbers in `z` to y, for the workgroup's outputs of a run's rows. */
const outputsText = (rows: number): string => {
  const add = (count: number): string => {
    const quads = Array.from({ length: count / 4 }, (_, quad) => quad);
    const load = (r: number): string => `values[b + min(r + ${r}, near - 1) * out]`;
    const four = (quad: number): string => [0, 1, 2, 3].map((r) => load(4 * quad + r)).join(", ");
    const dots = (k: number): string =>
      quads.map((quad) => `dot(b${quad}, z[${k * listed / 4} + r / 4 + ${quad}])`).join(" + ");
    return `
        ${quads.map((quad) => `let b${quad} = vec4f(${four(quad)});`).join("\n        ")}
        ${each(rows, (k) => `part${k} += ${dots(k)};`)}`;
  };
  const store = (k: number): string => `y[y_at + ${k} * columns] += scale * part${k};`;
  return `
      ${each(rows, (k) => `var part${k} = 0.0;`)}
      var r = 0u;
      for (; r + ${few} < near; r += ${many}) {${add(many)}
      }
      for (; r < near; r += ${few}) {${add(few)}
      }
      if (output < out) {
        ${each(rows, (k) => k === 0 ? store(k) : `if (count > ${k}) { ${store(k)} }`)}
      }`;
};

/** Splits whose sums a thread loads at a time. */
const splitsAtOnce = 8;

/** Adds up the sums of all splits, whose loads are under way together. */
function splitsText(splits: number): string {
  const some = (count: number, from: string): string => {
    const each = Array.from({ length: count }, (_, i) => i);
    return `${each.map((i) => `let split${i} = hidden[(${from} + ${i}) * apart + begin];`).join(" ")}
        total += ${each.map((i) => `split${i}`).join(" + ")};`;
  };
  const rest = splits % splitsAtOnce, whole = splits - rest;
  return `${
    whole > 0
      ? `for (var split = 0u; split < ${whole}; split += ${splitsAtOnce}) {
        ${some(splitsAtOnce, "split")}
      }`
      : ""
  }
      ${rest > 0 ? some(rest, `${whole}`) : ""}`;
}

/** The second dispatch: y += scale B hidden. */
export const outputsWgsl = (chunk: number, splits: number): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read> hidden: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> z: array<vec4f, ${tile * listed / 4}>;
var<workgroup> sums: array<f32, ${chunk}>;

fn chunks_of(out: u32) -> u32 { return (out + ${chunk - 1}) / ${chunk}; }

// One workgroup for ${chunk} outputs of a tile's rows.
@compute @workgroup_size(${chunk})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let chunks = vec3u(chunks_of(uniforms.out0), chunks_of(uniforms.out1), chunks_of(uniforms.out2));
  let columns = uniforms.out0 + uniforms.out1 + uniforms.out2;
  let first = id / (chunks.x + chunks.y + chunks.z) * ${tile};
  var part = id % (chunks.x + chunks.y + chunks.z);
  var number = 0u;
  var out = uniforms.out0;
  var column = 0u;
  if (part >= chunks.x) {
    part -= chunks.x;
    number = 1;
    column += out;
    out = uniforms.out1;
    if (part >= chunks.y) {
      part -= chunks.y;
      number = 2;
      column += out;
      out = uniforms.out2;
    }
  }
  let linears = 1 + select(0u, 1u, uniforms.out1 > 0) + select(0u, 1u, uniforms.out2 > 0);
  let output = part * ${chunk} + local;
  // Threads past the last output make it, too, and store nothing.
  let mine = min(output, out - 1);
${
  runs(`    let near = min(rank, ${listed});
    let quads = (near + ${many - 1}) / ${many} * ${many / 4};
    workgroupBarrier();
    for (var i = local; i < count * quads; i += ${chunk}) {
      let quad = i % quads;
      let begin = ((row + i / quads) * linears + number) * ${listed / 4} + quad;
      let apart = uniforms.rows * linears * ${listed / 4};
      var total = vec4f();
      ${splitsText(splits)}
      // What lies past the rank was never written.
      z[i / quads * ${
    listed / 4
  } + quad] = select(vec4f(), total, 4 * quad + vec4u(0, 1, 2, 3) < vec4u(near));
    }
    workgroupBarrier();
    let b = record.y + rank * uniforms.in + mine;
    let scale = bitcast<f32>(record.w);
    let y_at = row * columns + column + output;
    ${byCount(outputsText)}
    // Ranks above ${listed}: few adapters have them, and each workgroup makes them itself, one at a time.
    for (var own = row; own < next && rank > ${listed}; own++) {
      var more = 0.0;
      for (var r = ${listed}u; r < rank; r++) {
        var dot_part = 0.0;
        let a = record.y + r * uniforms.in;
        for (var i = local; i < uniforms.in; i += ${chunk}) { dot_part += values[a + i] * x[own * uniforms.in + i]; }
        workgroupBarrier();
        sums[local] = dot_part;
        workgroupBarrier();
        for (var half = ${chunk / 2}u; half > 0; half >>= 1) {
          if (local < half) { sums[local] += sums[local + half]; }
          workgroupBarrier();
        }
        more += sums[0] * values[b + r * out];
      }
      if (output < out) { y[own * columns + column + output] += scale * more; }
    }`)
}
}
`;
