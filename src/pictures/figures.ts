/**
 * The figures of a module, of an adapter, and of two adapters beside each other.
 *
 * @module
 */
import { distributionFigure, modulesFigure, singularValuesFigure } from "./charts.ts";
import { type Figure, shown } from "./figure.ts";
import type { ModuleNumber } from "./layers.ts";
import type { ModuleData } from "./module_data.ts";
import { deltaFigure, deltaLimit, greatestMagnitude, spectrumFigure } from "./planes.ts";

/** A module's numbers, and the name of its adapter where there are two. */
export interface NamedData {
  readonly name?: string;
  readonly data: ModuleData;
}

/** A title, after the adapter's name where there is one. */
const titled = ({ name }: NamedData, title: string): string =>
  name === undefined ? title : `${name}: ${title}`;

function spectra(all: readonly NamedData[]): Figure[] {
  const found = all.flatMap((one) => one.data.points ? [{ one, points: one.data.points }] : []);
  const limit = Math.max(...found.map(({ points: { c } }) => greatestMagnitude(c)));
  return found.map(({ one, points }) =>
    spectrumFigure(points, {
      title: titled(one, points.wavelet === undefined ? "Spectrum" : "Wavelet coefficients"),
      limit,
    })
  );
}

function deltas(all: readonly NamedData[]): Figure[] {
  const limit = Math.max(...all.map(({ data: { cells } }) => deltaLimit(cells)));
  return all.map((one) => deltaFigure(one.data.cells, one.data.shape, { title: titled(one, "dW"), limit }));
}

function distributions(all: readonly NamedData[]): Figure[] {
  const sameKind = new Set(all.map(({ data: { points } }) => points !== undefined)).size === 1;
  const reach = Math.max(...all.map(({ data: { distribution } }) => distribution.most));
  return all.map((one) => {
    const { points, distribution } = one.data;
    return distributionFigure(distribution, {
      title: titled(one, `Distribution of ${points ? "coefficients" : "dW"}`),
      label: points ? "coefficient c" : "element of dW",
      reach: sameKind ? reach : undefined,
    });
  });
}

function singulars(all: readonly NamedData[]): Figure[] {
  return all.flatMap((one) => {
    const { singularValues } = one.data;
    return singularValues
      ? [singularValuesFigure(singularValues, { title: titled(one, "Singular values of dW") })]
      : [];
  });
}

/**
 * A row for each kind of picture: the spectrum, dW, the distribution of coefficients or of dW's elements, and the singular
 * values. Adapters stand side by side, with one range of colours and values; a kind that no adapter has is left out.
 *
 * @throws RangeError where the shapes differ.
 */
export function moduleFigures(all: readonly NamedData[]): readonly (readonly Figure[])[] {
  const [{ data: { shape } }, ...others] = all;
  for (const { data } of others) {
    if (data.shape.out !== shape.out || data.shape.in !== shape.in) {
      throw new RangeError(
        `Cannot compare modules of shapes (${shape.out}, ${shape.in}) and (${data.shape.out}, ${data.shape.in})`,
      );
    }
  }
  return [spectra(all), deltas(all), distributions(all), singulars(all)].filter((row) => row.length > 0);
}

/** The Frobenius norms of an adapter's dW. */
export function normsFigure(norms: readonly ModuleNumber[]): Figure {
  const whole = Math.sqrt(norms.reduce((sum, { value }) => sum + value * value, 0));
  return modulesFigure(norms, {
    name: "norms",
    title: "Norm of dW by layer and module",
    lines: [`Frobenius norms of ${norms.length} modules, together ${shown(whole)}`],
    label: "Frobenius norm of dW",
  });
}

/** The cosines between two adapters' dW. */
export function cosinesFigure(cosines: readonly ModuleNumber[], names: readonly [string, string]): Figure {
  return modulesFigure(cosines, {
    name: "cosines",
    title: "Cosine similarity of dW by layer and module",
    lines: [
      `${names[0]} and ${names[1]}, ${cosines.length} modules that both adapt`,
      "1: the same direction; 0: orthogonal; −1: opposite",
    ],
    label: "cosine of the two dW",
    range: [-1, 1],
  });
}
