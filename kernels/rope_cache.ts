import {
  checkPacked,
  headThreads,
  type OfCaches,
  ofCaches,
  type PackedText,
  quadsOf,
  storeRows,
  storeText,
} from "./caches/format.ts";
import { float32 } from "./caches/float32.ts";
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
import { held, type Parts, type ReadSource, threadsOf, uniformsWith } from "./parts.ts";
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

/** WGSL of two elements, those at `at` and `at + apart`, and of what they turn to. */
const turnText = ({ read }: ReadSource): string =>
  `${read("a", "at", "f32")}
  ${read("b", "(at + apart)", "f32")}
  let turn = select(vec2f(1, 0), table[positions[row] * turned_pairs + min(pair, turned_pairs - 1)], turns);
  let turned = vec2f(a * turn.x - b * turn.y, b * turn.x + a * turn.y);`;

type Sizes = Readonly<Record<Uniforms, number>>;

/** One thread for two elements of a head that turn together, or that are copied. */
function wgslOf(source: ReadSource, bindings: readonly Binding[]): string {
  const { types } = source, threads = threadsOf(source);
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
  ${turnText(source)}
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

/** One workgroup for a head of a row: what is stored of a head may depend on all of its numbers. */
function packedWgsl(
  source: ReadSource,
  bindings: readonly Binding[],
  { packed, headDim }: { readonly packed: PackedText; readonly headDim: number },
): string {
  const width = 4 * quadsOf(headDim);
  return /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, source))}
${
    declareBindings(bindings, {
      ...source.types("f32"),
      ...{ table: "vec2f", positions: "u32", index: "u32", keys: "u32", values: "u32" },
    })
  }

${storeText(packed, headDim)}

@compute @workgroup_size(${headThreads})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let heads_in_row = uniforms.heads + 2 * uniforms.kvHeads;
  let row = id / heads_in_row;
  if (row >= uniforms.rows) { return; }
  let number = id % heads_in_row;
  let cache_row = index[row];
  for (var i = uniforms.headDim + local; i < ${width}; i += ${headThreads}) { head[i] = 0; }
  let turned_pairs = uniforms.rotaryDim / 2;
  for (var pair = local; pair < uniforms.headDim / 2; pair += ${headThreads}) {
    // Of elements that do not turn, a thread has two neighbours.
    let turns = pair < turned_pairs;
    let low = select(2 * pair, pair, turns);
    let apart = select(1u, turned_pairs, turns);
    let at = id * uniforms.headDim + low;
  ${turnText(source)}
    if (number < uniforms.heads) {
      qkv[at] = turned.x;
      qkv[at + apart] = turned.y;
    } else {
      let stored = select(vec2f(a, b), turned, number < uniforms.heads + uniforms.kvHeads);
      head[low] = stored.x;
      head[low + apart] = stored.y;
    }
  }
  workgroupBarrier();
  if (number < uniforms.heads || cache_row >= uniforms.cacheRows) { return; }
  let kv_head = number - uniforms.heads;
  let to = cache_row * uniforms.kvHeads + kv_head % uniforms.kvHeads;
  if (kv_head < uniforms.kvHeads) { keys_store(to, local); } else { values_store(to, local); }
}
`;
}

function launchFrom(
  source: ReadSource,
  { uniforms: { rows, heads, kvHeads, headDim } }: Call<Buffers, Uniforms>,
  { limits, packed }: { readonly limits: Limits; readonly packed?: PackedText },
): Launch {
  const bindings: Binding[] = [
    ...source.bindings,
    { name: "table", access: "read" },
    { name: "positions", access: "read" },
    { name: "index", access: "read" },
    { name: "keys", access: "read_write" },
    { name: "values", access: "read_write" },
  ];
  const headsInAll = rows * (heads + 2 * kvHeads);
  const wgsl = packed ? packedWgsl(source, bindings, { packed, headDim }) : wgslOf(source, bindings);
  const groups = packed ? headsInAll : Math.ceil(headsInAll * headDim / 2 / threadsOf(source));
  return { dispatches: [{ wgsl, bindings, grid: grid(groups, limits) }] };
}

/** How a GPU launches the kernel, whatever made qkv. */
function launchesOf(packed?: PackedText): Pick<Kernel<Buffers, Uniforms>, "launch" | "consume"> {
  const check = ({ headDim, rotaryDim }: Sizes): void => {
    checkRotary(headDim, rotaryDim);
    if (packed) checkPacked(headDim);
  };
  return {
    launch(call, limits) {
      check(call.uniforms);
      return launchFrom(held("qkv", "read_write"), call, { limits, packed });
    },
    consume: {
      buffer: "qkv",
      launch(call, limits, parts: Parts) {
        check(call.uniforms);
        const { rows, heads, kvHeads, headDim } = call.uniforms;
        return parts.count === rows * (heads + 2 * kvHeads) * headDim
          ? launchFrom(parts.source("qkv"), call, { limits, packed })
          : undefined;
      },
    },
  };
}

const floats: Kernel<Buffers, Uniforms> = defineKernel({
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
    keys: { access: "read_write", ...float32.buffer },
    values: { access: "read_write", ...float32.buffer },
  },
  uniforms,
  ...launchesOf(),
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

/** What lies between the projections and attention: positions into q and k, and k and v into the cache. */
export const ropeCache: OfCaches<Buffers, Uniforms> = ofCaches(floats, (format, name) => ({
  ...floats,
  name,
  doc: `As \`rope_cache\`, to caches of ${format.doc}`,
  buffers: {
    ...floats.buffers,
    keys: { access: "read_write", ...format.buffer },
    values: { access: "read_write", ...format.buffer },
  },
  ...launchesOf(format.packed),
  reference: (arrays, uniforms) =>
    storeRows(
      format,
      arrays,
      uniforms,
      (caches) => floats.reference({ ...arrays, ...caches }, { ...uniforms, cacheRows: uniforms.rows }),
    ),
  wasm: ({ rows, heads, kvHeads, headDim, rotaryDim, cacheRows }) => ({
    function: "packed_rope_cache",
    args: [
      ...["qkv", (heads + 2 * kvHeads) * headDim, "table", "positions", "index", "keys", "values", "key"],
      ...[heads, kvHeads, headDim, rotaryDim, cacheRows, format.bits],
    ],
    items: rows,
    work: 4 * rows * (heads + 2 * kvHeads) * headDim,
    each: { key: 16 * quadsOf(headDim) },
  }),
  // Of the numbers that are read back. A number that two devices round differently is off by one step.
  tolerance: format.error.relative,
}));
