/**
 * WGSL of SVFT's step over a bank: z = V x, m = M z, y += U m.
 *
 * The products are of tiles of rows. Where all rows of a tile share V and U, each number of those is read once for the tile.
 *
 * @module
 */
import { uniformStruct, workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { bankUniforms } from "./records.ts";

/** Rows of a tile, outputs of a workgroup, and the threads of an output. */
export const tileRows = 8, outputs = 8, lanes = 32;

const each = (text: (r: number) => string): string =>
  Array.from({ length: tileRows }, (_, r) => text(r)).join("\n");

/** Where each linear's part of the hidden numbers begins, and how wide they all are: as many as V can have rows. */
const hidden = /* wgsl */ `
fn hidden_sizes() -> vec3u {
  return min(vec3u(uniforms.out0, uniforms.out1, uniforms.out2), vec3u(uniforms.in));
}
fn record_of(row: u32, linear: u32) -> vec4u {
  if (row >= uniforms.rows) { return vec4u(); }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return vec4u(); }
  return records[(uniforms.linear + linear) * uniforms.capacity + slot];
}
fn start_of(sizes: vec3u, linear: u32) -> u32 {
  return select(0u, sizes.x, linear > 0) + select(0u, sizes.y, linear > 1);
}
`;

interface Side {
  readonly source: string;
  readonly target: string;
  /** Sizes of the linears' outputs on this side, and of a row of source and of target. */
  readonly sizes: string;
  readonly sourceWidth: string;
  readonly targetWidth: string;
  /** Where a row's numbers begin in its row of the source. */
  readonly sourceAt: string;
  /** Of `record`: where the factor begins, and how many numbers each output sums and how many outputs there are. */
  readonly factor: string;
  readonly inner: string;
  readonly count: string;
  readonly store: string;
}

/** A product with V or U of each row's adapter. */
function productWgsl(side: Side): string {
  const { source, target, sizes, sourceWidth, targetWidth, sourceAt, factor, inner, count, store } = side;
  return /* wgsl */ `
${uniformStruct(bankUniforms)}
@group(0) @binding(1) var<storage, read> ${source}: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read_write> ${target}: array<f32>;

var<workgroup> sums: array<array<f32, ${outputs * lanes}>, ${tileRows}>;
${hidden}
fn factor_of(record: vec4u, out: u32) -> u32 { return ${factor}; }
fn inner_of(record: vec4u) -> u32 { return ${inner}; }
fn count_of(record: vec4u, out: u32) -> u32 { return ${count}; }

@compute @workgroup_size(${outputs * lanes})
fn main(${workgroupBuiltins}) {
  let sizes = ${sizes};
  let chunks = (sizes + ${outputs - 1}) / ${outputs};
  let all = chunks.x + chunks.y + chunks.z;
  let id = ${workgroupIndex};
  let first = id / all * ${tileRows};
  if (first >= uniforms.rows) { return; }
  var part = id % all;
  var linear = 0u;
  if (part >= chunks.x) {
    part -= chunks.x;
    linear = 1;
    if (part >= chunks.y) {
      part -= chunks.y;
      linear = 2;
    }
  }
  let out = vec3u(uniforms.out0, uniforms.out1, uniforms.out2)[linear];
  let source_start = ${sourceAt};
  let target_start = start_of(sizes, linear);
  let output = part * ${outputs} + local / ${lanes};
  let lane = local % ${lanes};
${each((r) => `  let record${r} = record_of(first + ${r}, linear);`)}
  let some = ${Array.from({ length: tileRows }, (_, r) => `record${r}.z`).join(" | ")};
  if (some == 0) { return; }
  // The first adapter's record stands for all where they share their factors.
  var shared_record = record${tileRows - 1};
${
    Array.from({ length: tileRows - 1 }, (_, i) => tileRows - 2 - i).map((r) =>
      `  if (record${r}.z != 0) { shared_record = record${r}; }`
    ).join("\n")
  }
  var same = true;
${each((r) => `  same = same && (record${r}.z == 0 || record${r}.x == shared_record.x);`)}
${
    each((r) =>
      `  var sum${r} = 0.0;
  let source${r} = min(first + ${r}, uniforms.rows - 1) * (${sourceWidth}) + source_start;`
    )
  }
  if (same) {
    if (output < count_of(shared_record, out)) {
      let inner = inner_of(shared_record);
      let weight = factor_of(shared_record, out) + output * inner;
      for (var i = lane; i < inner; i += ${lanes}) {
        let value = bitcast<f32>(tables[weight + i]);
${each((r) => `        sum${r} += value * ${source}[source${r} + i];`)}
      }
    }
  } else {
${
    each((r) =>
      `    if (output < count_of(record${r}, out)) {
      let inner = inner_of(record${r});
      let weight = factor_of(record${r}, out) + output * inner;
      for (var i = lane; i < inner; i += ${lanes}) {
        sum${r} += bitcast<f32>(tables[weight + i]) * ${source}[source${r} + i];
      }
    }`
    )
  }
  }
${each((r) => `  sums[${r}][local] = sum${r};`)}
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0; half >>= 1) {
    if (lane < half) {
      for (var r = 0u; r < ${tileRows}; r++) { sums[r][local] += sums[r][local + half]; }
    }
    workgroupBarrier();
  }
  if (lane < ${tileRows}) {
    let row = first + lane;
    let record = record_of(row, linear);
    if (record.z != 0 && output < count_of(record, out)) {
      let sum = sums[lane][local - lane];
      let at = row * (${targetWidth}) + target_start + output;
      ${store}
    }
  }
}
`;
}

const hiddenWidth = "hidden_sizes().x + hidden_sizes().y + hidden_sizes().z";
const outWidth = "uniforms.out0 + uniforms.out1 + uniforms.out2";

/** z = V x. */
export const downWgsl: string = productWgsl({
  source: "x",
  target: "down",
  sizes: "hidden_sizes()",
  sourceWidth: "uniforms.in",
  targetWidth: hiddenWidth,
  sourceAt: "0u",
  factor: "record.x",
  inner: "uniforms.in",
  count: "record.z",
  store: "down[at] = sum;",
});

/** y += U m. */
export const upWgsl: string = productWgsl({
  source: "middle",
  target: "y",
  sizes: "vec3u(uniforms.out0, uniforms.out1, uniforms.out2)",
  sourceWidth: hiddenWidth,
  targetWidth: outWidth,
  sourceAt: "start_of(hidden_sizes(), linear)",
  factor: "record.x + record.z * uniforms.in",
  inner: "record.z",
  count: "select(0u, out, record.z != 0)",
  store: "y[at] += sum;",
});

/** m = M z, a thread for each of its numbers. */
export const middleWgsl: string = /* wgsl */ `
${uniformStruct(bankUniforms)}
@group(0) @binding(1) var<storage, read> down: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> middle: array<f32>;
${hidden}
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let sizes = hidden_sizes();
  let width = sizes.x + sizes.y + sizes.z;
  let id = (${workgroupIndex}) * 64 + local;
  let row = id / width;
  if (row >= uniforms.rows) { return; }
  var i = id % width;
  var linear = 0u;
  if (i >= sizes.x) {
    i -= sizes.x;
    linear = 1;
    if (i >= sizes.y) {
      i -= sizes.y;
      linear = 2;
    }
  }
  let record = record_of(row, linear);
  let n = record.z;
  if (i >= n) { return; }
  let columns = record.y + n + 1;
  let entries = columns + u32(values[record.y + n]);
  let start = row * width + start_of(sizes, linear);
  let end = u32(values[record.y + i + 1]);
  var sum = 0.0;
  for (var e = u32(values[record.y + i]); e < end; e++) {
    sum += values[entries + e] * down[start + u32(values[columns + e])];
  }
  middle[start + i] = sum;
}
`;
