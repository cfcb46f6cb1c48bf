/**
 * An SVFT module with its singular vectors: what a bank stores, dW, and training.
 *
 * @module
 */
import { linear } from "../../../kernels/linear.ts";
import { svftPattern } from "../../../kernels/svft/pattern.ts";
import { svftBackward } from "../../../kernels/svft_backward.ts";
import { svftProduct } from "../../../kernels/svft_product.ts";
import { step } from "../../plan.ts";
import { type HostTensor, type Tensor, tensor } from "../../tensor.ts";
import type { AdapterModule, DeltaRows, LinearShape } from "../method.ts";
import { checkReach } from "../numbers.ts";
import type { TrainableModule } from "../training.ts";
import type { Basis } from "./svft_basis.ts";
import type { SvftFile } from "./svft_file.ts";
import { byRows, type Places } from "./svft_places.ts";

/** A module's numbers, in the signs of its basis. */
export interface SvftNumbers {
  readonly file: SvftFile;
  readonly places: Places;
  readonly shape: LinearShape;
  readonly basis: Basis;
  /** The singular values of the basis's last vectors, which W' has no part of. */
  readonly dropped: Float64Array;
  /** What dW is multiplied by; 1 unless told. */
  readonly times?: number;
  /** Makes the module ready with a base, the same one or another. */
  readonly ready: NonNullable<AdapterModule["ready"]>;
}

/** A module, and its file for sums. */
export interface SvftModule extends AdapterModule {
  readonly svft: SvftFile;
}

/** M with the gate, and -s for each direction that is dropped, times the module's scale. */
function wholeMatrix({ file: { s, gate }, places, basis: { n }, dropped, times = 1 }: SvftNumbers) {
  const count = s.length, all = count + dropped.length, kept = n - dropped.length;
  const rows = new Int32Array(all), columns = new Int32Array(all), values = new Float32Array(all);
  rows.set(places.rows);
  columns.set(places.columns);
  const factor = times / (1 + Math.exp(-gate));
  for (let e = 0; e < count; e++) values[e] = factor * s[e];
  dropped.forEach((value, i) => {
    rows[count + i] = columns[count + i] = kept + i;
    values[count + i] = -times * value;
  });
  return { rows, columns, values };
}

/** Rows of U M (count, n), each sum in float64, times a sign. */
function leftRows(numbers: SvftNumbers, { first, count }: DeltaRows, sign: number): Float32Array {
  const { basis: { n, factors }, shape: { out, in: inSize } } = numbers, up = n * inSize;
  const { rows, columns, values } = wholeMatrix(numbers), left = new Float32Array(count * n);
  const sums = new Float64Array(n);
  for (let r = 0; r < count; r++) {
    const u = up + ((first + r) % out) * n;
    sums.fill(0);
    for (let e = 0; e < values.length; e++) sums[columns[e]] += sign * factors[u + rows[e]] * values[e];
    left.set(sums, r * n);
  }
  return left;
}

/** V (in, n). */
function turnedFactor({ basis: { n, factors }, shape: { in: inSize } }: SvftNumbers): Float32Array {
  const v = new Float32Array(n * inSize);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < inSize; i++) v[i * n + k] = factors[k * inSize + i];
  }
  return v;
}

/** The bits of a basis's floats. */
function wordsOf({ factors: { buffer, byteOffset, length } }: Basis): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length);
}

/** Throws ConfigError where an element of dW may be past float32. */
function checkSizes(
  { basis: { factors, n }, shape: { in: inSize } }: SvftNumbers,
  values: Float32Array,
): void {
  let sum = 0;
  for (const value of values) sum += Math.abs(value);
  const most = (part: Float32Array): number => {
    let all = 0;
    for (let i = 0; i < part.length; i++) all = Math.max(all, Math.abs(part[i]));
    return all;
  };
  const v = factors.subarray(0, n * inSize), u = factors.subarray(n * inSize);
  checkReach(sum * most(v) * Math.max(1, most(u)), "an SVFT module: an element of its dW");
}

/** A module that can be packed; one that drops no direction can be trained. */
export function readyModule(numbers: SvftNumbers): SvftModule {
  const { file, basis, shape, dropped, ready, times = 1 } = numbers,
    { pattern, offDiag } = file.setting,
    { s } = file;
  const { rows, columns, values } = wholeMatrix(numbers);
  checkSizes(numbers, values);
  return {
    svft: file,
    parameters: s.length + 1,
    summary: `${pattern}, off_diag ${offDiag}, ${s.length} entries${times === 1 ? "" : `, times ${times}`}`,
    shape,
    times: (scale) => readyModule({ ...numbers, times: scale * times }),
    check(path, { out, in: inSize }) {
      if (out === shape.out && inSize === shape.in) return;
      throw new RangeError(
        `Cannot use module "${path}": its vectors are of a (${shape.out}, ${shape.in}) weight, this one is ` +
          `(${out}, ${inSize})`,
      );
    },
    ready,
    pack: () => ({
      values: byRows({ rows, columns }, values, basis.n),
      table: { key: basis.key, words: () => wordsOf(basis) },
      count: basis.n,
      scale: 1,
    }),
    deltaStep: (_, { upload, weight, mode, rows: part }) =>
      step(linear, {
        x: upload(tensor(leftRows(numbers, part, mode === "subtract" ? -1 : 1), [part.count, basis.n])),
        weight: upload(tensor(turnedFactor(numbers), [shape.in, basis.n])),
        y: weight,
      }, { rows: part.count, in: basis.n, out: shape.in, accumulate: Number(mode !== "write") }),
    ...(dropped.length === 0 && times === 1 ? { trainable: (_, upload) => trainable(numbers, upload) } : {}),
  };
}

/** The tensors of a module's file, by what follows its path. */
function tensorsOf(
  { file, places, basis: { n } }: SvftNumbers,
  values: Float32Array,
): Map<string, HostTensor> {
  const { s, factors, check } = file, count = s.length;
  const tensors = new Map<string, HostTensor>([
    ["s", tensor(values.slice(0, count), [count])],
    ["gate", tensor(values.slice(count, count + 1), [1])],
  ]);
  if (file.places) {
    tensors.set("s_row", tensor(places.rows, [count])).set("s_col", tensor(places.columns, [count]));
  }
  if (factors) {
    const v = n * factors.in;
    tensors.set("u", tensor(factors.factors.slice(v), [factors.out, n]))
      .set("v", tensor(factors.factors.slice(0, v), [n, factors.in])).set("s_pre", tensor(factors.s, [n]));
  } else if (check) {
    tensors.set("check", tensor(check, [n, 2]));
  }
  return new Map([...tensors].map(([name, t]) => [`.svft_layer.${name}`, t]));
}

function withGate(s: Float32Array, gate: number): Float32Array {
  const values = new Float32Array(s.length + 1);
  values.set(s);
  values[s.length] = gate;
  return values;
}

/** The module's numbers are the entries, then the gate. */
function trainable(numbers: SvftNumbers, upload: (t: HostTensor) => Tensor): TrainableModule {
  const { file: { s, gate }, places, basis: { n, factors }, shape } = numbers;
  const fixed = {
    factors: upload(tensor(factors)),
    pattern: upload(tensor(svftPattern(n, places.rows, places.columns))),
  };
  const words = (rows: number, offset: number) => ({
    ...{ rows, in: shape.in, out: shape.out, n, entries: s.length, offset },
  });
  return {
    values: withGate(s, gate),
    beside: {
      forward: ({ x, y, rows, params, at }) => [
        step(svftProduct, { x, ...fixed, values: params, y }, words(rows, at)),
      ],
      backward: ({ x, dy, dx, rows, params, gradients, at }) => [
        step(svftBackward, { x, dy, ...fixed, values: params, gradient: gradients, dx }, words(rows, at)),
      ],
    },
    tensors: (values) => tensorsOf(numbers, values),
  };
}
