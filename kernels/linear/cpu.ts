/**
 * x W^T on one core, in plain TypeScript.
 *
 * Sums are float64, for V8 is slow at float32 arithmetic. V8 and JavaScriptCore both run fastest with four outputs at
 * once, two inputs a step and, where there are rows enough, two rows. The four outputs lie a quarter of the weight
 * apart: four long streams, which the hardware fetches ahead; four neighbouring rows would be met anew each time, at
 * two thirds of the speed once the weights are larger than the cache.
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

/** One output of every row. */
function oneOutput({ x, weight, y }: Operands, o: number, size: Product): void {
  const { rows, inSize, outSize, accumulate } = size;
  for (let r = 0; r < rows; r++) {
    const i = r * outSize + o;
    let sum = accumulate ? y[i] : 0;
    for (let k = 0; k < inSize; k++) sum += x[r * inSize + k] * weight[o * inSize + k];
    y[i] = sum;
  }
}

/** Four outputs of row `r`, a quarter apart, from `o` on. */
function fourOutputs({ x, weight, y }: Operands, r: number, o: number, size: Product): void {
  const n = size.inSize, even = n - n % 2, x0 = r * n, quarter = Math.floor(size.outSize / 4);
  const w0 = o * n, w1 = w0 + quarter * n, w2 = w1 + quarter * n, w3 = w2 + quarter * n;
  const i0 = r * size.outSize + o, i1 = i0 + quarter, i2 = i1 + quarter, i3 = i2 + quarter;
  let a = 0, b = 0, c = 0, d = 0;
  if (size.accumulate) {
    a = y[i0];
    b = y[i1];
    c = y[i2];
    d = y[i3];
  }
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
  y[i0] = a;
  y[i1] = b;
  y[i2] = c;
  y[i3] = d;
}

/** The same outputs of rows `r` and `r + 1`; the number of inputs is even. */
function fourOutputsTwoRows({ x, weight, y }: Operands, r: number, o: number, size: Product): void {
  const n = size.inSize, x0 = r * n, x1 = x0 + n, quarter = Math.floor(size.outSize / 4);
  const w0 = o * n, w1 = w0 + quarter * n, w2 = w1 + quarter * n, w3 = w2 + quarter * n;
  const i0 = r * size.outSize + o, i1 = i0 + quarter, i2 = i1 + quarter, i3 = i2 + quarter;
  const j = size.outSize;
  let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  if (size.accumulate) {
    a = y[i0];
    b = y[i1];
    c = y[i2];
    d = y[i3];
    e = y[i0 + j];
    f = y[i1 + j];
    g = y[i2 + j];
    h = y[i3 + j];
  }
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
  y[i0] = a;
  y[i1] = b;
  y[i2] = c;
  y[i3] = d;
  y[i0 + j] = e;
  y[i1 + j] = f;
  y[i2 + j] = g;
  y[i3 + j] = h;
}

/** y (rows, out) = or += x (rows, in) weight (out, in)^T. Four rows of the weight serve all rows of x in turn. */
export function product(operands: Operands, size: Product): void {
  const { rows, inSize, outSize } = size;
  const paired = inSize % 2 === 0 ? rows - rows % 2 : 0;
  const quarter = Math.floor(outSize / 4);
  for (let o = 0; o < quarter; o++) {
    for (let r = 0; r < paired; r += 2) fourOutputsTwoRows(operands, r, o, size);
    for (let r = paired; r < rows; r++) fourOutputs(operands, r, o, size);
  }
  for (let o = 4 * quarter; o < outSize; o++) oneOutput(operands, o, size);
}
