/**
 * The WGSL of the attention kernel.
 *
 * @module
 */
import { type CacheSizes, type PackedText, quadsOf } from "../caches/format.ts";
import { uniformStruct, workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { softcapText } from "../softcap.ts";

/** Uniform words of the kernel. */
export const uniforms = {
  rows: "u32",
  heads: "u32",
  kvHeads: "u32",
  headDim: "u32",
  qStride: "u32",
  cacheRows: "u32",
  /** Cache rows of a block. */
  blockSize: "u32",
  /** Entries of blockTable. */
  tableSize: "u32",
  /** Keys of a row, its own among them; 0: all before it. */
  window: "u32",
  scale: "f32",
  /** What scores are capped to by tanh; 0: not at all. */
  softcap: "f32",
} as const;

/** Four elements of a head: one wide load where heads start at multiples of four elements. */
const quadLoad = (name: string, wide: boolean): string =>
  wide
    ? `fn ${name}_quad(begin: u32, quad: u32) -> vec4f { return ${name}[begin / 4 + quad]; }`
    : `fn ${name}_quad(begin: u32, quad: u32) -> vec4f {
  var value = vec4f();
  for (var i = 0u; i < min(4u, uniforms.headDim - 4 * quad); i++) { value[i] = ${name}[begin + 4 * quad + i]; }
  return value;
}`;

/** Loads of a key, and values, that a thread reads before it uses the first. */
const keyReads = 8, valueReads = 4;

const each = (count: number, text: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => `        ${text(i)}`).join("\n");

/** How the text reads the caches. */
interface CacheText {
  /** Types of the elements of keys and of values. */
  readonly types: readonly [keys: string, values: string];
  /** `values_quad`, and what the products call. */
  readonly functions: string;
  /** What `begin` is made of, beside `kv_head`. */
  readonly lets: string;
  /** WGSL expression, by a cache row: where its head begins. */
  readonly begin: (row: string) => string;
  /** What `begin` counts. */
  readonly units: string;
  /** Statements that add the products of the query and the key at `begin` to `products`. */
  readonly products: string;
  /** Whether there are `keys_scale(begin)` and `values_scale(begin)`, by which numbers are to be multiplied. */
  readonly scaled?: boolean;
}

/** How a key is read in loads, each of some quads; `load` is an expression in `i`. */
interface KeyLoads {
  readonly load: (i: string) => string;
  readonly quads: readonly ((loaded: string) => string)[];
}

/** Statements that add the products of `count` loads from load `i` on. */
function productsOf({ load, quads }: KeyLoads, count: number): string {
  const first = (n: number): string => quads.length === 1 ? `i + ${n}` : `${quads.length} * (i + ${n})`;
  const product = (n: number): string =>
    quads.map((quad, q) => `products += query[${first(n)}${q ? ` + ${q}` : ""}] * ${quad(`key${n}`)};`).join(
      " ",
    );
  return `${each(count, (n) => `let key${n} = ${load(`i + ${n}`)};`)}\n${each(count, product)}`;
}

/** The products of the first `whole` loads, as many at once as a thread reads at once. */
const wholeText = (loads: KeyLoads, whole: number, atOnce: number): string =>
  `      for (var i = 0u; i < ${whole}; i += ${atOnce}) {
${productsOf(loads, atOnce)}
      }`;

function floatText(headDim: number, wide: boolean): CacheText {
  const quads = quadsOf(headDim), whole = quads - quads % keyReads, type = wide ? "vec4f" : "f32";
  const loads: KeyLoads = { load: (i) => `keys_quad(begin, ${i})`, quads: [(loaded) => loaded] };
  return {
    types: [type, type],
    functions: ["keys", "values"].map((name) => quadLoad(name, wide)).join("\n"),
    lets: `  let kv_width = uniforms.kvHeads * uniforms.headDim;
  let kv_begin = kv_head * uniforms.headDim;`,
    begin: (row) => `${row} * kv_width + kv_begin`,
    units: "elements of the caches",
    products: `${whole > 0 ? wholeText(loads, whole, keyReads) : ""}
      for (var i = ${whole}u; i < quads; i++) { products += query[i] * keys_quad(begin, i); }`,
  };
}

function packedText(text: PackedText, sizes: CacheSizes): CacheText {
  const quads = quadsOf(sizes.headDim), wide = text.readsWide(sizes);
  const types = [wide ? "vec4u" : text.quadType, text.quadType] as const;
  const count = wide ? quads / text.wideQuads.length : quads;
  const loads: KeyLoads = {
    load: (i) => `keys[begin * ${count} + ${i}]`,
    quads: wide ? text.wideQuads : [text.quad],
  };
  const rest = count % keyReads, whole = count - rest;
  const value = text.quad(`values[begin * ${quads} + quad]`);
  return {
    types,
    functions: [
      `fn values_quad(begin: u32, quad: u32) -> vec4f { return ${value}; }`,
      ...["keys", "values"].map((name, i) => text.reads(name, sizes, types[i])),
    ].join("\n"),
    lets: "",
    begin: (row) => `${row} * uniforms.kvHeads + kv_head`,
    units: "heads of the caches",
    products: [
      ...whole > 0 ? [wholeText(loads, whole, keyReads)] : [],
      ...rest > 0 ? [`      {\n        let i = ${whole}u;\n${productsOf(loads, rest)}\n      }`] : [],
    ].join("\n"),
    scaled: text.scaled,
  };
}

/**
 * One workgroup for a row's head; keys in tiles of 256. Each thread scores one key of the tile; then the threads
 * stand as slices x quads of the head's elements, and each slice sums every slices-th value and weight. Softmax is
 * online: a tile that raises the maximum rescales what was summed, so no memory grows with the context. A head's size is
 * in the text, so that compilers know how many reads there are, and have several under way.
 */
export function attentionWgsl(
  { headDim, ...sizes }: CacheSizes,
  { wide, capped, packed }: {
    /** Whether heads of q, and of float32 caches, start at multiples of four elements. */
    readonly wide: boolean;
    readonly capped: boolean;
    /** How packed caches are read; absent of float32. */
    readonly packed?: PackedText;
  },
): string {
  const quads = quadsOf(headDim), slices = Math.floor(256 / quads);
  const cache = packed ? packedText(packed, { headDim, ...sizes }) : floatText(headDim, wide);
  const { types: [keyType, valueType], scaled } = cache;
  return /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> q: array<${wide ? "vec4f" : "f32"}>;
@group(0) @binding(2) var<storage, read> keys: array<${keyType}>;
@group(0) @binding(3) var<storage, read> values: array<${valueType}>;
@group(0) @binding(4) var<storage, read> blockTable: array<u32>;
@group(0) @binding(5) var<storage, read> first: array<u32>;
@group(0) @binding(6) var<storage, read> lastKey: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;
${quadLoad("q", wide)}
${cache.functions}
${capped ? softcapText("f32") : ""}

const quads = ${quads}u;
const slices = ${slices}u;
const lowest = -1e38;
var<workgroup> query: array<vec4f, quads>;
var<workgroup> weights: array<f32, 256>;
// Where the keys of a tile begin, in ${cache.units}.
var<workgroup> places: array<u32, 256>;
var<workgroup> parts: array<f32, 16>;
var<workgroup> sums: array<vec4f, 256>;
var<workgroup> weight_sums: array<f32, slices>;
${scaled ? "// Weights times the values' factors.\nvar<workgroup> scaled: array<f32, 256>;" : ""}

// In two steps: 16 threads take every sixteenth score, and each thread what they have.
fn largest(score: f32, local: u32) -> f32 {
  weights[local] = score;
  workgroupBarrier();
  if (local < 16) {
    var part = score;
    for (var i = 16u; i < 256; i += 16) { part = max(part, weights[local + i]); }
    parts[local] = part;
  }
  workgroupBarrier();
  var result = parts[0];
  for (var i = 1u; i < 16; i++) { result = max(result, parts[i]); }
  return result;
}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let row = id / uniforms.heads;
  if (row >= uniforms.rows) { return; }
  let kv_head = (id % uniforms.heads) / (uniforms.heads / uniforms.kvHeads);
${cache.lets}
  let blocks = first[row];
  let entries = uniforms.tableSize - min(blocks, uniforms.tableSize);
  let end = min(min(lastKey[row], uniforms.cacheRows - 1) + 1, entries * uniforms.blockSize);
  let outside = uniforms.window > 0 && lastKey[row] >= uniforms.window;
  let skipped = select(0u, lastKey[row] - uniforms.window + 1, outside);
  let start = min(skipped, end);

  let slice = local / quads;
  let quad = local % quads;
  if (local < quads) {
    let begin = row * uniforms.qStride + (id % uniforms.heads) * uniforms.headDim;
    query[local] = q_quad(begin, local) * uniforms.scale;
  }
  workgroupBarrier();

  var maximum = lowest;
  var sum = 0.0;
  var acc = vec4f();
  for (var tile = start; tile < end; tile += 256) {
    let size = min(256u, end - tile);
    var score = lowest;
    if (local < size) {
      let key = tile + local;
      let block = blockTable[blocks + key / uniforms.blockSize];
      let begin = ${cache.begin("(block * uniforms.blockSize + key % uniforms.blockSize)")};
      places[local] = begin;
      var products = vec4f();
${cache.products}
      score = products.x + products.y + products.z + products.w;
${scaled ? "      score *= keys_scale(begin);" : ""}
${capped ? "      score = softcapped(score, uniforms.softcap);" : ""}
    }
    let raised = max(maximum, largest(score, local));
    let rescale = exp(maximum - raised);
    weights[local] = select(0.0, exp(score - raised), local < size);
${scaled ? "    if (local < size) { scaled[local] = weights[local] * values_scale(places[local]); }" : ""}
    maximum = raised;
    workgroupBarrier();
    acc *= rescale;
    sum *= rescale;
    if (slice < slices) {
      for (var j = slice; j < size; j += ${valueReads} * slices) {
${each(valueReads, (i) => `let at${i} = min(j + ${i} * slices, size - 1);`)}
${each(valueReads, (i) => `let value${i} = values_quad(places[at${i}], quad);`)}
${each(valueReads, (i) => `let weight${i} = select(0.0, weights[at${i}], j + ${i} * slices < size);`)}
${
    scaled
      ? each(valueReads, (i) => `let factor${i} = select(0.0, scaled[at${i}], j + ${i} * slices < size);`)
      : ""
  }
${each(valueReads, (i) => `acc += ${scaled ? "factor" : "weight"}${i} * value${i}; sum += weight${i};`)}
      }
    }
    workgroupBarrier();
  }

  sums[local] = acc;
  if (slice < slices && quad == 0) { weight_sums[slice] = sum; }
  workgroupBarrier();
  if (local < uniforms.headDim) {
    var value = 0.0;
    var all = 0.0;
    for (var s = 0u; s < slices; s++) {
      value += sums[s * quads + local / 4][local % 4];
      all += weight_sums[s];
    }
    y[id * uniforms.headDim + local] = select(0.0, value / all, start < end);
  }
}
`;
}
