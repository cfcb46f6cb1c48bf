/**
 * The singular vectors that SVFT's sparse matrix stands between: the base's own, or those of a file.
 *
 * Vectors of a weight are unique up to the sign of each pair (u_k, v_k), and only where singular values differ. A file without
 * vectors therefore has check numbers of them, which pin the signs and show another weight.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { tensor } from "../../tensor.ts";
import type { BaseLinear, LinearShape, ReadyIo, SingularFactors } from "../method.ts";
import { inSlices } from "../../breathe.ts";
import { svd } from "../svd.ts";
import type { FileFactors } from "./svft_file.ts";

/** Vectors as kernels take them. */
export interface Basis {
  /** Equal for equal factors: modules of one key share them on a device. */
  readonly key: string;
  readonly n: number;
  /** V^T (n, in), then U (out, n), row-major. */
  readonly factors: Float32Array;
}

/** How far a file's check numbers may be from the base's. */
const checkLimit = 1e-4;

/** Part of W's norm that a file's U diag(s) V^T may be off: more than 4 bits cost, less than another weight. */
const otherWeight = 0.25;

/** Part of the largest singular value below which two values are as good as one. */
const leastGap = 1e-8;

/** What a truncated file's vectors leave of W may have more directions by so small a part alone. */
const leastRest = 1e-4;

async function basisOf(factors: Float32Array, n: number): Promise<Basis> {
  const digest = await crypto.subtle.digest("SHA-256", factors as Float32Array<ArrayBuffer>);
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { key: `svft ${n} ${hex}`, n, factors };
}

const known = new WeakMap<SingularFactors, Promise<Basis>>();

/** The basis of a base's own vectors: one for all adapters of the base. */
export async function ownBasis(of: SingularFactors): Promise<Basis> {
  const made = known.get(of) ?? basisOf(of.factors, of.s.length);
  known.set(of, made);
  return await made;
}

/** The check vector: 1 or -1, by the top bit of a mixed index. */
function checkVector(length: number): Int8Array {
  return Int8Array.from({ length }, (_, i) => {
    let h = Math.imul(i + 1, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
    return h < 0 ? -1 : 1;
  });
}

/**
 * (n, 2), float32: the sums of u_k and of v_k, each number times the check vector's. Numbers of a pair change their signs with
 * the pair.
 */
export async function checkNumbers(
  { factors, n }: Pick<Basis, "factors" | "n">,
  { out, in: inSize }: LinearShape,
): Promise<Float32Array> {
  const sums = new Float64Array(2 * n), signs = checkVector(Math.max(out, inSize)), up = n * inSize;
  await inSlices((function* () {
    for (let k = 0; k < n; k++) {
      for (let i = 0; i < inSize; i++) sums[2 * k + 1] += signs[i] * factors[k * inSize + i];
      yield;
    }
    for (let o = 0; o < out; o++) {
      for (let k = 0; k < n; k++) sums[2 * k] += signs[o] * factors[up + o * n + k];
      yield;
    }
  })());
  return Float32Array.from(sums);
}

/**
 * The sign of each of the file's pairs of vectors against the base's own.
 *
 * @throws ConfigError that names the pair which is none of the base's.
 */
export function signsOf(path: string, check: Float32Array, own: Float32Array): Int8Array {
  return Int8Array.from({ length: check.length / 2 }, (_, k) => {
    const larger = Math.abs(own[2 * k]) >= Math.abs(own[2 * k + 1]) ? 2 * k : 2 * k + 1;
    const sign = own[larger] * check[larger] < 0 ? -1 : 1;
    const off = Math.max(...[2 * k, 2 * k + 1].map((i) => Math.abs(check[i] - sign * own[i])));
    if (off <= checkLimit && Math.abs(own[larger]) > 2 * checkLimit) return sign;
    throw new ConfigError(
      `Cannot use module "${path}": its check numbers of singular vectors ${k}, ${check[2 * k]} and ` +
        `${check[2 * k + 1]}, are not the base weight's, ${own[2 * k]} and ${
          own[2 * k + 1]
        }: the adapter was made for ` +
        "another weight, or two singular values are too close to tell their vectors apart",
    );
  });
}

/**
 * Refuses diagonal entries that a file without check numbers leaves open: different ones of singular values that are equal,
 * and those of a value that is 0.
 */
export function checkGaps(path: string, s: Float64Array, entries: ArrayLike<number>): void {
  for (let k = 0; k < entries.length; k++) {
    const isZero = s[k] <= leastGap * s[0] && entries[k] !== 0;
    const isTwin = k > 0 && s[k - 1] - s[k] <= leastGap * s[0] && entries[k - 1] !== entries[k];
    if (!isZero && !isTwin) continue;
    throw new ConfigError(
      `Cannot use module "${path}": the base weight's singular value ${k}, ${s[k]}, is ` +
        `${isZero ? "zero" : "the one before it"}, so its vectors are not known without check numbers`,
    );
  }
}

function totalOut(shapes: BaseLinear["shapes"]): number {
  return shapes.reduce((sum, { out }) => sum + out, 0);
}

/** Writes U diag(s) V^T x of a row x. */
function* product(y: Float64Array, x: Float32Array, of: FileFactors): Iterable<void> {
  const { out, in: inSize, n, s, factors } = of, up = n * inSize, z = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < inSize; i++) z[k] += factors[k * inSize + i] * x[i];
    z[k] *= s[k];
    yield;
  }
  for (let o = 0; o < out; o++) {
    for (let k = 0; k < n; k++) y[o] += factors[up + o * n + k] * z[k];
    yield;
  }
}

/** |W x|^2 and |W x - U diag(s) V^T x|^2, summed over a few rows of signs. */
async function probed(
  { base, workspace }: ReadyIo,
  of: FileFactors,
): Promise<{ whole: number; off: number }> {
  const { out, in: inSize } = of, rows = 4;
  const width = totalOut(base.shapes), column = totalOut(base.shapes.slice(0, base.index));
  const x = Float32Array.from(checkVector(rows * inSize));
  const y = workspace.alloc([rows, width]);
  const io = { x: workspace.upload(tensor(x.slice(), [rows, inSize])), y, rows };
  const products = await workspace.read([base.product(io)], y);
  let whole = 0, off = 0;
  for (let r = 0; r < rows; r++) {
    const made = new Float64Array(out);
    await inSlices(product(made, x.subarray(r * inSize, (r + 1) * inSize), of));
    for (let o = 0; o < out; o++) {
      const own = products[r * width + column + o];
      whole += own ** 2;
      off += (own - made[o]) ** 2;
    }
  }
  return { whole, off };
}

function notOfBase(path: string, what: string): ConfigError {
  return new ConfigError(
    `Cannot use module "${path}": its u, s_pre and v are not the base weight's singular vectors and values: ${what}`,
  );
}

/** The basis of a file that has every singular vector of W. */
async function wholeBasis(io: ReadyIo, of: FileFactors): Promise<Basis> {
  const { whole, off } = await probed(io, of);
  if (!(off <= otherWeight ** 2 * whole)) {
    throw notOfBase(
      io.path,
      `u diag(s_pre) v is off by ${Math.sqrt(off / whole)} of W's norm, at most ${otherWeight}`,
    );
  }
  return await basisOf(of.factors, of.n);
}

/** What a file's vectors leave of a weight, in float64. */
function* rest(weight: Float64Array, { out, in: inSize, n, s, factors }: FileFactors): Iterable<void> {
  const up = n * inSize;
  for (let o = 0; o < out; o++) {
    for (let k = 0; k < n; k++) {
      const factor = factors[up + o * n + k] * s[k];
      for (let i = 0; i < inSize; i++) weight[o * inSize + i] -= factor * factors[k * inSize + i];
    }
    yield;
  }
}

/**
 * The basis of a file that keeps the first n vectors of W alone: behind them stand those of the rest of W, which the module
 * takes away by entries of -s.
 */
async function truncatedBasis(
  { path, base }: ReadyIo,
  of: FileFactors,
): Promise<{ readonly basis: Basis; readonly dropped: Float64Array }> {
  const { out, in: inSize, n, s, factors } = of, all = Math.min(out, inSize), more = all - n;
  const weight = Float64Array.from(await base.weight());
  await inSlices(rest(weight, of));
  const left = await svd(weight, of);
  const largest = Math.max(s[0], left.s[0]);
  if (left.s[more] > leastRest * largest) {
    throw notOfBase(path, `without them W has more than ${more} directions, float weights are needed`);
  }
  const joined = new Float32Array(all * (inSize + out)), up = all * inSize;
  joined.set(factors.subarray(0, n * inSize));
  joined.set(left.v.subarray(0, more * inSize), n * inSize);
  for (let o = 0; o < out; o++) {
    joined.set(factors.subarray(n * inSize + o * n, n * inSize + (o + 1) * n), up + o * all);
    for (let k = 0; k < more; k++) joined[up + o * all + n + k] = left.u[k * out + o];
  }
  return { basis: await basisOf(joined, all), dropped: left.s.slice(0, more) };
}

/** The basis of a file's vectors, and the values of W's directions behind them, which the module drops. */
export async function fileBasis(
  io: ReadyIo,
  of: FileFactors,
): Promise<{ readonly basis: Basis; readonly dropped: Float64Array }> {
  if (of.n < Math.min(of.out, of.in)) return await truncatedBasis(io, of);
  return { basis: await wholeBasis(io, of), dropped: new Float64Array(0) };
}
