/**
 * Rows of a table by index: what kernels of whole tables and of parts share.
 *
 * @module
 */
import { dense } from "../formats/dense.ts";
import type { StoredWeight, WeightFormat } from "../formats/format.ts";
import {
  type Arrays,
  type Binding,
  type Call,
  declareBindings,
  type DType,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { loader, storageType } from "../half.ts";

/** Uniform words of a table. */
export type TableUniforms = "rows" | "dim" | "vocab";
/** Those of a part of one: the id of its first row, too. */
export type TablePartUniforms = TableUniforms | "first";

/** Of a table. */
export const uniforms = { rows: "u32", dim: "u32", vocab: "u32" } as const;
/** Of a part. */
export const partUniforms = { ...uniforms, first: "u32" } as const;

/** Whether the table is a part of one: then a launch has the uniform `first`, the id of its first row. */
interface Text {
  readonly isPart: boolean;
}

/** Uniforms, and the row of the table that `id` becomes; rows whose id is below the part's are left. */
const declared = ({ isPart }: Text): string => uniformStruct(isPart ? partUniforms : uniforms);
const shifted = ({ isPart }: Text): string =>
  isPart ? "if (id < uniforms.first) { return; }\n  id -= uniforms.first;" : "";

const bindingsOf = ({ buffers }: WeightFormat): Binding[] => [
  { name: "ids", access: "read" },
  ...Object.keys(buffers).map((name): Binding => ({ name, access: "read" })),
  { name: "y", access: "read_write" },
];

/** A thread for each element of y. */
const floatsWgsl = (dtype: DType, text: Text): string => /* wgsl */ `
${declared(text)}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
${loader("weight", dtype)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  var id = ids[i / uniforms.dim];
  ${shifted(text)}
  var value = 0.0;
  if (id < uniforms.vocab) { value = weight_at(id * uniforms.dim + i % uniforms.dim); }
  y[i] = value;
}
`;

/** A thread for each quad of y. */
function quadsWgsl({ format, types, isPart }: StoredWeight & Text, dim: number): string {
  const text = format.quads(
    { role: "weight", length: { count: dim, text: "uniforms.dim" }, padded: false },
    types,
  );
  const names = Object.keys(format.buffers);
  const elements = Object.fromEntries(names.map((name, i) => [name, text.types[i]]));
  return /* wgsl */ `
${declared({ isPart })}
${declareBindings(bindingsOf(format), { ids: "u32", ...elements, y: "f32" })}
${text.functions}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let quads = (uniforms.dim + 3) / 4;
  if (i >= uniforms.rows * quads) { return; }
  let row = i / quads;
  let quad = i % quads;
  var id = ids[row];
  ${shifted({ isPart })}
  var value = vec4f();
  if (id < uniforms.vocab) { value = weight_quad(weight_begin(id), quad); }
  for (var k = 4 * quad; k < min(4 * quad + 4, uniforms.dim); k++) { y[row * uniforms.dim + k] = value[k % 4]; }
}
`;
}

/** What a kernel of a whole table and one of a part share. */
export function lookup(format: WeightFormat, text: Text) {
  return {
    buffers: {
      ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
      ...format.buffers,
      y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    },
    launch(
      { uniforms: { rows, dim, vocab }, dtypes: types }: Call<string, TableUniforms>,
      limits: Limits,
    ): Launch {
      format.check({ out: vocab, in: dim });
      const isFloats = format === dense, elements = isFloats ? dim : Math.ceil(dim / 4);
      return {
        dispatches: [{
          wgsl: isFloats ? floatsWgsl(types.weight, text) : quadsWgsl({ format, types, ...text }, dim),
          bindings: bindingsOf(format),
          grid: grid(Math.ceil(rows * elements / 256), limits),
        }],
      };
    },
    rows(
      { ids, y, ...weight }: Arrays,
      { rows, dim, vocab, first }: Readonly<Record<TablePartUniforms, number>>,
    ) {
      const table = y as Float32Array;
      for (let r = 0; r < rows; r++) {
        if (ids[r] < first) continue;
        const begin = ids[r] - first, into = table.subarray(r * dim, (r + 1) * dim);
        if (begin >= vocab) into.fill(0);
        else format.rows(weight, { out: vocab, in: dim }, { begin, end: begin + 1, into });
      }
    },
  } as const;
}
