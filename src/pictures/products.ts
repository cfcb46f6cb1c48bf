/**
 * Norms of dW and cosines between two of them. A spectrum and factors say these without dW being built; for other methods
 * dW is built.
 *
 * @module
 */
import { isSum, type LinearModule } from "../adapters/alone.ts";
import { type AdaptedLinear, deltaOf } from "../adapters/apply.ts";
import type { Factors, LinearShape } from "../adapters/method.ts";
import { inSlices } from "../breathe.ts";
import type { Device } from "../device/device.ts";
import { mirrorBin, type ModuleSpectrum } from "./spectrum.ts";

/** <A, A>, <A, B> and <B, B> of two dW: sums of products of elements. */
export interface DeltaProducts {
  readonly aa: number;
  readonly ab: number;
  readonly bb: number;
}

/** Sums of coefficients by frequency, where a frequency and its mirror image are one. */
function folded({ u, v, c }: ModuleSpectrum, { out, in: inSize }: LinearShape): Map<number, number> {
  const sums = new Map<number, number>();
  for (let l = 0; l < c.length; l++) {
    const place = u[l] * inSize + v[l];
    const mirror = mirrorBin(u[l], out) * inSize + mirrorBin(v[l], inSize);
    const key = Math.min(place, mirror);
    sums.set(key, (sums.get(key) ?? 0) + c[l]);
  }
  return sums;
}

/**
 * By Parseval. The cosines of two frequencies are orthogonal unless they are equal or mirror images. A cosine's square has
 * the mean 1/2, and 1 where the frequency is its own mirror image.
 */
function spectralProduct(a: ModuleSpectrum, b: ModuleSpectrum, shape: LinearShape): number {
  const { out, in: inSize } = shape, others = folded(b, shape);
  let sum = 0;
  for (const [place, c] of folded(a, shape)) {
    const other = others.get(place);
    if (other === undefined) continue;
    const row = Math.floor(place / inSize), column = place % inSize;
    const isOwnMirror = mirrorBin(row, out) === row && mirrorBin(column, inSize) === column;
    sum += (isOwnMirror ? 1 : 0.5) * c * other;
  }
  return a.scale * b.scale * out * inSize * sum;
}

/** <sBA, s'B'A'>: the sum of the elements of B^T B' times those of A A'^T. Other work has its turn meanwhile. */
async function factorProduct(a: Factors, b: Factors, signal?: AbortSignal): Promise<number> {
  let sum = 0;
  function* adding(): Iterable<void> {
    for (let i = 0; i < a.rank; i++) {
      for (let j = 0; j < b.rank; j++) {
        let left = 0, right = 0;
        for (let o = 0; o < a.out; o++) left += a.b[o * a.rank + i] * b.b[o * b.rank + j];
        for (let q = 0; q < a.in; q++) right += a.a[i * a.in + q] * b.a[j * b.in + q];
        sum += left * right;
        yield;
      }
    }
  }
  await inSlices(adding(), signal);
  return a.scale * b.scale * sum;
}

function denseProduct(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** A module's spectrum of frequencies; undefined where its dW is no sum of cosines. */
function frequenciesOf({ module, shape }: LinearModule): ModuleSpectrum | undefined {
  const spectrum = module.spectrum?.(shape);
  return spectrum?.wavelet === undefined ? spectrum : undefined;
}

/** A module's factors; undefined where its dW is no product of factors alone. */
export function factorsOf({ method, module, shape }: LinearModule): Factors | undefined {
  return isSum(method) ? module.factors?.(shape) : undefined;
}

async function products<T>(
  a: T,
  b: T,
  product: (one: T, other: T) => number | Promise<number>,
): Promise<DeltaProducts> {
  const aa = await product(a, a);
  return a === b ? { aa, ab: aa, bb: aa } : { aa, ab: await product(a, b), bb: await product(b, b) };
}

/** Whether the methods of two modules say their products without dW. */
export const haveProducts = (a: LinearModule, b: LinearModule = a): boolean =>
  [frequenciesOf, factorsOf].some((part) => part(a) !== undefined && part(b) !== undefined);

/**
 * The products of two modules of one linear whose methods say them without dW; undefined where dW must be built. `b` is by
 * default `a`.
 *
 * @throws RangeError where the shapes differ; the signal's reason.
 */
export async function ownProducts(
  a: LinearModule,
  b: LinearModule = a,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<DeltaProducts | undefined> {
  if (a.shape.out !== b.shape.out || a.shape.in !== b.shape.in) {
    throw new RangeError(
      `Cannot compare modules of shapes (${a.shape.out}, ${a.shape.in}) and (${b.shape.out}, ${b.shape.in})`,
    );
  }
  const spectrum = frequenciesOf(a), other = a === b ? spectrum : frequenciesOf(b);
  if (spectrum && other) {
    return await products(spectrum, other, (left, right) => spectralProduct(left, right, a.shape));
  }
  const factors = factorsOf(a), others = a === b ? factors : factorsOf(b);
  if (!factors || !others) return undefined;
  return await products(factors, others, (one, other) => factorProduct(one, other, signal));
}

/**
 * The products of two modules of one linear; of a module with itself where there is one.
 *
 * @throws as {@linkcode ownProducts}, and as `deltaOf` where dW must be built.
 */
export async function deltaProducts(
  device: Device,
  a: AdaptedLinear,
  b: AdaptedLinear = a,
): Promise<DeltaProducts> {
  const known = await ownProducts(a, b);
  if (known) return known;
  const one = Float32Array.from((await deltaOf(device, a)).data);
  return await products<ArrayLike<number>>(
    one,
    a === b ? one : (await deltaOf(device, b)).data,
    denseProduct,
  );
}

/** The Frobenius norm of dW. */
export async function deltaNorm(device: Device, linear: AdaptedLinear): Promise<number> {
  return Math.sqrt(Math.max(0, (await deltaProducts(device, linear)).aa));
}

/** The cosine between two dW as vectors of elements, -1 to 1; undefined where one is all zeros. */
export function cosineOf({ aa, ab, bb }: DeltaProducts): number | undefined {
  return aa > 0 && bb > 0 ? Math.min(1, Math.max(-1, ab / (Math.sqrt(aa) * Math.sqrt(bb)))) : undefined;
}
