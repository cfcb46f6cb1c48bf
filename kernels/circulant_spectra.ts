/**
 * `circulant_spectra`: the half spectra that `circulant_linear` reads, from kernels that a training changes; or those of the
 * transposed matrix, for the gradient of x.
 *
 * @module
 */
import { blocksOf, checkBlocks, circulantSpectra, kernelPlace, tableHead } from "./circulant/blocks.ts";
import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "kernels" | "tables" | "spectra";
const uniforms = { out: "u32", in: "u32", block: "u32", offset: "u32", transposed: "u32" } as const;
type Words = Readonly<Record<keyof typeof uniforms, number>>;

/** An invocation makes a bin by its sum: the products with all rows of a batch are many times as many. */
const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> kernels: array<f32>;
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read_write> spectra: array<vec2f>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let index = (${workgroupIndex}) * 256 + local;
  let size = tables[0];
  let stride = tables[1];
  let turns = ${tableHead}u + tables[2];
  let half = (size + 1) / 2;
  let rows = uniforms.out / size;
  let columns = uniforms.in / size;
  if (index >= rows * columns * half) { return; }
  // Spectra of a column of blocks lie together; a transposed matrix's columns are rows.
  let bin = index % half;
  let inner = index / half % select(rows, columns, uniforms.transposed == 1);
  let outer = index / half / select(rows, columns, uniforms.transposed == 1);
  let m = select(inner, outer, uniforms.transposed == 1);
  let n = select(outer, inner, uniforms.transposed == 1);
  let block = size * stride;
  let first = uniforms.offset + (m / stride * (uniforms.in / block) + n / stride) * block;
  let begin = n % stride + block - m % stride;
  var sum = vec2f();
  var middle = 0.0;
  for (var d = 0u; d < size; d++) {
    let w = kernels[first + (begin + stride * d) % block];
    let at = turns + 2 * (d * bin % size);
    sum += w * bitcast<vec2f>(vec2u(tables[at], tables[at + 1]));
    middle += select(w, -w, d % 2 == 1);
  }
  if (bin == 0) { sum.y = select(middle, 0.0, size % 2 == 1); }
  else if (uniforms.transposed == 1) { sum.y = -sum.y; }
  spectra[index] = sum / f32(size);
}
`;

function reference({ kernels, spectra }: Arrays<Buffers>, words: Words): void {
  const { out, in: inSize, block, offset, transposed } = words;
  const blocks = blocksOf(block), { size, half } = blocks, rows = out / size, columns = inSize / size;
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < columns; n++) {
      const at = (transposed ? m * columns + n : n * rows + m) * half * 2;
      for (let bin = 0; bin < half; bin++) {
        let re = 0, im = 0, middle = 0;
        for (let d = 0; d < size; d++) {
          const w = kernels[offset + kernelPlace({ m, n, d }, blocks, inSize / block)];
          const angle = 2 * Math.PI * (d * bin % size) / size;
          re += w * Math.cos(angle);
          im += w * Math.sin(angle);
          middle += d % 2 === 0 ? w : -w;
        }
        const second = bin > 0 ? (transposed ? -im : im) : size % 2 === 0 ? middle : 0;
        spectra.set([re / size, second / size], at + 2 * bin);
      }
    }
  }
}

/** By transforms; a transposed matrix has the conjugate spectra, in its own order. */
function cpu(arrays: Arrays<Buffers>, words: Words): void {
  const { out, in: inSize, block, offset, transposed } = words, { size, half } = blocksOf(block);
  const count = out / block * inSize, rows = out / size, columns = inSize / size;
  const kernels = arrays.kernels.subarray(offset, offset + count) as Float32Array;
  const made = circulantSpectra(kernels, words);
  if (!transposed) return arrays.spectra.set(made);
  for (let m = 0, at = 0; m < rows; m++) {
    for (let n = 0; n < columns; n++, at += 2 * half) {
      const from = (n * rows + m) * 2 * half;
      arrays.spectra.set(made.subarray(from, from + 2 * half), at);
      for (let bin = 1; bin < half; bin++) arrays.spectra[at + 2 * bin + 1] *= -1;
    }
  }
}

/** See the module's documentation. */
export const circulantSpectraOf: Kernel<Buffers, keyof typeof uniforms> = defineKernel({
  name: "circulant_spectra",
  doc:
    "spectra = half spectra of the kernels (out / b, in / b, b) from element `offset` on, as `circulantSpectra` makes them: " +
    "of the matrix, or with transposed = 1 of the transposed one",
  buffers: {
    kernels: {
      access: "read",
      dtypes: ["float32"],
      doc: "PEFT's `c3a_kernel`, row-major, from element `offset` on",
    },
    tables: { access: "read", dtypes: ["uint32"], doc: "the table of `circulantTable` with block size b" },
    spectra: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(in / size, out / size, half, 2); transposed (out / size, in / size, half, 2)",
    },
  },
  uniforms,
  launch({ uniforms: words }, limits) {
    const { size, half } = checkBlocks(words);
    const count = words.out / size * (words.in / size) * half;
    return {
      dispatches: [{
        wgsl,
        bindings: [
          { name: "kernels", access: "read" },
          { name: "tables", access: "read" },
          { name: "spectra", access: "read_write" },
        ],
        grid: grid(Math.ceil(count / 256), limits),
      }],
    };
  },
  reference,
  cpu,
  tolerance: 1e-6,
});
