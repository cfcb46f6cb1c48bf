/**
 * The sparse matrix M of a change of a weight: M = U^T (W' - W) V where the pattern has entries.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { inSlices } from "../../breathe.ts";
import { type Svd, turn } from "../svd.ts";
import { checkNumbers } from "./svft_basis.ts";
import type { Setting } from "./svft_file.ts";
import { band, bandCount, type Places } from "./svft_places.ts";

/** A change in the singular vectors' terms. */
export interface SparseChange {
  readonly places: Places;
  /** One for each place. */
  readonly entries: Float64Array;
  /** The norm of the change, and of what of it the entries leave. */
  readonly norm: number;
  readonly rest: number;
}

/** U^T D, (n, in). */
function* leftProduct(
  into: Float64Array,
  change: Float64Array,
  { out, in: inSize, s: { length: n }, u }: Svd,
): Iterable<void> {
  for (let k = 0; k < n; k++) {
    const line = into.subarray(k * inSize, (k + 1) * inSize);
    for (let o = 0; o < out; o++) {
      const factor = u[k * out + o], at = o * inSize;
      for (let i = 0; i < inSize; i++) line[i] += factor * change[at + i];
    }
    yield;
  }
}

function dot(left: Float64Array, row: number, { in: inSize, v }: Svd, column: number): number {
  let sum = 0;
  for (let i = 0; i < inSize; i++) sum += left[row * inSize + i] * v[column * inSize + i];
  return sum;
}

/** The places of the largest entries of U^T D V, as many as a band would have; in the order of rows. */
async function largest(left: Float64Array, of: Svd, offDiag: number): Promise<Places> {
  const n = of.s.length, sizes = new Float64Array(n * n);
  await inSlices((function* () {
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        sizes[row * n + column] = Math.abs(dot(left, row, of, column));
      }
      yield;
    }
  })());
  const count = bandCount(n, offDiag), least = sizes.slice().sort()[n * n - count];
  const chosen: number[] = [];
  for (let at = 0; at < n * n && chosen.length < count; at++) if (sizes[at] >= least) chosen.push(at);
  return {
    rows: Int32Array.from(chosen, (at) => Math.floor(at / n)),
    columns: Int32Array.from(chosen, (at) => at % n),
  };
}

/** The entries of a change D (out, in) where a pattern has them. */
export async function sparseChange(
  change: Float64Array,
  of: Svd,
  { pattern, offDiag }: Setting,
): Promise<SparseChange> {
  const n = of.s.length, left = new Float64Array(n * of.in);
  await inSlices(leftProduct(left, change, of));
  const places = pattern === "banded" ? band(n, offDiag) : await largest(left, of, offDiag);
  const entries = Float64Array.from(places.rows, (row, e) => dot(left, row, of, places.columns[e]));
  const squares = (numbers: Float64Array): number => numbers.reduce((sum, value) => sum + value * value, 0);
  const all = squares(change);
  return { places, entries, norm: Math.sqrt(all), rest: Math.sqrt(Math.max(0, all - squares(entries))) };
}

/** The tensors of a module whose dW has such entries: M is twice of them, for sigma(0) is 1/2. */
export async function svftTensors(
  path: string,
  { change: { places, entries }, of, pattern, vectors }: {
    readonly change: Pick<SparseChange, "places" | "entries">;
    readonly of: Svd;
    readonly pattern: Setting["pattern"];
    /** Whether the file has U, V and the singular values themselves. */
    readonly vectors: boolean;
  },
): Promise<Map<string, HostTensor>> {
  const { out, in: inSize, s: { length: n } } = of, count = entries.length;
  const factors = new Float32Array(n * (inSize + out));
  factors.set(of.v);
  const u = factors.subarray(n * inSize);
  await inSlices(turn(u, of.u, { rows: n, columns: out }));
  const tensors: [string, HostTensor][] = [
    ["s", tensor(Float32Array.from(entries, (value) => 2 * value), [count])],
    ["gate", tensor(new Float32Array(1), [1])],
  ];
  if (pattern !== "banded") {
    tensors.push(["s_row", tensor(places.rows, [count])], ["s_col", tensor(places.columns, [count])]);
  }
  if (vectors) {
    tensors.push(["u", tensor(u.slice(), [out, n])], [
      "v",
      tensor(factors.slice(0, n * inSize), [n, inSize]),
    ]);
    tensors.push(["s_pre", tensor(Float32Array.from(of.s), [n])]);
  } else {
    const numbers = await checkNumbers({ n, factors }, { out, in: inSize });
    tensors.push(["check", tensor(numbers, [n, 2])]);
  }
  const large = entries.findIndex((value) => !Number.isFinite(Math.fround(2 * value)));
  if (large >= 0) throw new ConfigError(`Cannot write entry ${large} of module "${path}": ${entries[large]}`);
  return new Map(tensors.map(([name, t]) => [`base_model.model.${path}.svft_layer.${name}`, t]));
}
