/**
 * Which tiles a product on matrix units runs with, and its dispatches.
 *
 * A step of a tile of r rows and c columns reads 2 c bytes of the weight and 4 r (of halves 2 r) of x for each input,
 * for 2 r c operations. x is read again for every tile across: 64 rows read as much of x as of the weight in tiles of
 * 128 columns, out of a cache. 4096^3 is 137 GFLOP and reads through the cache 1.6 GB in tiles of 128 x 256 of halves,
 * 2.1 GB in tiles of 128 x 128 of halves, and 3.2 GB where x is float32; to round x beforehand moves 0.1 GB once. For 16
 * inputs, a subgroup's 64 x 64 reads 4 KiB of workgroup memory and computes 131 KFLOP: of a tile of 128 x 256, or of one
 * of 128 x 128 by four subgroups. The 64 x 32 of a tile of 128 x 128 by eight reads 3 KiB for 66 KFLOP, the 32 x 32 of
 * 64 x 128 2 KiB for 33, the 32 x 16 of 64 x 64 1.5 KiB for 16.
 *
 * On an H100, 4096^3 took 581 us in tiles of 128 x 128 of halves by four subgroups (33 of them to round x), 599 in
 * 128 x 256 of halves, 1012 in 128 x 128 by eight subgroups, 1007 in 64 x 128. What counted was 64 x 64 for each subgroup
 * (tiles of 128 x 128 of float32 took 671 us by four), and constant places in the loads of matrices, which took tiles of
 * 128 x 256 of float32 from 809 us to 635: for others, Tint selects place and stride at run time. Slower, and not kept:
 * x rounded on its way in those two; steps of 64 inputs for four subgroups (620); tiles of 128 x 256 by 16 subgroups
 * (692), of 256 x 128 (721), and of 64 x 256 (950); two buffers of steps of 16 or 32 inputs, one written while the other
 * is read (785 to 1196); and, where tiles are few, more slices than for 160 workgroups.
 *
 * @module
 */
import {
  type Binding,
  type Choice,
  declareBindings,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import {
  halvesFunction,
  matrixBytes,
  matrixThreads,
  type MatrixTile,
  subgroupMatrixWgsl,
  type Whole,
} from "./subgroup_matrix.ts";
import { putBody, uniforms } from "./wgsl.ts";

/** Features that a device has where it was opened for products on matrix units. */
const features = ["chromium-experimental-subgroup-matrix", "shader-f16", "subgroups"];

/** With fewer the product for few rows reads the weight once as well, and rounds nothing. */
const fewestRows = 9;

/** Workgroups that fill a large GPU. */
const manyGroups = 100;

/** Workgroups that sums are cut in slices for where there are fewer tiles. */
const slicedGroups = 160;

/** The ways by name; workgroup memory of 20 to 34 KiB. */
export const matrixTiles: Readonly<Record<string, MatrixTile>> = {
  "matrix 128 x 128 of halves, 4 subgroups": { rows: 128, columns: 128, inner: 32, halves: true, across: 2 },
  "matrix 128 x 256 of halves": { rows: 128, columns: 256, inner: 32, halves: true, across: 4 },
  "matrix 128 x 128": { rows: 128, columns: 128, inner: 32, halves: false, across: 4 },
  "matrix 64 x 128": { rows: 64, columns: 128, inner: 64, halves: false, across: 4 },
  "matrix 64 x 64": { rows: 64, columns: 64, inner: 128, halves: false, across: 4 },
  "matrix 32 x 128": { rows: 32, columns: 128, inner: 64, halves: false, across: 4 },
  "matrix 32 x 64": { rows: 32, columns: 64, inner: 128, halves: false, across: 4 },
};

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
}

/** Whether matrix units can multiply these by a weight of float16, on a device with these limits. */
export function takesMatrixUnits({ rows, in: inSize }: Sizes, limits: Limits): boolean {
  return rows >= fewestRows && inSize % 8 === 0 && features.every((name) => limits.features.has(name)) &&
    Object.values(matrixTiles).every((tile) =>
      matrixThreads(tile) <= limits.invocations && matrixBytes(tile) <= limits.workgroupStorageBytes
    );
}

const tilesOf = ({ rows, out }: Sizes, tile: MatrixTile): number =>
  Math.ceil(rows / tile.rows) * Math.ceil(out / tile.columns);

/** Names of the ways that may be fastest, as they are preferred where there are tiles enough of each. */
function candidates(rows: number): readonly string[] {
  if (rows <= 32) return ["matrix 32 x 128", "matrix 32 x 64"];
  if (rows <= 64) return ["matrix 64 x 128", "matrix 64 x 64"];
  if (rows <= 128) return ["matrix 128 x 128", "matrix 64 x 128", "matrix 64 x 64"];
  return [
    "matrix 128 x 128 of halves, 4 subgroups",
    "matrix 128 x 256 of halves",
    "matrix 128 x 128",
    "matrix 64 x 128",
  ];
}

/** Workgroups that share a tile's sum: a power of two, so that few texts serve all sizes; two steps each at least. */
function slicesOf(sizes: Sizes, tile: MatrixTile): number {
  const wanted = Math.min(slicedGroups / tilesOf(sizes, tile), sizes.in / (2 * tile.inner));
  return 2 ** Math.max(0, Math.floor(Math.log2(wanted)));
}

/** The ways of a product, four at most; the usual one first: tiles of which there are enough, or else the smallest. */
export function matrixWays(sizes: Sizes): Choice {
  const count = (name: string): number => tilesOf(sizes, matrixTiles[name]);
  const names = candidates(sizes.rows);
  const usual = names.find((name) => count(name) >= manyGroups) ??
    names.reduce((most, name) => count(name) > count(most) ? name : most);
  const rows = 2 ** Math.ceil(Math.log2(sizes.rows));
  return {
    key: `matrix ${rows} x ${sizes.in} by ${sizes.out}`,
    ways: [usual, ...names.filter((name) => name !== usual)],
  };
}

interface Bound extends Binding {
  /** WGSL element type. */
  readonly element: string;
}

const read = (name: string, element: string): Bound => ({ name, access: "read", element });
const write = (name: string, element: string): Bound => ({ name, access: "read_write", element });

/** Declarations of a dispatch. */
function declare(bindings: readonly Bound[]): string {
  const types = Object.fromEntries(bindings.map(({ name, element }) => [name, element]));
  return `${uniformStruct(uniforms)}\n${declareBindings(bindings, types)}`;
}

const put = (body: string): string =>
  `fn put(row: u32, column: u32, value: f32) {
  if (row >= uniforms.rows || column >= uniforms.out) { return; }
  ${body}
}`;

const unnamed = (bindings: readonly Bound[]): Binding[] =>
  bindings.map(({ name, access }) => ({ name, access }));

/** x as float16, eight numbers a thread. */
function halve({ rows, in: inSize }: Sizes, limits: Limits): Dispatch {
  const bindings = [read("x", "vec4f"), write("halved", "vec4u")];
  const wgsl = /* wgsl */ `
${declare(bindings)}
${halvesFunction}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * (uniforms.in / 8)) { return; }
  halved[i] = halves(mat2x4f(x[2 * i], x[2 * i + 1]));
}
`;
  return { wgsl, bindings: unnamed(bindings), grid: grid(Math.ceil(rows * inSize / 2048), limits) };
}

/** y from the slices' sums, added in their order. */
function addSlices({ rows, out }: Sizes, text: { slices: number; bias: boolean }, limits: Limits): Dispatch {
  const bindings = [
    read("partials", "f32"),
    ...(text.bias ? [read("bias", "f32")] : []),
    write("y", "f32"),
  ];
  const wgsl = /* wgsl */ `
${declare(bindings)}
${put(putBody(text.bias))}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let count = uniforms.rows * uniforms.out;
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= count) { return; }
  var sum = 0.0;
  for (var s = 0u; s < ${text.slices}; s++) { sum += partials[s * count + i]; }
  put(i / uniforms.out, i % uniforms.out, sum);
}
`;
  return { wgsl, bindings: unnamed(bindings), grid: grid(Math.ceil(rows * out / 256), limits) };
}

/**
 * Whether y has tiles that can be stored as they are: whole ones, whose rows start at 16 bytes. Where the text stores a
 * matrix to a buffer, Dawn refuses any buffer that is smaller than one.
 */
function hasWhole({ rows, out }: Sizes, tile: MatrixTile): boolean {
  return rows >= tile.rows && out >= tile.columns && out % 4 === 0;
}

/** The dispatches of y = or += x W^T (+ bias) with a weight of float16, by tiles of this size. */
export function matrixLaunch(
  sizes: Sizes,
  { tile, bias }: { readonly tile: MatrixTile; readonly bias: boolean },
  limits: Limits,
): Launch {
  const slices = slicesOf(sizes, tile);
  const sliced = slices > 1;
  const bindings = [
    tile.halves ? read("halved", "vec4u") : read("x", "vec4f"),
    read("weight", "vec4u"),
    ...(bias && !sliced ? [read("bias", "f32")] : []),
    write(sliced ? "partials" : "y", "f32"),
  ];
  const store = "partials[(slice * uniforms.rows + row) * uniforms.out + column] = value;";
  const prelude = `${declare(bindings)}\n${put(sliced ? store : putBody(bias))}`;
  const direct: Whole | undefined = sliced
    ? { array: "partials", begin: "this_slice * uniforms.rows * uniforms.out", when: "true" }
    : bias
    ? undefined
    : { array: "y", begin: "0", when: "uniforms.accumulate == 0" };
  const whole = hasWhole(sizes, tile) ? direct : undefined;
  const main: Dispatch = {
    wgsl: subgroupMatrixWgsl(tile, { prelude, slices, whole }),
    bindings: unnamed(bindings),
    grid: grid(slices * tilesOf(sizes, tile), limits),
  };
  const { rows, in: inSize, out } = sizes;
  return {
    dispatches: [
      ...(tile.halves ? [halve(sizes, limits)] : []),
      main,
      ...(sliced ? [addSlices(sizes, { slices, bias }, limits)] : []),
    ],
    scratch: {
      ...(tile.halves ? { halved: 2 * rows * inSize } : {}),
      ...(sliced ? { partials: 4 * slices * rows * out } : {}),
    },
  };
}
