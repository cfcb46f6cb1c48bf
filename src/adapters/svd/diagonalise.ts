/**
 * A bidiagonal matrix made diagonal by implicit QR steps, and its vectors turned with it.
 *
 * The turns of many steps are kept, then done on few columns at a time, so that the columns stay in a processor's cache.
 *
 * @module
 */
import type { Bidiagonal, Vectors } from "./bidiagonal.ts";

/** What is 0 beside its neighbours, and what is 0 beside anything. */
const epsilon = 2 ** -52, tiny = 2 ** -966;

/** Steps a singular value may take; two are usual. */
const mostSteps = 60;

/** Numbers of a line that turns are done on at a time, and turns that are kept. */
const blockSize = 16, mostTurns = 2 ** 16;

/** sqrt(x^2 + y^2), without overflow and by operations that are rounded alike everywhere. */
function length(x: number, y: number): number {
  const a = Math.max(Math.abs(x), Math.abs(y)), b = Math.min(Math.abs(x), Math.abs(y));
  return a === 0 ? 0 : a * Math.sqrt(1 + (b / a) * (b / a));
}

/** Turns of pairs of lines, to be done. */
class Turns {
  readonly #lines = new Int32Array(2 * mostTurns);
  readonly #factors = new Float64Array(2 * mostTurns);
  /** A block of every line side by side: lines of a power of two numbers would share few sets of a cache. */
  readonly #block: Float64Array;
  #count = 0;

  constructor(private readonly matrix: Float64Array, private readonly width: number) {
    this.#block = new Float64Array(matrix.length / width * blockSize);
  }

  /** Line i becomes c i + s j, and line j becomes c j - s i. */
  add(i: number, j: number, c: number, s: number): void {
    const at = 2 * this.#count++;
    this.#lines[at] = i * blockSize;
    this.#lines[at + 1] = j * blockSize;
    this.#factors[at] = c;
    this.#factors[at + 1] = s;
  }

  /** Does the turns, when so many more would not fit. */
  *make(room: number): Iterable<void> {
    if (this.#count + room < mostTurns) return;
    const { matrix, width } = this, lines = matrix.length / width, block = this.#block;
    for (let begin = 0; begin < width; begin += blockSize) {
      const size = Math.min(blockSize, width - begin);
      for (let line = 0; line < lines; line++) {
        for (let i = 0; i < size; i++) block[line * blockSize + i] = matrix[line * width + begin + i];
      }
      this.#turn(block);
      for (let line = 0; line < lines; line++) {
        for (let i = 0; i < size; i++) matrix[line * width + begin + i] = block[line * blockSize + i];
      }
      yield;
    }
    this.#count = 0;
  }

  #turn(block: Float64Array): void {
    const lines = this.#lines, factors = this.#factors, end = 2 * this.#count;
    for (let turn = 0; turn < end; turn += 2) {
      const c = factors[turn], s = factors[turn + 1], a = lines[turn], b = lines[turn + 1];
      for (let i = 0; i < blockSize; i++) {
        const x = block[a + i], y = block[b + i];
        block[a + i] = c * x + s * y;
        block[b + i] = c * y - s * x;
      }
    }
  }
}

/** The numbers being made diagonal, and the turns of each side. */
interface Work extends Pick<Bidiagonal, "d" | "e"> {
  readonly left: Turns;
  readonly right: Turns;
}

/** d[last] is 0: turns e[last - 1] away, columns from the last one up. */
function clearColumn({ d, e, right }: Work, first: number, last: number): void {
  let f = e[last - 1];
  e[last - 1] = 0;
  for (let j = last - 1; j >= first; j--) {
    const t = length(d[j], f), c = d[j] / t, s = f / t;
    d[j] = t;
    if (j > first) {
      f = -s * e[j - 1];
      e[j - 1] *= c;
    }
    right.add(j, last, c, s);
  }
}

/** d[zero] is 0: turns e[zero] away, rows from the next one down. */
function clearRow({ d, e, left }: Work, zero: number, last: number): void {
  let f = e[zero];
  e[zero] = 0;
  for (let j = zero + 1; j <= last && f !== 0; j++) {
    const t = length(d[j], f), c = d[j] / t, s = f / t;
    d[j] = t;
    f = -s * e[j];
    e[j] *= c;
    left.add(j, zero, c, s);
  }
}

/** The shift of a QR step: Wilkinson's, of the last two rows. */
function shifted({ d, e }: Work, first: number, last: number): [f: number, g: number] {
  const scale = Math.max(
    ...[d[last], d[last - 1], e[last - 1], d[first], e[first]].map(Math.abs),
  );
  const sp = d[last] / scale, spm1 = d[last - 1] / scale, epm1 = e[last - 1] / scale;
  const sk = d[first] / scale, ek = e[first] / scale;
  const b = ((spm1 + sp) * (spm1 - sp) + epm1 * epm1) / 2, c = sp * epm1 * (sp * epm1);
  if (b === 0 && c === 0) return [(sk + sp) * (sk - sp), sk * ek];
  const root = Math.sqrt(b * b + c);
  return [(sk + sp) * (sk - sp) + c / (b + (b < 0 ? -root : root)), sk * ek];
}

/** One QR step of rows first to last. */
function qrStep(work: Work, first: number, last: number): void {
  const { d, e, left, right } = work;
  let [f, g] = shifted(work, first, last);
  for (let j = first; j < last; j++) {
    let t = length(f, g), c = t === 0 ? 1 : f / t, s = t === 0 ? 0 : g / t;
    if (j > first) e[j - 1] = t;
    f = c * d[j] + s * e[j];
    e[j] = c * e[j] - s * d[j];
    g = s * d[j + 1];
    d[j + 1] *= c;
    right.add(j, j + 1, c, s);
    t = length(f, g);
    c = t === 0 ? 1 : f / t;
    s = t === 0 ? 0 : g / t;
    d[j] = t;
    f = c * e[j] + s * d[j + 1];
    d[j + 1] = c * d[j + 1] - s * e[j];
    g = s * e[j + 1];
    e[j + 1] *= c;
    left.add(j, j + 1, c, s);
  }
  e[last - 1] = f;
}

/** Sets what is negligible to 0; returns the first row of the block that ends with `last`. */
function blockStart({ d, e }: Work, last: number): number {
  let k = last;
  while (k > 0) {
    if (Math.abs(e[k - 1]) <= tiny + epsilon * (Math.abs(d[k - 1]) + Math.abs(d[k]))) {
      e[k - 1] = 0;
      break;
    }
    k--;
  }
  return k;
}

/** The last row of a block whose diagonal is negligible, and made 0; -1 where there is none. */
function zeroOf({ d, e }: Work, first: number, last: number): number {
  for (let i = last; i >= first; i--) {
    const beside = (i < last ? Math.abs(e[i]) : 0) + (i > first ? Math.abs(e[i - 1]) : 0);
    if (Math.abs(d[i]) > tiny + epsilon * beside) continue;
    d[i] = 0;
    return i;
  }
  return -1;
}

/**
 * Makes e zero; d may be left with signs. Yields between pieces of work.
 *
 * @throws RangeError when the steps do not end.
 */
export function* diagonalised({ m, n, d, e }: Bidiagonal, vectors: Vectors): Iterable<void> {
  const work: Work = { d, e, left: new Turns(vectors.left, m), right: new Turns(vectors.right, n) };
  let steps = 0;
  for (let last = n - 1; last >= 0;) {
    const first = blockStart(work, last);
    if (first === last) {
      last--;
      steps = 0;
      continue;
    }
    const zero = zeroOf(work, first, last);
    if (zero === last) clearColumn(work, first, last);
    else if (zero >= 0) clearRow(work, zero, last);
    else if (steps++ < mostSteps) qrStep(work, first, last);
    else throw new RangeError(`Cannot decompose a matrix: singular value ${last} took ${mostSteps} steps`);
    yield* work.left.make(n);
    yield* work.right.make(n);
  }
  yield* work.left.make(mostTurns);
  yield* work.right.make(mostTurns);
}
