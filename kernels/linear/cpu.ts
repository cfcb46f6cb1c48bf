/**
 * x W^T on one core, in plain TypeScript.
 *
 * Sums are float64: V8 keeps float32 arithmetic slow, and both V8 and JavaScriptCore run fastest with four outputs at
 * once, two inputs a step and, where there are rows enough, two rows.
 *
 * @module
 */

/** Sizes of a product, and whether it is added to what y holds. */
export interface Product {
  readonly rows: number;
  readonly inSize: number;
  readonly outSize: number;
  readonly accumulate: boolean;
}

interface Operands {
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly y: Float32Array;
}

function dot({ x, weight }: Operands, xAt: number, at: number, n: number): number {
  let sum = 0;
  for (let k = 0; k < n; k++) sum += x[xAt + k] * weight[at + k];
  return sum;
}

/** Outputs `o` to `o + 3` of row `r`. */
function fourOutputs({ x, weight, y }: Operands, r: number, o: number, size: Product): void {
  const n = size.inSize, even = n - n % 2, x0 = r * n;
  const w0 = o * n, w1 = w0 + n, w2 = w1 + n, w3 = w2 + n;
  let a = 0, b = 0, c = 0, d = 0;
  for (let k = 0; k < even; k += 2) {
    const v = x[x0 + k], u = x[x0 + k + 1];
    a += v * weight[w0 + k] + u * weight[w0 + k + 1];
    b += v * weight[w1 + k] + u * weight[w1 + k + 1];
    c += v * weight[w2 + k] + u * weight[w2 + k + 1];
    d += v * weight[w3 + k] + u * weight[w3 + k + 1];
  }
  if (even < n) {
    const v = x[x0 + even];
    a += v * weight[w0 + even];
    b += v * weight[w1 + even];
    c += v * weight[w2 + even];
    d += v * weight[w3 + even];
  }
  const i = r * size.outSize + o;
  if (size.accumulate) {
    a += y[i];
    b += y[i + 1];
    c += y[i + 2];
    d += y[i + 3];
  }
  y[i] = a;
  y[i + 1] = b;
  y[i + 2] = c;
  y[i + 3] = d;
}

/** Outputs `o` to `o + 3` of rows `r` and `r + 1`; an even number of inputs. */
function fourOutputsTwoRows({ x, weight, y }: Operands, r: number, o: number, size: Product): void {
  const n = size.inSize, x0 = r * n, x1 = x0 + n;
  const w0 = o * n, w1 = w0 + n, w2 = w1 + n, w3 = w2 + n;
  let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  for (let k = 0; k < n; k += 2) {
    const v0 = x[x0 + k], v1 = x[x0 + k + 1], u0 = x[x1 + k], u1 = x[x1 + k + 1];
    let p = weight[w0 + k], q = weight[w0 + k + 1];
    a += v0 * p + v1 * q;
    e += u0 * p + u1 * q;
    p = weight[w1 + k];
    q = weight[w1 + k + 1];
    b += v0 * p + v1 * q;
    f += u0 * p + u1 * q;
    p = weight[w2 + k];
    q = weight[w2 + k + 1];
    c += v0 * p + v1 * q;
    g += u0 * p + u1 * q;
    p = weight[w3 + k];
    q = weight[w3 + k + 1];
    d += v0 * p + v1 * q;
    h += u0 * p + u1 * q;
  }
  const i = r * size.outSize + o, j = i + size.outSize;
  if (size.accumulate) {
    a += y[i];
    b += y[i + 1];
    c += y[i + 2];
    d += y[i + 3];
    e += y[j];
    f += y[j + 1];
    g += y[j + 2];
    h += y[j + 3];
  }
  y[i] = a;
  y[i + 1] = b;
  y[i + 2] = c;
  y[i + 3] = d;
  y[j] = e;
  y[j + 1] = f;
  y[j + 2] = g;
  y[j + 3] = h;
}

/** y (rows, out) = or += x (rows, in) weight (out, in)^T. Four rows of the weight stay in cache for all rows of x. */
export function product(operands: Operands, size: Product): void {
  const { rows, inSize, outSize, accumulate } = size;
  const paired = inSize % 2 === 0 ? rows - rows % 2 : 0;
  const quads = outSize - outSize % 4;
  for (let o = 0; o < quads; o += 4) {
    for (let r = 0; r < paired; r += 2) fourOutputsTwoRows(operands, r, o, size);
    for (let r = paired; r < rows; r++) fourOutputs(operands, r, o, size);
  }
  const { y } = operands;
  for (let o = quads; o < outSize; o++) {
    for (let r = 0; r < rows; r++) {
      const i = r * outSize + o;
      y[i] = dot(operands, r * inSize, o * inSize, inSize) + (accumulate ? y[i] : 0);
    }
  }
}
