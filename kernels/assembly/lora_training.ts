// A low-rank update that every row shares, forward and backward. B is turned beforehand.
import { product } from "./tiles";
import { shortest, shortProduct, transposedItems, transposedProduct, turn, turnedLine } from "./transposed";

/** Rows of a item: whole tiles, and whole quads of a turned matrix. */
const rowsOfItem: usize = 48;

/**
 * y += scale B (A x). `down` holds a row of ranks for each row, `across` B turned where the rank is short. An item is 48 rows.
 */
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
  begin: usize,
  end: usize,
): void {
  const a = values + (offset << 2), b = a + ((rank * inSize) << 2), line = rank << 2;
  const input = inSize << 2, output = outSize << 2;
  for (let r = begin * rowsOfItem; r < min(end * rowsOfItem, rows); r += rowsOfItem) {
    const held = min(rowsOfItem, rows - r), own = down + r * line, to = y + r * output;
    product(x + r * input, input, a, input, 32, 0, own, line, held, inSize, rank, 1, false);
    if (rank > shortest) product(own, line, b, line, 32, 0, to, output, held, rank, outSize, scale, true);
    else shortProduct(own, line, across, turnedLine(outSize), to, output, held, rank, outSize, scale, true);
  }
}

/**
 * What the gradients need of each row, and dx. `hidden` holds A x and then dy B of all rows; `turned` both turned, each with a
 * row behind it; `across` B turned. An item is 48 rows.
 */
export function lora_rows(
  x: usize,
  dy: usize,
  values: usize,
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
  begin: usize,
  end: usize,
): void {
  const a = values + (offset << 2), line = rank << 2, input = inSize << 2, output = outSize << 2;
  const down = hidden, ddown = hidden + rows * line, outLine = turnedLine(outSize);
  const second = turned + rank * turnedLine(rows) + line;
  for (let r = begin * rowsOfItem; r < min(end * rowsOfItem, rows); r += rowsOfItem) {
    const held = min(rowsOfItem, rows - r), own = down + r * line, back = ddown + r * line;
    product(x + r * input, input, a, input, 32, 0, own, line, held, inSize, rank, 1, false);
    product(dy + r * output, output, across, outLine, 32, 0, back, line, held, outSize, rank, 1, false);
    transposedProduct(back, line, a, 32, dx + r * input, input, scratch, held, rank, inSize, scale, true);
    const quad = r >> 2, last = (r + held + 3) >> 2;
    turn(down, 0, turned, rows, rank, quad, last);
    turn(ddown, 0, second, rows, rank, quad, last);
  }
}

/**
 * The gradients of A and B from what `lora_rows` made. `across` gets the gradient of B turned. An item is 96 columns of A's, and
 * behind those 96 of B's; all columns where there are few rows.
 */
export function lora_gradients(
  x: usize,
  dy: usize,
  gradient: usize,
  turned: usize,
  across: usize,
  scratch: usize,
  rows: usize,
  inSize: usize,
  outSize: usize,
  rank: usize,
  offset: usize,
  scale: f32,
  itemsOfA: usize,
  begin: usize,
  end: usize,
): void {
  const line = turnedLine(rows), second = turned + rank * line + (rank << 2), input = inSize << 2;
  const da = gradient + (offset << 2), db = da + rank * input;
  for (let item = begin; item < end; item++) {
    if (item < itemsOfA) {
      transposedItems(
        second,
        line,
        x,
        0,
        32,
        da,
        input,
        scratch,
        rank,
        rows,
        inSize,
        scale,
        true,
        rank,
        item,
        item + 1,
      );
    } else {
      const own = item - itemsOfA;
      transposedItems(
        turned,
        line,
        dy,
        0,
        32,
        across,
        outSize << 2,
        scratch,
        rank,
        rows,
        outSize,
        scale,
        false,
        rank,
        own,
        own + 1,
      );
      const whole = rows <= shortest, first = whole ? 0 : own * 96;
      addTurned(across, db, outSize, rank, first, whole ? outSize : min(outSize, first + 96));
    }
  }
}

/** Of B's gradient the lines are too short to add up fast: it is made turned, and added here. */
function addTurned(from: usize, to: usize, outSize: usize, rank: usize, begin: usize, end: usize): void {
  for (let o = begin; o < end; o++) {
    for (let k: usize = 0; k < rank; k++) {
      const at = to + ((o * rank + k) << 2);
      store<f32>(at, load<f32>(at) + load<f32>(from + ((k * outSize + o) << 2)));
    }
  }
}
