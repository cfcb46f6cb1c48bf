/**
 * Sums of SVFT adapters as one file: entries of one basis add up.
 *
 * @module
 */
import { CombinationError } from "../../errors.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import type { CombinedFiles, Summand } from "../method.ts";
import { checkReach, greatestSize } from "../numbers.ts";
import { type Piece, piecesByPath } from "./combined.ts";
import { signsOf } from "./svft_basis.ts";
import type { FileFactors, SvftFile } from "./svft_file.ts";
import type { SvftModule } from "./svft_module.ts";
import { band, bandCount, type Places } from "./svft_places.ts";

const equal = (one: Float32Array, other: Float32Array): boolean =>
  one.length === other.length && one.every((value, i) => value === other[i]);

/** Whether two files have the same vectors: both the base's own, or equal ones. */
const sameVectors = (one: FileFactors | undefined, other: FileFactors | undefined): boolean =>
  one === other ||
  one !== undefined && other !== undefined && equal(one.s, other.s) && equal(one.factors, other.factors);

/** Rows of M: a file without vectors and check numbers is a diagonal. */
const sizeOf = ({ factors, check, s }: SvftFile): number =>
  factors?.n ?? (check ? check.length / 2 : s.length);

/** Throws CombinationError for files that no one file holds the sum of. */
function checkPieces(path: string, pieces: readonly Piece<SvftModule>[]): void {
  const [{ module: { svft: first } }] = pieces, n = sizeOf(first);
  for (const { module: { svft }, summand: { name } } of pieces) {
    const { factors, setting: { rank } } = svft;
    const why = rank !== undefined || (factors && factors.n < Math.min(factors.out, factors.in))
      ? 'it drops directions of the weight by "rank", and a file drops them whole'
      : !sameVectors(factors, first.factors)
      ? "its u and v are not the other's"
      : sizeOf(svft) !== n
      ? `its M has ${sizeOf(svft)} rows, the other's ${n}`
      : undefined;
    if (why) {
      throw new CombinationError(`Cannot write module "${path}" of adapter "${name}" into a sum: ${why}`);
    }
  }
}

/** sigma(gate) M of all terms, each times its weight, at the union of their places, in the first check numbers' signs. */
function united(path: string, pieces: readonly Piece<SvftModule>[], n: number) {
  const check = pieces.find(({ module: { svft } }) => svft.check)?.module.svft.check;
  const sums = new Map<number, number>();
  for (const { module: { svft }, summand: { weight } } of pieces) {
    const { rows, columns } = svft.places ?? band(n, svft.setting.offDiag);
    // A diagonal without check numbers has no signs.
    const signs = check && svft.check ? signsOf(path, svft.check, check) : undefined;
    const factor = weight / (1 + Math.exp(-svft.gate));
    svft.s.forEach((value, e) => {
      const at = rows[e] * n + columns[e], sign = signs ? signs[rows[e]] * signs[columns[e]] : 1;
      sums.set(at, (sums.get(at) ?? 0) + sign * factor * value);
    });
  }
  return { sums, check };
}

function placesOf(sums: ReadonlyMap<number, number>, n: number): Places {
  const places = [...sums.keys()];
  return {
    rows: Int32Array.from(places, (place) => Math.floor(place / n)),
    columns: Int32Array.from(places, (place) => place % n),
  };
}

/** One module's tensors: the gate is 0, which halves the entries. */
function tensorsOf(
  path: string,
  pieces: readonly Piece<SvftModule>[],
  offDiag: number,
  isBand: boolean,
): Map<string, HostTensor> {
  const [{ module: { svft: { factors } } }] = pieces, n = sizeOf(pieces[0].module.svft);
  const { sums, check } = united(path, pieces, n);
  const { rows, columns } = isBand ? band(n, offDiag) : placesOf(sums, n), count = rows.length;
  const s = Float32Array.from(rows, (row, e) => 2 * (sums.get(row * n + columns[e]) ?? 0));
  checkReach(greatestSize(s), `the sum of modules "${path}"`);
  const tensors = new Map<string, HostTensor>([["s", tensor(s, [count])], [
    "gate",
    tensor(new Float32Array(1)),
  ]]);
  if (!isBand) tensors.set("s_row", tensor(rows, [count])).set("s_col", tensor(columns, [count]));
  if (factors) {
    const { out, in: inSize, s: own } = factors, up = n * inSize;
    tensors.set("u", tensor(factors.factors.slice(up), [out, n])).set("s_pre", tensor(own, [n]));
    tensors.set("v", tensor(factors.factors.slice(0, up), [n, inSize]));
  } else if (check) {
    tensors.set("check", tensor(check, [n, 2]));
  }
  return new Map([...tensors].map(([name, t]) => [`${path}.svft_layer.${name}`, t]));
}

/**
 * The entries of a sum: a band where all are bands, and places of their own elsewhere.
 *
 * @throws CombinationError for files of several vectors, and for those that drop directions; ConfigError for check numbers of
 * another weight.
 */
export function combinedSvft(adapters: readonly Summand[]): CombinedFiles {
  const modules = piecesByPath<SvftModule>(adapters), files = [...modules.values()].flat();
  const isBand = files.every(({ module: { svft } }) => svft.places === undefined);
  const offDiag = Math.max(...files.map(({ module: { svft } }) => svft.setting.offDiag));
  const tensors = new Map<string, HostTensor>();
  for (const [path, pieces] of modules) {
    checkPieces(path, pieces);
    const n = sizeOf(pieces[0].module.svft), side = Math.min(offDiag, n - 1);
    if (isBand && bandCount(n, side) < 1) throw new RangeError(`Cannot make a band of M (${n}, ${n})`);
    for (const [name, t] of tensorsOf(path, pieces, offDiag, isBand)) tensors.set(name, t);
  }
  return {
    config: { pattern: isBand ? "banded" : "random", off_diag: offDiag, rank: null, fill_orthonormal: false },
    tensors,
  };
}
