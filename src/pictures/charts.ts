/**
 * Figures of numbers: distributions, singular values, and a number for each module.
 *
 * @module
 */
import * as Plot from "@observablehq/plot";
import { counted, type Figure, figureSize, shown, tableOf } from "./figure.ts";
import type { Histogram } from "./histogram.ts";
import { type LayerPlace, layerPlace, type ModuleNumber } from "./layers.ts";
import { legend, legendWidth } from "./legend.ts";
import { axis, panel, plotMargins } from "./panel.ts";
import type { SvgDocument, SvgElement } from "./svg.ts";
import { palette, seriesColour } from "./theme.ts";

/** A figure's size and axes, for charts that take the whole of it. */
const whole = { ...figureSize, ...plotMargins };
const gridY = { ...axis, grid: true, labelOffset: 60 };

/** The number of values that a bin of a normal distribution would have. */
function normalCurve({ edges, total, mean, deviation, most }: Histogram): { x: number; y: number }[] {
  if (deviation === 0) return [];
  const width = edges[1] - edges[0];
  return Array.from({ length: 121 }, (_, i) => {
    const x = most * (i / 60 - 1), z = (x - mean) / deviation;
    return { x, y: total * width * Math.exp(-z * z / 2) / (deviation * Math.sqrt(2 * Math.PI)) };
  });
}

/** How coefficients or elements are distributed, beside a normal distribution. */
export function distributionFigure(
  counts: Histogram,
  { title, label, reach }: {
    readonly title: string;
    readonly label: string;
    /** The axis goes from -reach to reach; by default to the greatest magnitude. */
    readonly reach?: number;
  },
): Figure {
  const { edges, total, mean, deviation, most } = counts;
  const bins = Array.from(counts.counts, (count, i) => ({ from: edges[i], to: edges[i + 1], count }));
  return {
    name: "distribution",
    title,
    lines: [
      `${counted(total)} values, mean ${shown(mean)}, standard deviation ${shown(deviation)}`,
      "line: a normal distribution of that mean and deviation",
    ],
    description: `${title}: ${total} values from ${shown(-most)} to ${shown(most)}, mean ${shown(mean)}, ` +
      `standard deviation ${shown(deviation)}.`,
    table: tableOf(["from", "to", "values"], bins.map(({ from, to, count }) => [from, to, count])),
    height: figureSize.height,
    draw: (document) => [
      panel(document, {
        ...whole,
        x: { ...axis, label, domain: reach ? [-reach, reach] : undefined },
        y: { ...gridY, label: "values in a bin", nice: true, tickFormat: counted },
        marks: [
          Plot.rectY(bins, {
            x1: "from",
            x2: "to",
            y: "count",
            insetLeft: 0.5,
            insetRight: 0.5,
            fill: seriesColour(0),
          }),
          Plot.line(normalCurve(counts), { x: "x", y: "y", stroke: seriesColour(1), strokeWidth: 1.5 }),
          Plot.ruleY([0], { stroke: palette.soft }),
        ],
      }),
    ],
  };
}

/** The singular values of dW. */
export function singularValuesFigure(values: Float64Array, { title }: { readonly title: string }): Figure {
  const points = Array.from(values, (value, i) => ({ number: i + 1, value }));
  const squares = points.reduce((sum, { value }) => sum + value * value, 0);
  const part = squares > 0 ? points[0].value ** 2 / squares : 0;
  return {
    name: "singular-values",
    title,
    lines: [
      `rank at most ${values.length}; the Frobenius norm is ${shown(Math.sqrt(squares))}`,
      `the first value has ${shown(100 * part)} % of the squares`,
    ],
    description: `${title}: ${values.length} values, the greatest ${shown(values[0] ?? 0)}.`,
    table: tableOf(["number", "singular value"], points.map(({ number, value }) => [number, value])),
    height: figureSize.height,
    draw: (document) => [
      panel(document, {
        ...whole,
        x: {
          ...axis,
          label: "number",
          domain: [0.5, points.length + 0.5],
          ticks: Math.min(10, points.length),
        },
        y: { ...gridY, label: "singular value of dW", zero: true, nice: true },
        marks: [
          Plot.ruleX(points, { x: "number", y: "value", stroke: seriesColour(0), strokeWidth: 2 }),
          Plot.dot(points, { x: "number", y: "value", fill: seriesColour(0), r: 3.5 }),
          Plot.ruleY([0], { stroke: palette.soft }),
        ],
      }),
    ],
  };
}

/** The texts and the range of a number for each module. */
export interface ModulesFigureOptions {
  /** The figure's name. */
  readonly name: string;
  readonly title: string;
  readonly lines: readonly string[];
  /** The number's own name. */
  readonly label: string;
  /** By default 0 to the greatest. */
  readonly range?: readonly [number, number];
}

/** A module's number at its layer. */
type PlacedNumber = ModuleNumber & LayerPlace;

/** A line for each kind of module over the layers. */
function layersPanel(
  document: SvgDocument,
  numbers: readonly PlacedNumber[],
  { label, range }: ModulesFigureOptions,
): readonly SvgElement[] {
  const kinds = [...new Set(numbers.map(({ kind }) => kind))];
  const colour = ({ kind }: PlacedNumber): string => seriesColour(kinds.indexOf(kind));
  const layers = numbers.map(({ layer }) => layer!);
  const entries = kinds.map((name) => ({ name }));
  const ticks = Math.min(12, Math.max(...layers) - Math.min(...layers) + 1);
  return [
    panel(document, {
      ...whole,
      width: figureSize.width - legendWidth(entries),
      x: {
        ...axis,
        label: "layer",
        ticks,
        tickFormat: (layer: number) => Number.isInteger(layer) ? String(layer) : "",
      },
      y: { ...gridY, label, ...(range ? { domain: range } : { zero: true, nice: true }) },
      marks: [
        Plot.ruleY([0], { stroke: palette.soft }),
        Plot.line(numbers, { x: "layer", y: "value", z: "kind", stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(numbers, { x: "layer", y: "value", fill: colour, r: 3 }),
      ],
    }),
    legend(document, entries),
  ];
}

/** Bars that are drawn at most. */
const mostBars = 20;

/** A bar for each module. */
function barsPanel(
  document: SvgDocument,
  numbers: readonly ModuleNumber[],
  { label, range }: ModulesFigureOptions,
): readonly SvgElement[] {
  return [
    panel(document, {
      ...whole,
      marginLeft: 210,
      x: { ...axis, grid: true, label, ...(range ? { domain: range } : { zero: true }) },
      y: { label: null, domain: numbers.slice(0, mostBars).map(({ path }) => path) },
      marks: [
        Plot.barX(numbers.slice(0, mostBars), { x: "value", y: "path", fill: seriesColour(0) }),
        Plot.ruleX([0], { stroke: palette.soft }),
      ],
    }),
  ];
}

/** A number for each module: lines over the layers, or bars where modules stand in one layer or none. */
export function modulesFigure(numbers: readonly ModuleNumber[], options: ModulesFigureOptions): Figure {
  const { name, title, lines, label } = options;
  const placed = numbers.map((one): PlacedNumber => ({ ...one, ...layerPlace(one.path) }));
  const layers = new Set(placed.map(({ layer }) => layer));
  const isLayered = layers.size > 1 && !layers.has(undefined);
  const left = isLayered ? 0 : Math.max(0, numbers.length - mostBars);
  const values = numbers.map(({ value }) => value);
  return {
    name,
    title,
    lines: left > 0 ? [...lines, `the first ${mostBars} of ${numbers.length} modules`] : lines,
    description: `${title}: ${numbers.length} modules, from ${shown(Math.min(...values))} to ${
      shown(Math.max(...values))
    }.`,
    table: tableOf(["module", label], numbers.map(({ path, value }) => [path, value])),
    height: figureSize.height,
    draw: (document) =>
      isLayered ? layersPanel(document, placed, options) : barsPanel(document, numbers, options),
  };
}
