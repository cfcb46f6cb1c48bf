import {
  type Binding,
  type Call,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { held, type ReadSource, threadsOf, uniformsWith } from "./parts.ts";
import { checkRotary } from "./rotary.ts";

type Buffers = "qkv" | "table" | "positions" | "index" | "keys" | "values";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  rows: "u32",
  heads: "u32",
  kvHeads: "u32",
  headDim: "u32",
  rotaryDim: "u32",
  cacheRows: "u32",
} as const;

/** One thread for two elements of a head that turn together, or that are copied. */
function wgslOf(source: ReadSource, bindings: readonly Binding[]): string {
  const { types, read } = source, threads = threadsOf(source);
  return /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, source))}
${
    declareBindings(bindings, {
      ...types("f32"),
      ...{ table: "vec2f", positions: "u32", index: "u32", keys: "f32", values: "f32" },
    })
  }

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let half = uniforms.headDim / 2;
  let i = (${workgroupIndex}) * ${threads} + local;
  let pair = i % half;
  let heads_in_row = uniforms.heads + 2 * uniforms.kvHeads;
  let head = (i / half) % heads_in_row;
  let row = (i / half) / heads_in_row;
  if (row >= uniforms.rows) { return; }
  // Of elements that do not turn, a thread has two neighbours.
  let turned_pairs = uniforms.rotaryDim / 2;
  let turns = pair < turned_pairs;
  let low = select(2 * pair, pair, turns);
  let apart = select(1u, turned_pairs, turns);
  let at = (i / half) * uniforms.headDim + low;
  // Read beside the rest: the GPU waits once for what is not at hand.
  let cache_row = index[row];
  ${read("a", "at", "f32")}
  ${read("b", "(at + apart)", "f32")}
  let turn = select(vec2f(1, 0), table[positions[row] * turned_pairs + min(pair, turned_pairs - 1)], turns);
  let turned = vec2f(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
  if (head < uniforms.heads) {
    qkv[at] = turned.x;
    qkv[at + apart] = turned.y;
    return;
  }
  if (cache_row >= uniforms.cacheRows) { return; }
  let kv_head = head - uniforms.heads;
  let target_at = (cache_row * uniforms.kvHeads + kv_head % uniforms.kvHeads) * uniforms.headDim + low;
  if (kv_head < uniforms.kvHeads) {
    keys[target_at] = turned.x;
    keys[target_at + apart] = turned.y;
  } else {
    values[target_at] = a;
    values[target_at + apart] = b;
  }
}
`;
}

function launchFrom(
  source: ReadSource,
  { uniforms: { rows, heads, kvHeads, headDim } }: Call<Buffers, Uniforms>,
  limits: Limits,
): Launch {
  const bindings: Binding[] = [
    ...source.bindings,
    { name: "table", access: "read" },
    { name: "positions", access: "read" },
    { name: "index", access: "read" },
    { name: "keys", access: "read_write" },
    { name: "values", access: "read_write" },
  ];
  const groups = Math.ceil(rows * (heads + 2 * kvHeads) * headDim / 2 / threadsOf(source));
  return { dispatches: [{ wgsl: wgslOf(source, bindings), bindings, grid: grid(groups, limits) }] };
}

/** What lies between the projections and attention: positions into q and k, and k and v into the cache. */
export const ropeCache: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rope_cache",
  doc: "Turns the query heads of each row in place as `rope` does; writes the turned key heads to " +
    "keys[index[r]] and the value heads to values[index[r]]. An index of cacheRows or more is skipped, other rows of " +
    "the caches stay. Every position is in the table; no two rows name one place.",
  buffers: {
    qkv: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, heads + 2 kvHeads, headDim), row-major: queries, turned in place, then keys, then values",
    },
    table: { access: "read", dtypes: ["float32"], doc: "(positions, rotaryDim / 2, 2): cosine, sine" },
    positions: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    index: { access: "read", dtypes: ["uint32"], doc: "(rows): the row's place in the caches" },
    keys: { access: "read_write", dtypes: ["float32"], doc: "(cacheRows, kvHeads, headDim), row-major" },
    values: { access: "read_write", dtypes: ["float32"], doc: "(cacheRows, kvHeads, headDim), row-major" },
  },
  uniforms,
  launch(call, limits) {
    checkRotary(call.uniforms.headDim, call.uniforms.rotaryDim);
    return launchFrom(held("qkv", "read_write"), call, limits);
  },
  consume: {
    buffer: "qkv",
    launch(call, limits, parts) {
      const { rows, heads, kvHeads, headDim, rotaryDim } = call.uniforms;
      checkRotary(headDim, rotaryDim);
      return parts.count === rows * (heads + 2 * kvHeads) * headDim
        ? launchFrom(parts.source("qkv"), call, limits)
        : undefined;
    },
  },
  reference({ qkv, table, positions, index, keys, values }, uniforms) {
    const { rows, heads, kvHeads, headDim, rotaryDim, cacheRows } = uniforms;
    const half = rotaryDim / 2, width = kvHeads * headDim;
    for (let r = 0; r < rows; r++) {
      const queries = r * (heads + 2 * kvHeads) * headDim;
      const toCache = queries + heads * headDim;
      for (let at = queries; at < toCache + width; at += headDim) {
        const head = Array.from({ length: headDim }, (_, i) => qkv[at + i]);
        for (let i = 0; i < half; i++) {
          const turn = positions[r] * rotaryDim + 2 * i;
          const cos = table[turn], sin = table[turn + 1];
          const a = head[i], b = head[i + half];
          head[i] = a * cos - b * sin;
          head[i + half] = b * cos + a * sin;
        }
        if (at < toCache) qkv.set(head, at);
        else if (index[r] < cacheRows) keys.set(head, index[r] * width + at - toCache);
      }
      if (index[r] >= cacheRows) continue;
      for (let i = 0; i < width; i++) values[index[r] * width + i] = qkv[toCache + width + i];
    }
  },
  wasm: ({ rows, heads, kvHeads, headDim, rotaryDim, cacheRows }) => ({
    function: "rope_cache",
    args: [
      ...["qkv", (heads + 2 * kvHeads) * headDim, "table", "positions", "index", "keys", "values"],
      ...[heads, kvHeads, headDim, rotaryDim, cacheRows],
    ],
    items: rows,
    work: 4 * rows * (heads + 2 * kvHeads) * headDim,
  }),
  tolerance: 1e-6,
});
