/**
 * Updates of one row by its adapter, beside the row's dense product in one dispatch. Each is put into a plane of its own, which
 * the dispatch that reads the result adds up.
 *
 * Alone, an update's few workgroups would wait for memory most of their time, while nothing else runs.
 *
 * @module
 */
import type { BankBuffer, BankWords } from "./bank_rows.ts";
import {
  type Binding,
  declareBindings,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { Kept } from "./kept.ts";
import { type Beside, besideDispatch, besideThreads, type Dense } from "./linear/beside.ts";
import type { Parts, Produce, ReadSource } from "./parts.ts";
import { outsOf, unitText } from "./side_by_side.ts";

/**
 * The text of an update. Both launches of it, alone and beside a product, have the functions `x_at(i)`, a number of x, and
 * `add_y(at, value, first)`, which adds to y; `first` is false where the invocation has added to that element before. Every
 * output of a linear with an adapter has to be added to, and by one invocation.
 */
export interface RowUpdate {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly declarations: string;
  /** The body of workgroup `index`, of 256 threads. It returns for all threads or none. */
  readonly text: string;
  readonly groups: number;
  /** Pairs that it needs of the workgroup memory `work`, where it has `work` in common with the product. */
  readonly workPairs?: number;
}

/** The launch of an update alone. */
export function updateLaunch(
  { uniforms, declarations, text, groups, workPairs }: RowUpdate,
  limits: Limits,
): Launch {
  const reads = ["x", "slots", "records", "tables", "values"];
  const bindings: Binding[] = [
    ...reads.map((name): Binding => ({ name, access: "read" })),
    { name: "y", access: "read_write" },
  ];
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, x: "f32", y: "f32" })}
${workPairs ? `var<workgroup> work: array<vec2f, ${workPairs}>;` : ""}
fn x_at(i: u32) -> f32 { return x[i]; }
fn add_y(at: u32, value: f32, first: bool) { y[at] += value; }
${declarations}
@compute @workgroup_size(${besideThreads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
${text}
}
`;
  return { dispatches: [{ wgsl, bindings, grid: grid(groups, limits) }] };
}

/** WGSL element types of a bank's bindings. */
const types = { slots: "u32", records: "vec4u", tables: "u32", values: "f32" } as const;

const besideFunctions = (columns: number): string => /* wgsl */ `
fn x_at(i: u32) -> f32 { return x[i / 4][i % 4]; }
fn add_y(at: u32, value: f32, first: bool) {
  if (first) { planes[${columns}u + at] = value; } else { planes[${columns}u + at] += value; }
}
`;

/** The product and the update, and of each linear whether it has an update. */
function besideOf(
  { declarations, text, groups, workPairs }: RowUpdate,
  { linears, columns }: { readonly linears: number; readonly columns: number },
): Beside {
  return {
    groups,
    bindings: [
      ...["slots", "records", "tables", "values"].map((name) => ({ name, access: "read" as const })),
      { name: "planes", access: "read_write" },
    ],
    types: { ...types, planes: "f32" },
    declarations: `${besideFunctions(columns)}\n${declarations}`,
    workPairs,
    text: /* wgsl */ `
    if (index == 0 && local < ${linears}) {
      var updated = false;
      if (slots[0] < uniforms.capacity) {
        updated = records[(uniforms.linear + local) * uniforms.capacity + slots[0]].z > 0;
      }
      planes[${2 * columns}u + local] = select(0.0, 1.0, updated);
    }
    ${text}`,
  };
}

/** Text that reads y: the product's plane, and the update's where there is one. */
function sumOf(outs: readonly number[], accumulate: boolean, result: string): ReadSource {
  const columns = outs.reduce((sum, out) => sum + out, 0);
  return {
    slow: true,
    bindings: [{ name: "planes", access: "read" }, { name: result, access: "read_write" }],
    types: (unit) => ({ planes: "f32", [result]: unit }),
    read: (name, i, unit) => `
  var ${name} = planes[${i}]${accumulate ? ` + ${result}[${i}]` : ""};
  ${
      unitText(outs, { name, i, unit }, ({ target, number }) =>
        `if (planes[${2 * columns}u + ${number}] > 0) { ${target} += planes[${columns}u + ${i}]; }`)
    }
  ${result}[${i}] = ${name};`,
  };
}

const made = new Kept<Parts>();

/**
 * How a kernel's update is made beside the product before it: for one row, and inputs that are whole quads.
 *
 * @param update The update of these sizes, by a kernel of this name.
 */
export function produceBeside(
  name: string,
  update: (words: BankWords) => RowUpdate,
): Produce<BankBuffer, keyof BankWords> {
  const partsOf = (words: BankWords, dense: Dense, accumulate: boolean, limits: Limits): Parts => {
    const outs = outsOf(words), columns = outs.reduce((sum, out) => sum + out, 0), own = update(words);
    const beside = besideOf(own, { linears: outs.length, columns });
    const size = { columns, dense, put: "planes[column] = value;", limits };
    return {
      count: columns,
      launch: {
        dispatches: [besideDispatch(own.uniforms, beside, size)],
        scratch: { planes: 4 * (2 * columns + outs.length) },
      },
      source: (result) => sumOf(outs, accumulate, result),
    };
  };
  return {
    after: "linear",
    same: [["x", "x"], ["y", "y"]],
    takes: ["weight"],
    result: "y",
    parts(before, { uniforms: words }, limits) {
      const { rows, in: inSize, out, accumulate } = before.uniforms, { out0, out1, out2 } = words;
      if (rows !== 1 || words.rows !== 1 || inSize % 4 !== 0) return undefined;
      if (inSize !== words.in || out !== out0 + out1 + out2) return undefined;
      const dense = { in: inSize, dtype: before.dtypes.weight };
      const key = `${name}:${inSize}:${out0}:${out1}:${out2}:${dense.dtype}:${accumulate}`;
      return made.get(limits, key, () => partsOf(words, dense, accumulate !== 0, limits));
    },
  };
}
