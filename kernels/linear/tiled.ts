/**
 * The product for many rows: a workgroup makes a tile of y, each thread 4 to 16 rows by 8 columns of it in registers,
 * from sixteen inputs at a time that lie in workgroup memory.
 *
 * A thread of 8 by 8 does 1024 multiplications for sixteen inputs, and 64 loads of 16 bytes from workgroup memory. All
 * of them stand in the text, at constant places after a few addresses that are the same in every step: nothing else is
 * left to compute, and no index to check.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** A tile of y, and the threads that make it. */
export interface Tile {
  /** Threads along the rows, a multiple of 4, and along the columns, a multiple of 8; 32 or more in all. */
  readonly lanes: readonly [rows: number, columns: number];
  /** Quads of rows and of columns that a thread makes. */
  readonly quads: readonly [rows: number, columns: number];
  /** With two, the next inputs are stored while these are read: one barrier a step for twice the memory. */
  readonly buffers: 1 | 2;
}

/** Which index runs along a line of an operand's memory: the one summed over, or the result's row or column. */
export type Along = "inner" | "outer";

/** An operand: `<role>_begin(line)` says where a line begins, `<role>_quad(begin, quad)` reads four elements of it. */
export interface TiledOperand {
  readonly along: Along;
  /** WGSL expression of its size along the result. */
  readonly size: string;
}

/** What the text of a tiled product depends on. Sizes are WGSL expressions. */
export interface Tiled {
  readonly tile: Tile;
  /** Declares the operands' functions, and `put_quad(row, column, value)`, which checks that they are inside y. */
  readonly prelude: string;
  readonly x: TiledOperand;
  readonly weight: TiledOperand;
  readonly inner: string;
  /** Whether `inner` is a multiple of sixteen. */
  readonly whole: boolean;
  /** Workgroups that share a tile's sum; above 1, `put_quad` is told which by `var<private> slice`. */
  readonly slices: number;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = <T>(items: readonly T[], line: (item: T) => string): string => items.map(line).join("\n");

/** Threads of a tile's workgroup. */
export function threadsOf({ lanes: [rows, columns] }: Tile): number {
  return rows * columns;
}

/** Rows and columns of a tile. */
export function sidesOf({ lanes, quads }: Tile): readonly [rows: number, columns: number] {
  return [4 * lanes[0] * quads[0], 4 * lanes[1] * quads[1]];
}

/** Bytes of workgroup memory that a tile takes. */
export function bytesOf(tile: Tile): number {
  const [rows, columns] = sidesOf(tile);
  return 64 * tile.buffers * (rows + columns);
}

/** How an operand gets to workgroup memory. */
interface Side extends TiledOperand {
  readonly role: "x" | "weight";
  readonly lanes: number;
  readonly quads: number;
}

const blocksOf = ({ lanes, quads }: Side): number => 4 * lanes * quads;

/**
 * Quads are permuted by an exclusive or that depends on their inputs, so that the stores of eight neighbouring threads
 * fall on different banks.
 */
const permuted = (side: Side, lane: string, k: string): string =>
  `(${lane}) ^ ((2 * ${k}) & ${side.lanes - 1})`;

/**
 * Four by four elements of an operand: `<role>_origin` is what stays the same in all steps, `<role>_fetch` gives a vector
 * of four neighbouring rows for each of four inputs. Rows past the end repeat the last one, inputs past it are zeros.
 */
function operandFunctions(side: Side, { inner, whole }: Tiled): string {
  const { role, along, size, lanes } = side;
  const origin = along === "inner"
    ? `let at = min(vec4u(first + 4 * (block / 4)) + vec4u(0, 1, 2, 3), vec4u(${size} - 1));
  return vec4u(${[..."xyzw"].map((i) => `${role}_begin(at.${i})`).join(", ")});`
    : `return vec4u(min((first + 4 * (block / 4)) / 4, (${size} - 1) / 4));`;
  const fetch = along === "inner"
    ? `return transpose(mat4x4f(${[..."xyzw"].map((i) => `${role}_quad(origin.${i}, k)`).join(", ")}));`
    : `return mat4x4f(${range(4).map((i) => `${role}_line(4 * k + ${i}, origin.x)`).join(", ")});`;
  const line = along === "inner" ? "" : `
fn ${role}_line(line: u32, quad: u32) -> vec4f {
  ${whole ? "" : `if (line >= ${inner}) { return vec4f(); }`}
  return ${role}_quad(${role}_begin(line), quad);
}`;
  return `${line}
fn ${role}_origin(block: u32, first: u32) -> vec4u {
  ${origin}
}
fn ${role}_fetch(origin: vec4u, k: u32) -> mat4x4f {
  ${fetch}
}
fn ${role}_store(block: u32, buffer: u32, fetched: mat4x4f) {
  let k = block % 4;
  let part = (block / 4) / ${lanes};
  let lane = ${permuted(side, `((block / 4) % ${lanes})`, "k")};
${lines(range(4), (i) => `  ${role}_tile[buffer][k][${i}][part][lane] = fetched[${i}];`)}
}`;
}

/** The blocks that threads fetch in turn: those of x, then those of the weight; both may be in one pass. */
function passFunctions(pass: number, sides: readonly [Side, Side], threads: number): string {
  const begin = pass * threads, ofX = blocksOf(sides[0]), all = ofX + blocksOf(sides[1]);
  const choose = (x: string, weight: string, none: string): string => {
    const outside = begin + threads > all ? `if (block >= ${all}) { ${none} }\n  ` : "";
    if (begin + threads <= ofX) return `${outside}${x}`;
    if (begin >= ofX) return `${outside}${weight}`;
    return `${outside}if (block < ${ofX}) { ${x} } else { ${weight} }`;
  };
  return `
fn origin${pass}(block: u32, row: u32, column: u32) -> vec4u {
  ${
    choose("return x_origin(block, row);", `return weight_origin(block - ${ofX}, column);`, "return vec4u();")
  }
}
fn fetch${pass}(block: u32, origin: vec4u, step: u32) -> mat4x4f {
  let k = step + block % 4;
  ${choose("return x_fetch(origin, k);", "return weight_fetch(origin, k);", "return mat4x4f();")}
}
fn store${pass}(block: u32, buffer: u32, fetched: mat4x4f) {
  ${
    choose(
      "x_store(block, buffer, fetched);",
      `weight_store(block - ${ofX}, buffer, fetched);`,
      "return;",
    )
  }
}`;
}

/** The multiplications of sixteen inputs. */
function arithmetic(sides: readonly [Side, Side]): string {
  const [rows, columns] = sides.map(({ quads }) => range(quads));
  return lines(range(16), (input) => {
    const k = input >> 2, i = input % 4;
    const load = ({ role }: Side, part: number): string =>
      `let ${role}${input}_${part} = ${role}_tile[buffer][${k}][${i}][${part}][${role}_lane${k}];`;
    return [
      `    ${[...rows.map((p) => load(sides[0], p)), ...columns.map((p) => load(sides[1], p))].join(" ")}`,
      ...rows.flatMap((p) =>
        range(4).map((r) =>
          `    ${
            columns.map((c) => `sum${4 * p + r}_${c} += x${input}_${p}[${r}] * weight${input}_${c};`).join(
              " ",
            )
          }`
        )
      ),
    ].join("\n");
  });
}

/** The loop over the inputs: a step's are fetched from memory during the arithmetic of the one before. */
function steps({ tile }: Tiled, passes: readonly number[], product: string): string {
  const fetch = (step: string): string =>
    lines(passes, (p) => `    fetched${p} = fetch${p}(block${p}, from${p}, ${step});`);
  const store = (buffer: string): string =>
    lines(passes, (p) => `    store${p}(block${p}, ${buffer}, fetched${p});`);
  if (tile.buffers === 1) {
    return `
  const buffer = 0u;
  for (var k = begin; k < end; k += 4) {
    workgroupBarrier();
${store("0")}
    workgroupBarrier();
    if (k + 4 < end) {
${fetch("k + 4")}
    }
${product}
  }`;
  }
  return `
  var buffer = 0u;
${store("0")}
  workgroupBarrier();
  for (var k = begin; k < end; k += 4) {
    if (k + 4 < end) {
${fetch("k + 4")}
    }
${product}
    if (k + 4 < end) {
${store("1 - buffer")}
    }
    workgroupBarrier();
    buffer = 1 - buffer;
  }`;
}

/**
 * The text of a product. Threads are laid out so that 16 neighbours read 2 quads of x and 8 of the weight, each of them
 * twice or more: hardware with 32 banks then reads them at once.
 */
export function tiledWgsl(text: Tiled): string {
  const { tile, slices, inner } = text;
  const threads = threadsOf(tile), [tileRows, tileColumns] = sidesOf(tile);
  const sides = [
    { ...text.x, role: "x", lanes: tile.lanes[0], quads: tile.quads[0] },
    { ...text.weight, role: "weight", lanes: tile.lanes[1], quads: tile.quads[1] },
  ] as const satisfies readonly Side[];
  const passes = range(Math.ceil((blocksOf(sides[0]) + blocksOf(sides[1])) / threads));
  const sums = range(4 * tile.quads[0]).flatMap((r) => range(tile.quads[1]).map((c) => ({ r, c })));
  const memory = ({ role, quads, lanes }: Side): string =>
    `var<workgroup> ${role}_tile: array<array<array<array<array<vec4f, ${lanes}>, ${quads}>, 4>, 4>, ${tile.buffers}>;`;
  return /* wgsl */ `
${text.prelude}

var<private> slice: u32;
${lines(sides, memory)}
${lines(sides, (side) => operandFunctions(side, text))}
${lines(passes, (p) => passFunctions(p, sides, threads))}

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let id = (${workgroupIndex}) / ${slices};
  slice = (${workgroupIndex}) % ${slices};
  let columns = (${text.weight.size} + ${tileColumns - 1}) / ${tileColumns};
  let row = (id / columns) * ${tileRows};
  if (row >= ${text.x.size}) { return; }
  let column = (id % columns) * ${tileColumns};
  let quads_in = (${inner} + 3) / 4;
  let span = 4 * ((quads_in + ${4 * slices - 1}) / ${4 * slices});
  let begin = ((${workgroupIndex}) % ${slices}) * span;
  let end = min(begin + span, quads_in);
  // The first step of a slice past the end is not used, but must lie inside.
  let first = min(begin, 4 * ((quads_in - 1) / 4));
  let wave = local / 32;
  let x_lane = 4 * (wave / ${tile.lanes[1] / 8}) + ((local & 1) | ((local >> 3) & 2));
  let weight_lane = 8 * (wave % ${tile.lanes[1] / 8}) + ((local >> 1) & 7);
${
    lines(range(4), (k) =>
      lines(sides, (side) =>
        `  let ${side.role}_lane${k} = ${permuted(side, `${side.role}_lane`, `${k}u`)};`))
  }
${
    lines(passes, (p) =>
      `  let block${p} = local + ${p * threads};
  let from${p} = origin${p}(block${p}, row, column);
  var fetched${p} = fetch${p}(block${p}, from${p}, first);`)
  }
${lines(sums, ({ r, c }) => `  var sum${r}_${c} = vec4f();`)}
${steps(text, passes, arithmetic(sides))}
${
    lines(sums, ({ r, c }) =>
      `  put_quad(row + ${4 * tile.lanes[0] * (r >> 2) + r % 4} + 4 * x_lane, ` +
      `column + ${4 * tile.lanes[1] * c} + 4 * weight_lane, sum${r}_${c});`)
  }
}
`;
}
