/**
 * Plots of benches as SVG: lines over x, or bars. They are cards like the pictures of adapters, light or dark as their
 * viewer is.
 *
 * @module
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { cardOf } from "../src/pictures/card.ts";
import { type Figure, figureSize, tableOf } from "../src/pictures/figure.ts";
import { dashed, legend, type LegendEntry, legendWidth } from "../src/pictures/legend.ts";
import { axis, panel, plotMargins } from "../src/pictures/panel.ts";
import type { SvgDocument } from "../src/pictures/svg.ts";
import { palette, seriesColour } from "../src/pictures/theme.ts";

/** A point of a series. */
export interface PlotPoint {
  readonly x: number;
  readonly y: number;
}

/** One line of a chart: measured points are marked, a model is a thin line, a floor is dashed. */
export interface Series {
  readonly name: string;
  readonly style: "measured" | "model" | "floor";
  readonly points: readonly PlotPoint[];
}

/** The texts around a chart's lines. */
export interface ChartText {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
}

const { document } = parseHTML("<html></html>") as unknown as { readonly document: SvgDocument };

const svgOf = (figure: Figure): string =>
  `${shortened(cardOf([[figure]], { document, theme: "auto" }).outerHTML)}\n`;

/** An SVG whose places and lengths have two decimals: a hundredth of a pixel, for a quarter fewer bytes. */
function shortened(svg: string): string {
  return svg.replaceAll(
    / (?:transform|d|points|[xy][12]?|c[xy]|r|width|height)="[^"]*"/g,
    (attribute) =>
      attribute.replaceAll(/\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2)))),
  );
}

/** Letters of a card's line at most. */
const mostLetters = 100;

/** A text in lines that a card has room for. */
function linesOf(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < mostLetters) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

/** A number in a few characters: 0.25, 16, 4k, 1M. */
function shortNumber(value: number): string {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** Powers of ten with 2 and 5 between them where they are few; the ends are ticks. */
export function logTicks(least: number, most: number): number[] {
  const decades = Math.log10(most / least);
  const steps = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 5];
  const all: number[] = [];
  for (let e = Math.floor(Math.log10(least)) - 1; e <= Math.ceil(Math.log10(most)) + 1; e++) {
    for (const s of steps) all.push(Number((s * 10 ** e).toPrecision(3)));
  }
  const first = all.findLastIndex((value) => value <= least);
  const last = all.findIndex((value) => value >= most);
  return all.slice(first, Math.max(last, first + 1) + 1);
}

/** A logarithmic axis over some values. */
function logAxis(values: readonly number[], label: string): Plot.ScaleOptions {
  const ticks = logTicks(Math.min(...values), Math.max(...values));
  return {
    ...axis,
    type: "log",
    label,
    ticks,
    domain: [ticks[0], ticks.at(-1)!],
    tickFormat: shortNumber,
    grid: true,
  };
}

const styles = { measured: "points", model: "line", floor: "dashes" } as const;

/** Lines over x, both axes logarithmic; points that are not positive cannot be drawn and are left out. */
export function lineChart(series: readonly Series[], { title, subtitle, xLabel, yLabel }: ChartText): string {
  const drawn = series.map((one) => ({ ...one, points: one.points.filter(({ x, y }) => x > 0 && y > 0) }))
    .filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const entries = drawn.map(({ name, style }): LegendEntry => ({ name, style: styles[style] }));
  const marks = drawn.flatMap(({ points, style }, i) => {
    const stroke = seriesColour(i), place = { x: "x", y: "y" } as const;
    const strokeDasharray = style === "floor" ? dashed : undefined;
    return [
      Plot.line(points, { ...place, stroke, strokeWidth: style === "measured" ? 2 : 1.3, strokeDasharray }),
      ...(style === "measured" ? [Plot.dot(points, { ...place, fill: stroke, r: 3.5 })] : []),
    ];
  });
  return svgOf({
    name: "lines",
    title,
    lines: linesOf(subtitle),
    description: `${title}: ${yLabel} over ${xLabel} of ${drawn.map(({ name }) => name).join(", ")}.`,
    table: tableOf([], []),
    height: figureSize.height,
    draw: (document) => [
      panel(document, {
        ...plotMargins,
        width: figureSize.width - legendWidth(entries),
        height: figureSize.height,
        x: logAxis(all.map(({ x }) => x), xLabel),
        y: { ...logAxis(all.map(({ y }) => y), yLabel), labelOffset: 60 },
        marks,
      }),
      legend(document, entries),
    ],
  });
}

/** Letters of a bar's name at most. */
const mostName = 52;

/** Bars from 0 %, one a line, the longest first; a mark at 100 %. */
export function barChart(
  bars: readonly { readonly name: string; readonly percent: number }[],
  { title, subtitle }: Pick<ChartText, "title" | "subtitle">,
): string {
  const sorted = bars.toSorted((a, b) => b.percent - a.percent).map(({ name, percent }, place) => ({
    place,
    percent,
    name: name.length > mostName ? `${name.slice(0, mostName - 1)}…` : name,
  }));
  const height = 20 * sorted.length + 16;
  return svgOf({
    name: "bars",
    title,
    lines: linesOf(subtitle),
    description: `${title}: ${
      sorted.map(({ name, percent }) => `${name} ${shortNumber(percent)} %`).join(", ")
    }.`,
    table: tableOf([], []),
    height,
    draw: (document) => [
      panel(document, {
        width: figureSize.width,
        height,
        marginLeft: 320,
        marginRight: 60,
        marginTop: 4,
        marginBottom: 12,
        x: { axis: null, domain: [0, Math.max(100, ...sorted.map(({ percent }) => percent))] },
        // By their places: two bars may have one name.
        y: { label: null, tickSize: 0, tickFormat: (place: number) => sorted[place].name },
        marks: [
          Plot.ruleX([100], { stroke: palette.grid }),
          Plot.barX(sorted, { x: "percent", y: "place", fill: seriesColour(0), insetTop: 2, insetBottom: 2 }),
          Plot.text(sorted, {
            x: "percent",
            y: "place",
            text: ({ percent }: { readonly percent: number }) => `${shortNumber(percent)} %`,
            dx: 6,
            textAnchor: "start",
            fill: palette.soft,
          }),
        ],
      }),
    ],
  });
}
