/**
 * `wavelet_linear`: y += x dW^T of sparse wavelet spectra (WaveFT, Bilican et al. 2025, arXiv 2505.12532), each row with its
 * own adapter and wavelet.
 *
 * dW = scale * S_out F S_in^T, with one level of synthesis filters S and n coefficients in F. A row costs a filter of x and
 * a multiply-add for each coefficient, and the filters of y's own elements.
 *
 * @module
 */
import {
  type BankBuffer,
  bankBuffers,
  bankUniforms as uniforms,
  type BankWords,
  findRow,
  piecesOf,
} from "./bank_rows.ts";
import { produceBeside, type RowUpdate, updateLaunch } from "./beside_update.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { cpuWavelet, referenceWavelet } from "./wavelet/linears.ts";
import { longestFilter } from "./wavelet/table.ts";
import { coefficientFunction, filterFunctions } from "./wavelet/wgsl.ts";

type Uniforms = keyof typeof uniforms;

/** Invocations of a workgroup, and its outputs. */
const threads = 256;
const size = 1024;

const declarations = /* wgsl */ `
${filterFunctions}
${coefficientFunction("x", (i) => `x_at(${i})`)}
/** Sums of the coefficients whose filters meet the piece. */
var<workgroup> sums: array<f32, ${size + 2 * longestFilter}>;
`;

const text = /* wgsl */ `
  ${findRow("index", `${size}u`)}
  let filters = filters_at(record.x);
  let begin = piece * ${size}u;
  let end = min(out, begin + ${size}u);
  let shift = u32(filters.shift);
  // Filters 2 place and 2 place + 1 meet the elements from 2 place - shift on.
  let lowest = 2 * ((max(begin + shift, filters.taps - 1) - (filters.taps - 1) + 1) / 2);
  let highest = min(filters.count, 2 * ((end - 1 + shift) / 2 + 1));
  for (var k = lowest + local; k < highest; k += ${threads}u) {
    var sum = 0.0;
    let last = tables[filters.offsets + k + 1];
    for (var e = tables[filters.offsets + k]; e < last; e++) {
      sum += values[record.y + e] *
        coefficient_of_x(filters, row * uniforms.in, uniforms.in, tables[filters.sources + e]);
    }
    sums[k - lowest] = sum;
  }
  workgroupBarrier();
  for (var t = begin + local; t < end; t += ${threads}u) {
    var sum = 0.0;
    for (var j = (t + shift) % 2; j < filters.taps && j <= t + shift; j += 2) {
      let k = t + shift - j;
      if (k < highest) { sum += tap(filters, 0, j) * sums[k - lowest] + tap(filters, 1, j) * sums[k + 1 - lowest]; }
    }
    add_y(y_at + t, bitcast<f32>(record.w) * sum, true);
  }
`;

const update = (words: BankWords): RowUpdate => ({
  uniforms,
  declarations,
  text,
  groups: piecesOf(words, size),
});

/** See the module's documentation. */
export const waveletLinear: Kernel<BankBuffer, Uniforms> = defineKernel({
  name: "wavelet_linear",
  doc:
    "y[r] += scale S_out F S_in^T x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in " +
    "its columns of y, with the wavelet spectrum F of slot slots[r]; a slot of capacity or more (0xffffffff: none) and 0 " +
    "coefficients add nothing",
  buffers: bankBuffers({
    records:
      "offset of a table in `tables`, offset of the coefficients in `values`, their number, bits of a float32 scale",
    tables: "tables of `waveletTable`, one after the other",
    values: "coefficients in their table's order",
  }),
  uniforms,
  adds: "y",
  launch: ({ uniforms: words }, limits) => updateLaunch(update(words), limits),
  produce: produceBeside("wavelet_linear", update),
  reference: referenceWavelet,
  cpu: cpuWavelet,
  tolerance: 1e-6,
});
