/**
 * Any product of two matrices as dispatches: operands along or across the index summed over, in parts of larger
 * buffers, with a store of the caller's. Where the tiles alone would leave a GPU idle, the sum is cut in slices
 * that a second dispatch adds in their order.
 *
 * @module
 */
import {
  type Binding,
  declareBindings,
  type Dispatch,
  grid,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import type { Parts, ReadSource } from "../parts.ts";
import { floatQuads, type Floats } from "../formats/dense.ts";
import type { LineText, QuadText, StoredWeight, TextSize } from "../formats/format.ts";
import { type Along, sidesOf, threadsOf, type Tile, tiledWgsl } from "./tiled.ts";
import { usualTile } from "./ways.ts";

/** What a matrix is stored in: its bindings, and how they are read. */
interface Stored {
  readonly names: readonly string[];
  readonly quads: (line: LineText) => QuadText;
}

/** A row-major matrix. */
export interface Operand {
  readonly stored: Stored;
  readonly along: Along;
  /** Lines, and elements of a line. */
  readonly shape: readonly [lines: TextSize, length: TextSize];
}

/** A matrix of float32. */
export function floats(of: Omit<Floats, "dtype">): Stored {
  return { names: [of.name], quads: (line) => floatQuads({ ...of, dtype: "float32" }, line) };
}

/** A weight of some format. */
export function ofWeight({ format, types }: StoredWeight): Stored {
  return { names: Object.keys(format.buffers), quads: (line) => format.quads(line, types) };
}

/** y (rows, columns) from x times weight, summed over `inner`. */
export interface Product {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly x: Operand;
  readonly weight: Operand;
  readonly y: {
    /** The binding's name; no operand may share its buffer. */
    readonly name: string;
    /** WGSL that stores `value` of `row` and `column`. */
    readonly put: string;
    /**
     * The same for a vec4f of four columns in a y of vec4f: used where there is a multiple of four columns. Left out
     * where lines of y need not start at multiples of four.
     */
    readonly putQuad?: string;
  };
  readonly rows: TextSize;
  readonly columns: TextSize;
  readonly inner: TextSize;
  /** float32 buffers that sizes and stores read. */
  readonly also?: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
}

/** Dispatches of a product, and the bytes of the scratch `partials` that they need. */
export interface ProductLaunch {
  readonly dispatches: readonly Dispatch[];
  readonly partialBytes: number;
  /** The result in slices, where it is made of some: the first is stored as the result is, the others are in scratch. */
  readonly sliced?: () => Parts;
}

/** Threads it takes to fill a large GPU, and the inner length below which a slice is not worth its sum. */
const manyThreads = 2 ** 16;
const shortestSlice = 128;

/** How an operand is read. Of a line along the inner index, elements past its end are zeros. */
function quadsOf(role: string, { stored, along, shape: [, length] }: Operand): QuadText {
  return stored.quads({ role, length, padded: along === "inner" && length.count % 16 !== 0 });
}

/** Bindings of buffers that are read, then of those that are written. */
const bind = (reads: readonly string[], writes: readonly string[]): Binding[] => [
  ...reads.map((name): Binding => ({ name, access: "read" })),
  ...writes.map((name): Binding => ({ name, access: "read_write" })),
];

const overrides = (constants: Readonly<Record<string, number>> = {}): string =>
  Object.keys(constants).map((name) => `override ${name}: u32;`).join("\n");

/** How results are stored: WGSL for one or for four of them, and the element type of what they are stored in. */
interface Store {
  readonly quads: boolean;
  readonly put: string;
}

/** Whether y, and the sums of slices, are stored by quads. */
function yStore({ y, columns }: Product): Store {
  return y.putQuad && columns.count % 4 === 0
    ? { quads: true, put: y.putQuad }
    : { quads: false, put: y.put };
}

/** Stores a slice of the result, the one of this number, to an array of slices. */
function sliceStore(product: Product, array: string, number: string): Store {
  const { quads } = yStore(product), { rows, columns } = product;
  const at = `(${number} * (${rows.text}) + row) * ${columns.text} + column`;
  return { quads, put: `${array}[${quads ? `(${at}) / 4` : at}] = value;` };
}

/** `fn put_quad(row, column, value)`, of which nothing is stored that lies past the end. */
function putFunctions({ rows, columns }: Product, { quads, put }: Store): string {
  const function_ = (name: string, type: string): string => `
fn ${name}(row: u32, column: u32, value: ${type}) {
  if (row >= ${rows.text} || column >= ${columns.text}) { return; }
  ${put}
}`;
  if (quads) return function_("put_quad", "vec4f");
  return `${function_("put", "f32")}
fn put_quad(row: u32, column: u32, value: vec4f) {
${[0, 1, 2, 3].map((i) => `  put(row, column + ${i}, value[${i}]);`).join("\n")}
}`;
}

/** Adds the slices of each result in their order. */
function sumSlices(product: Product, slices: number, limits: Limits): Dispatch {
  const { rows, columns, also = [], constants } = product;
  const store = yStore(product), width = store.quads ? 4 : 1, type = store.quads ? "vec4f" : "f32";
  const bindings = bind(["partials", ...also], [product.y.name]);
  const wgsl = /* wgsl */ `
${uniformStruct(product.uniforms)}
${overrides(constants)}
${
    declareBindings(bindings, {
      ...Object.fromEntries(also.map((name) => [name, "f32"])),
      partials: type,
      [product.y.name]: type,
    })
  }
${putFunctions(product, store)}

@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let line = ${columns.text} / ${width};
  let count = ${rows.text} * line;
  let i = (${workgroupIndex}) * 64 + local;
  if (i >= count) { return; }
  var sum = ${type}();
  for (var s = 0u; s < ${slices}; s++) { sum += partials[s * count + i]; }
  ${store.quads ? "put_quad" : "put"}(i / line, ${width} * (i % line), sum);
}
`;
  const groups = Math.ceil(rows.count * columns.count / width / 64);
  return { wgsl, bindings, constants, grid: grid(groups, limits) };
}

/** How the reader of a result adds its slices up: that in the result's own buffer first, then the others in their order. */
function slicedSource(result: string, others: number): ReadSource {
  return {
    bindings: [{ name: "slices", access: "read" }, { name: result, access: "read_write" }],
    types: (unit) => ({ slices: unit, [result]: unit }),
    words: ["slice_size"],
    read: (name, i, unit) => `
  var ${name} = ${result}[${i}];
  for (var slice_number = 0u; slice_number < ${others}; slice_number++) {
    ${name} += slices[slice_number * ${
      unit === "f32" ? "uniforms.slice_size" : "(uniforms.slice_size / 4)"
    } + ${i}];
  }
  ${result}[${i}] = ${name};`,
  };
}

/** Workgroups to a tile: a power of two, so that few texts serve all sizes. */
function slicesOf({ inner }: Product, tiles: number, tile: Tile): number {
  const wanted = Math.ceil(Math.log2(manyThreads / (tiles * threadsOf(tile))));
  return 2 ** Math.max(0, Math.min(wanted, Math.floor(Math.log2(inner.count / shortestSlice))));
}

/**
 * The dispatches of a product; the caller's launch provides scratch `partials` of `partialBytes`, if any.
 *
 * @param tile By default the usual one for these sizes.
 */
export function productLaunch(
  product: Product,
  limits: Limits,
  tile: Tile = usualTile({ rows: product.rows.count, columns: product.columns.count }),
): ProductLaunch {
  const { x, weight, rows, columns, inner, also = [], constants } = product;
  const [tileRows, tileColumns] = sidesOf(tile);
  const tiles = Math.ceil(rows.count / tileRows) * Math.ceil(columns.count / tileColumns);
  const slices = slicesOf(product, tiles, tile);
  const read = [quadsOf("x", x), quadsOf("weight", weight)];
  const reads = [...x.stored.names, ...weight.stored.names, ...also];
  const readTypes = [...read.flatMap(({ types }) => types), ...also.map(() => "f32")];
  /** The dispatch that makes the tiles, and stores them to buffers of its own. */
  const main = (store: Store, writes: readonly string[]): Dispatch => {
    const bindings = bind(reads, writes), type = store.quads ? "vec4f" : "f32";
    const types = Object.fromEntries([
      ...reads.map((name, i) => [name, readTypes[i]]),
      ...writes.map((name) => [name, type]),
    ]);
    const prelude = `${uniformStruct(product.uniforms)}
${overrides(constants)}
${declareBindings(bindings, types)}
${read.map(({ functions }) => functions).join("\n")}
${putFunctions(product, store)}`;
    const wgsl = tiledWgsl({
      tile,
      prelude,
      x: { along: x.along, size: rows.text },
      weight: { along: weight.along, size: columns.text },
      inner: inner.text,
      whole: inner.count % 16 === 0,
      slices,
    });
    return { wgsl, bindings, constants, grid: grid(slices * tiles, limits) };
  };
  const { name } = product.y, own = yStore(product), count = rows.count * columns.count;
  if (slices === 1) return { dispatches: [main(own, [name])], partialBytes: 0 };
  return {
    dispatches: [
      main(sliceStore(product, "partials", "slice"), ["partials"]),
      sumSlices(product, slices, limits),
    ],
    partialBytes: 4 * slices * count,
    sliced() {
      const { put } = sliceStore(product, "slices", "(slice - 1)");
      const first = { ...own, put: `if (slice == 0) { ${own.put} } else { ${put} }` };
      return {
        count,
        launch: {
          dispatches: [main(first, ["slices", name])],
          scratch: { slices: 4 * (slices - 1) * count },
        },
        words: { slice_size: count },
        source: (result: string) => slicedSource(result, slices - 1),
      };
    },
  };
}

/** Scratch of a launch made of products that run one after the other. */
export function partialScratch(launches: readonly ProductLaunch[]): Record<string, number> {
  const bytes = Math.max(0, ...launches.map((launch) => launch.partialBytes));
  return bytes > 0 ? { partials: bytes } : {};
}
