/**
 * Pictures of a spectrum and of dW: red for positive, blue for negative, white for zero.
 *
 * @module
 */
import type { LinearShape } from "../adapters/method.ts";

/** RGB pixels, 8 bits each, row by row from the top. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Longest side of a picture; larger matrices are sampled in blocks. */
const maxSide = 1024;

/** A matrix drawn with its largest magnitude as full colour; each pixel shows its block's largest magnitude. */
function draw(
  shape: LinearShape,
  fill: (put: (row: number, column: number, value: number) => void) => void,
): Picture {
  const block = Math.max(1, Math.ceil(Math.max(shape.out, shape.in) / maxSide));
  const width = Math.ceil(shape.in / block);
  const height = Math.ceil(shape.out / block);
  const values = new Float32Array(width * height);
  let most = 0;
  fill((row, column, value) => {
    const at = Math.floor(row / block) * width + Math.floor(column / block);
    if (Math.abs(value) > Math.abs(values[at])) values[at] = value;
    most = Math.max(most, Math.abs(value));
  });
  const data = new Uint8Array(3 * values.length).fill(255);
  values.forEach((value, i) => {
    const fade = 255 - Math.round(255 * Math.sqrt(Math.abs(value) / (most || 1)));
    data[3 * i + 1] = fade;
    data[value >= 0 ? 3 * i + 2 : 3 * i] = fade;
  });
  return { width, height, data };
}

/** dW (out, in), row-major. */
export function deltaPicture(delta: Float32Array, shape: LinearShape): Picture {
  return draw(
    shape,
    (put) => delta.forEach((value, i) => put(Math.floor(i / shape.in), i % shape.in, value)),
  );
}

/** Coefficients at their frequencies, the zero frequency in the middle. */
export function spectrumPicture(
  { u, v, c }: { readonly u: Uint32Array; readonly v: Uint32Array; readonly c: Float32Array },
  shape: LinearShape,
): Picture {
  const centred = (bin: number, length: number): number => (bin + Math.floor(length / 2)) % length;
  return draw(
    shape,
    (put) => c.forEach((value, l) => put(centred(u[l], shape.out), centred(v[l], shape.in), value)),
  );
}
