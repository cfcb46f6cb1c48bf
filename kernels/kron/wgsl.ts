/**
 * The WGSL of updates by Kronecker products: dot products of rows of the second factor and pieces of x, which the first factor
 * then sums.
 *
 * @module
 */

/** How workgroups share a row's update. */
export interface Split {
  /** Rows of the second factor that one workgroup takes at a time. */
  readonly tile: number;
  /** Workgroups of a linear at most. What factors it has is known when it runs: a whole matrix has a row for each output. */
  readonly most: number;
}

export const splitOf = (rows: number): Split =>
  rows === 1 ? { tile: 2, most: 256 } : { tile: 8, most: Math.max(16, Math.ceil(256 / rows)) };

/** Workgroups of a linear. */
export const groupsOf = (out: number, { tile, most }: Split): number => Math.min(most, Math.ceil(out / tile));

/** A dot product, whose loads are under way together, sixteen or four at a time: a thread alone would wait for each. */
function dotText(
  { sum, at, step, end, load, factor }: Readonly<Record<"sum" | "at" | "step" | "end", string>> & {
    readonly load: (i: string) => string;
    readonly factor: (i: string) => string;
  },
): string {
  const some = (count: number): string => {
    const each = Array.from({ length: count }, (_, i) => `${at} + ${i} * ${step}`);
    return `for (; ${each.at(-1)} < ${end}; ${at} += ${count} * ${step}) {
        ${each.map((i, k) => `let w${k} = ${load(i)}; let f${k} = ${factor(i)};`).join("\n        ")}
        ${each.map((_, k) => `${sum} += w${k} * f${k};`).join(" ")}
      }`;
  };
  return [16, 4, 1].map(some).join("\n      ");
}

/** Finds a workgroup's row, linear and factors, and which of the linear's workgroups it is: `part`. */
const placeText = /* wgsl */ `
  let shares = vec3u(groups_of(uniforms.out0), groups_of(uniforms.out1), groups_of(uniforms.out2));
  let row = index / (shares.x + shares.y + shares.z);
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var part = index % (shares.x + shares.y + shares.z);
  var linear = uniforms.linear;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (part >= shares.x) {
    part -= shares.x;
    linear += 1;
    y_at += out;
    out = uniforms.out1;
    if (part >= shares.y) {
      part -= shares.y;
      linear += 1;
      y_at += out;
      out = uniforms.out2;
    }
  }
  let record = records[linear * uniforms.capacity + slot];
  if (record.z == 0) { return; }
  let left_out = tables[record.x];
  let left_in = tables[record.x + 1];
  let right_out = out / left_out;
  let right_in = uniforms.in / left_in;
  let right = record.y + left_out * left_in;
`;

/**
 * Dot products are made as many at a time as a workgroup has threads, by 'lanes' threads each where there are more. Every
 * output has one thread.
 */
function threadsText(tile: number): string {
  const pieces = 256 / tile;
  return /* wgsl */ `
  for (var first = part * ${tile}; first < right_out; first += groups_of(out) * ${tile}) {
  for (var begin = 0u; begin < left_in; begin += ${pieces}) {
    let size = min(${pieces}u, left_in - begin);
    let lanes = 256u >> (32 - countLeadingZeros(${tile} * size - 1));
    let lane = local % lanes;
    let mine = local / lanes;
    var dot_part = 0.0;
    if (mine < ${tile} * size && first + mine % ${tile} < right_out) {
      let w = right + (first + mine % ${tile}) * right_in;
      let piece = row * uniforms.in + (begin + mine / ${tile}) * right_in;
      var q = lane;
      ${
    dotText({
      ...{ sum: "dot_part", at: "q", step: "lanes", end: "right_in" },
      load: (i) => `values[w + ${i}]`,
      factor: (i) => `x_at(piece + ${i})`,
    })
  }
    }
    workgroupBarrier();
    sums[local] = dot_part;
    workgroupBarrier();
    for (var half = lanes / 2; half > 0; half >>= 1) {
      if (lane < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    for (var o = local; o < ${tile} * left_out; o += 256) {
      let p = o % ${tile};
      if (first + p >= right_out) { continue; }
      let w = record.y + (o / ${tile}) * left_in + begin;
      var sum = 0.0;
      var j = 0u;
      ${
    dotText({
      ...{ sum: "sum", at: "j", step: "1", end: "size" },
      load: (i) => `values[w + ${i}]`,
      factor: (i) => `sums[((${i}) * ${tile} + p) * lanes]`,
    })
  }
      add_y(y_at + (o / ${tile}) * right_out + first + p, bitcast<f32>(record.w) * sum, begin == 0);
    }
  }
  }
`;
}

/** Sides of the squares that {@linkcode squaresText} keeps, and lines of them padded to avoid bank conflicts. */
const side = 32;
const line = side + 1;

/**
 * Dot products of 32 rows of the second factor and 32 pieces of x at a time: both are kept in workgroup memory, 32 numbers of
 * each, so that every number is read once. For that there have to be several pieces.
 */
const squaresText = /* wgsl */ `
  let p = local % ${side};
  let mine = local / ${side};
  for (var first = part * ${side}; first < right_out; first += groups_of(out) * ${side}) {
    for (var begin = 0u; begin < left_in; begin += ${side}) {
      let size = min(${side}u, left_in - begin);
      var dots = vec4f();
      for (var origin = 0u; origin < right_in; origin += ${side}) {
        let count = min(${side}u, right_in - origin);
        workgroupBarrier();
        for (var own = mine; own < ${side}; own += 8) {
          var number = 0.0;
          var weight = 0.0;
          if (p < count && own < size) {
            number = x_at(row * uniforms.in + (begin + own) * right_in + origin + p);
          }
          if (p < count && first + own < right_out) {
            weight = values[right + (first + own) * right_in + origin + p];
          }
          pieces[own * ${line} + p] = number;
          weights[own * ${line} + p] = weight;
        }
        workgroupBarrier();
        for (var q = 0u; q < ${side}; q++) {
          dots += weights[p * ${line} + q] * vec4f(
            pieces[mine * ${line} + q],
            pieces[(mine + 8) * ${line} + q],
            pieces[(mine + 16) * ${line} + q],
            pieces[(mine + 24) * ${line} + q],
          );
        }
      }
      for (var i = 0u; i < 4; i++) { products[(mine + 8 * i) * ${side} + p] = dots[i]; }
      workgroupBarrier();
      for (var o = mine; o < left_out && first + p < right_out; o += 8) {
        let w = record.y + o * left_in + begin;
        var sum = 0.0;
        var j = 0u;
        ${
  dotText({
    ...{ sum: "sum", at: "j", step: "1", end: "size" },
    load: (i) => `values[w + ${i}]`,
    factor: (i) => `products[(${i}) * ${side} + p]`,
  })
}
        add_y(y_at + o * right_out + first + p, bitcast<f32>(record.w) * sum, begin == 0);
      }
    }
  }
`;

/** Pieces of x from which on squares are filled well enough. */
const leastPieces = 8;

/** The body of a workgroup. */
export function updateText(rows: number): string {
  const own = threadsText(splitOf(rows).tile);
  // A GPU has more workgroups than rows need of one row: threads that share a product then wait less.
  return rows === 1 ? `${placeText}${own}` : `${placeText}
  if (left_in < ${leastPieces}) {
    ${own}
  } else {
    ${squaresText}
  }`;
}

/** Its functions and workgroup memory. */
export function declarationsOf(rows: number): string {
  const { tile, most } = splitOf(rows);
  return /* wgsl */ `
fn groups_of(out: u32) -> u32 { return min(${most}u, (out + ${tile - 1}) / ${tile}); }
var<workgroup> sums: array<f32, 256>;${
    rows === 1 ? "" : `
var<workgroup> pieces: array<f32, ${side * line}>;
var<workgroup> weights: array<f32, ${side * line}>;
var<workgroup> products: array<f32, ${side * side}>;`
  }
`;
}
