import { dense } from "./formats/dense.ts";
import type { StoredWeight, WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import {
  type Binding,
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, storageType } from "./half.ts";

type Uniforms = "rows" | "dim" | "vocab";

const uniforms = { rows: "u32", dim: "u32", vocab: "u32" } as const;

const bindingsOf = ({ buffers }: WeightFormat): Binding[] => [
  { name: "ids", access: "read" },
  ...Object.keys(buffers).map((name): Binding => ({ name, access: "read" })),
  { name: "y", access: "read_write" },
];

/** A thread for each element of y. */
const floatsWgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
${loader("weight", dtype)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let id = ids[i / uniforms.dim];
  var value = 0.0;
  if (id < uniforms.vocab) { value = weight_at(id * uniforms.dim + i % uniforms.dim); }
  y[i] = value;
}
`;

/** A thread for each quad of y. */
function quadsWgsl({ format, types }: StoredWeight, dim: number): string {
  const text = format.quads(
    { role: "weight", length: { count: dim, text: "uniforms.dim" }, padded: false },
    types,
  );
  const names = Object.keys(format.buffers);
  const elements = Object.fromEntries(names.map((name, i) => [name, text.types[i]]));
  return /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindingsOf(format), { ids: "u32", ...elements, y: "f32" })}
${text.functions}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let quads = (uniforms.dim + 3) / 4;
  if (i >= uniforms.rows * quads) { return; }
  let row = i / quads;
  let quad = i % quads;
  let id = ids[row];
  var value = vec4f();
  if (id < uniforms.vocab) { value = weight_quad(weight_begin(id), quad); }
  for (var k = 4 * quad; k < min(4 * quad + 4, uniforms.dim); k++) { y[row * uniforms.dim + k] = value[k % 4]; }
}
`;
}

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc: `y[r, :] = W[ids[r], :], with W (vocab, dim) of ${format.doc}; an id of vocab or more gives zeros`,
    buffers: {
      ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
      ...format.buffers,
      y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    },
    uniforms,
    launch({ uniforms: { rows, dim, vocab }, dtypes: types }, limits) {
      format.check({ out: vocab, in: dim });
      const isFloats = format === dense, elements = isFloats ? dim : Math.ceil(dim / 4);
      return {
        dispatches: [{
          wgsl: isFloats ? floatsWgsl(types.weight) : quadsWgsl({ format, types }, dim),
          bindings: bindingsOf(format),
          grid: grid(Math.ceil(rows * elements / 256), limits),
        }],
      };
    },
    reference({ ids, y, ...weight }, { rows, dim, vocab }) {
      const table = y as Float32Array;
      for (let r = 0; r < rows; r++) {
        const begin = ids[r], into = table.subarray(r * dim, (r + 1) * dim);
        if (begin >= vocab) into.fill(0);
        else format.rows(weight, { out: vocab, in: dim }, { begin, end: begin + 1, into });
      }
    },
    wasm: format === dense
      ? ({ rows, dim, vocab }) => ({
        function: "embedding",
        args: ["ids", "weight", "y", dim, dim, vocab],
        items: rows,
        work: 2 * rows * dim,
      })
      : undefined,
    tolerance: 0,
  });
}

/** Rows of a table by index: token embeddings, or any row gather. */
export const embedding: OfFormats<"ids" | "y", Uniforms> = ofFormats("embedding", ofFormat);
