// A low-rank update that every row shares, forward and backward.
import { product } from "./tiles";
import { shortest, shortProduct, transposedProduct, turn } from "./transposed";

/** y += scale B (A x). `down` holds a row of ranks for each row; `across` B turned, as for `lora_backward`. */
export function lora_product(
  x: usize,
  values: usize,
  y: usize,
  down: usize,
  across: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  rank: usize,
  offset: usize,
  scale: f32,
): void {
  const a = values + (offset << 2), b = a + ((rank * inSize) << 2), line = rank << 2;
  product(x, inSize << 2, a, inSize << 2, 0, down, line, rows, inSize, rank, 1, false);
  if (rank > shortest) {
    product(down, line, b, line, 0, y, outSize << 2, rows, rank, outSize, scale, true);
    return;
  }
  const outLine = ((outSize + 3) & ~3) << 2;
  turn(b, outSize, rank, across, outLine, across + rank * outLine);
  shortProduct(down, line, across, outLine, y, outSize << 2, rows, rank, outSize, scale, true);
}

/**
 * All gradients; see the kernel's documentation. `hidden` holds A x and then dy B of all rows; `turned` the same turned, its
 * lines filled up to a multiple of four; `across` B turned, and then the gradient of B turned.
 */
export function lora_backward(
  x: usize,
  dy: usize,
  values: usize,
  gradient: usize,
  dx: usize,
  hidden: usize,
  turned: usize,
  across: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  rank: usize,
  offset: usize,
  scale: f32,
): void {
  const a = values + (offset << 2), b = a + ((rank * inSize) << 2), line = rank << 2;
  const down = hidden, ddown = hidden + rows * line, input = inSize << 2, output = outSize << 2;
  const outLine = ((outSize + 3) & ~3) << 2, rowLine = ((rows + 3) & ~3) << 2;
  product(x, input, a, input, 0, down, line, rows, inSize, rank, 1, false);
  turn(b, outSize, rank, across, outLine, across + rank * outLine);
  product(dy, output, across, outLine, 0, ddown, line, rows, outSize, rank, 1, false);
  // Of B's gradient the lines are too short to add up fast: it is made turned.
  turn(down, rows, rank, turned, rowLine, turned + rank * rowLine);
  transposedProduct(turned, rowLine, dy, 0, 32, across, output, scratch, rank, rows, outSize, scale, false);
  const db = gradient + (offset << 2) + rank * input;
  for (let o: usize = 0; o < outSize; o++) {
    for (let k: usize = 0; k < rank; k++) {
      const at = db + ((o * rank + k) << 2);
      store<f32>(at, load<f32>(at) + load<f32>(across + k * output + (o << 2)));
    }
  }
  turn(ddown, rows, rank, turned, rowLine, turned + rank * rowLine);
  const da = gradient + (offset << 2);
  transposedProduct(turned, rowLine, x, 0, 32, da, input, scratch, rank, rows, inSize, scale, true);
  transposedProduct(ddown, line, a, 0, 32, dx, input, scratch, rows, rank, inSize, scale, true);
}
