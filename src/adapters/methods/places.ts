/**
 * Coefficients at places of a spectrum: FourierFT's modules, and sums of them.
 *
 * @module
 */
import { fourierDelta } from "../../../kernels/fourier_delta.ts";
import {
  type FourierTable,
  fourierTable,
  type Frequencies,
  inOrder,
} from "../../../kernels/fourier_table.ts";
import { step } from "../../plan.ts";
import { tensor } from "../../tensor.ts";
import type { AdapterModule, LinearShape, Term } from "../method.ts";
import { checkReach } from "../numbers.ts";

/** Frequency tables by what determines them: adapters of one seed share theirs. Small: 4 (n + out / 2) bytes each. */
const tableCache = new Map<string, FourierTable>();
const tableCacheEntries = 1024;

/** No element of a sum of these times cosines is greater. */
export const sumOfMagnitudes = (coefficients: Float32Array): number =>
  coefficients.reduce((sum, c) => sum + Math.abs(c), 0);

/** Coefficients, and where they stand in a linear's spectrum. */
export interface Places {
  readonly coefficients: Float32Array;
  /** The frequencies; no two are the same. */
  readonly frequencies: (shape: LinearShape) => Frequencies;
  /** Says the frequencies: equal keys, equal places. */
  readonly key: (shape: LinearShape) => string;
  /** The factor of dW. */
  readonly scale: (shape: LinearShape) => number;
}

/** The table of a linear's forward, made once while it is among the last that were asked for. */
export function tableOf({ key, frequencies }: Places, shape: LinearShape): FourierTable {
  const name = key(shape), known = tableCache.get(name);
  if (known) return known;
  const { u, v } = frequencies(shape);
  const made = fourierTable({ destination: u, source: v }, { destination: shape.out, source: shape.in });
  if (tableCache.size >= tableCacheEntries) tableCache.delete(tableCache.keys().next().value!);
  tableCache.set(name, made);
  return made;
}

/** What any module of coefficients at places does. */
export function placesModule(
  places: Places,
): Pick<AdapterModule, "pack"> & Required<Pick<AdapterModule, "deltaStep" | "spectrum">> {
  const { coefficients, frequencies, key, scale } = places;
  return {
    pack(shape) {
      const { order } = tableOf(places, shape);
      return {
        values: inOrder(coefficients, order),
        table: { key: key(shape), words: () => tableOf(places, shape).table },
        count: coefficients.length,
        scale: scale(shape),
      };
    },
    deltaStep(shape, { upload, weight, mode, rows }) {
      const { u, v } = frequencies(shape);
      const { table, order } = fourierTable({ destination: v, source: u }, {
        destination: shape.in,
        source: shape.out,
      });
      return step(
        fourierDelta,
        { table: upload(tensor(table)), values: upload(tensor(inOrder(coefficients, order))), weight },
        {
          out: shape.out,
          in: shape.in,
          scale: mode === "subtract" ? -scale(shape) : scale(shape),
          accumulate: Number(mode !== "write"),
          first: rows.first,
          rows: rows.count,
        },
      );
    },
    spectrum: (shape) => ({ ...frequencies(shape), c: coefficients, scale: scale(shape) }),
  };
}

/** One term of a sum: coefficients times a factor, at places that a key says. */
interface Summand extends Frequencies {
  readonly key: string;
  readonly c: Float32Array;
  readonly factor: number;
}

/** Whether one list of places begins with the other. */
function beginsWith(long: Frequencies, short: Frequencies): boolean {
  return short.u.every((u, l) => u === long.u[l] && short.v[l] === long.v[l]);
}

/** Coefficients of all terms, in float64, at the union of their places, and its key. */
function united(
  summands: readonly Summand[],
  { in: inSize }: LinearShape,
): { readonly sums: ArrayLike<number>; readonly key: string } & Frequencies {
  const longest = summands.reduce((best, one) => one.c.length > best.c.length ? one : best);
  // Adapters of one seed have the same places, as far as each goes.
  if (summands.every((one) => one === longest || beginsWith(longest, one))) {
    const sums = new Float64Array(longest.c.length);
    for (const { c, factor } of summands) c.forEach((value, l) => sums[l] += factor * value);
    return { sums, u: longest.u, v: longest.v, key: longest.key };
  }
  const at = new Map<number, number>(), sums: number[] = [];
  for (const { u, v, c, factor } of summands) {
    for (let l = 0; l < c.length; l++) {
      const place = u[l] * inSize + v[l], known = at.get(place);
      if (known === undefined) at.set(place, sums.push(factor * c[l]) - 1);
      else sums[known] += factor * c[l];
    }
  }
  const places = [...at.keys()];
  return {
    sums,
    // Places come in the order of the terms: equal keys in equal order, equal places.
    key: [...new Set(summands.map(({ key }) => key))].join("+"),
    u: Uint32Array.from(places, (place) => Math.floor(place / inSize)),
    v: Uint32Array.from(places, (place) => place % inSize),
  };
}

/** The sum of modules of coefficients, for a linear of this shape. Seeds and numbers of coefficients may differ. */
export function sumOfSpectra(terms: readonly Term[], shape: LinearShape): AdapterModule {
  const parts = terms.map(({ module, scale }) => {
    const { u, v, c, scale: own } = module.spectrum!(shape);
    return { u, v, c, scale: scale * own, key: module.pack(shape).table!.key };
  });
  const scale = Math.max(...parts.map((part) => Math.abs(part.scale))) || 1;
  const { sums, u, v, key } = united(parts.map((part) => ({ ...part, factor: part.scale / scale })), shape);
  const coefficients = Float32Array.from(sums);
  return {
    parameters: coefficients.length,
    summary: `n = ${coefficients.length}, a sum of ${terms.length}`,
    shape,
    check(path) {
      const what = `the sum of modules "${path}"`;
      checkReach(scale, what);
      checkReach(Math.max(1, scale) * sumOfMagnitudes(coefficients), what);
    },
    ...placesModule({ coefficients, frequencies: () => ({ u, v }), key: () => key, scale: () => scale }),
  };
}
