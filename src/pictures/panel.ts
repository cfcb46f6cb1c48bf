/**
 * Observable Plot's charts as groups of a card.
 *
 * @module
 */
import * as Plot from "@observablehq/plot";
import { element, type SvgDocument, type SvgElement } from "./svg.ts";
import { palette, signedColour } from "./theme.ts";
import { figureSize, shown } from "./figure.ts";

/** A chart's options, and where it stands. */
export interface PanelOptions extends Plot.PlotOptions {
  readonly at?: readonly [x: number, y: number];
}

const inherited = ["font-size", "text-anchor", "fill"];

/** A chart as a group. Plot's own style rules stay out: they would size a whole page's chart. */
export function panel(document: SvgDocument, { at = [0, 0], ...options }: PanelOptions): SvgElement {
  const chart = Plot.plot({
    ...options,
    document: document as unknown as Plot.PlotOptions["document"],
    style: { fontSize: "12px", color: palette.soft },
  }) as unknown as SvgElement;
  const group = element(document, "g", { transform: `translate(${at[0]},${at[1]})`, fill: palette.soft });
  for (const name of inherited) {
    const value = chart.getAttribute(name);
    if (value !== null && value !== "currentColor") group.setAttribute(name, value);
  }
  group.append(...Array.from(chart.children).filter(({ tagName }) => tagName.toLowerCase() !== "style"));
  settle(group);
  return group;
}

/** Writes out what Plot leaves to the style of a page: its one colour, and labels that repeat the texts. */
function settle(drawn: SvgElement): void {
  for (const name of ["fill", "stroke"]) {
    if (drawn.getAttribute(name) === "currentColor") drawn.setAttribute(name, palette.soft);
  }
  for (const child of Array.from(drawn.children)) settle(child);
}

/** Room around a chart's frame for its axes. */
export const margins = { left: 70, right: 12, top: 8, bottom: 44 } as const;

/** Margins as Plot has them. */
export const plotMargins = {
  marginLeft: margins.left,
  marginRight: margins.right,
  marginTop: margins.top,
  marginBottom: margins.bottom,
} as const;

/** An axis with its label in the middle. */
export const axis = {
  labelAnchor: "center",
  labelArrow: "none",
  labelOffset: 36,
  tickFormat: (value: number): string => shown(value),
} as const;

/** A number for each colour, with the label beside: -limit to limit, or 0 to limit for magnitudes. */
export interface ColourBar {
  readonly limit: number;
  readonly signed: boolean;
  readonly label: string;
}

/** Pixels that a colour bar takes on the right. */
export const barWidth = 86;

/** The colour bar of a picture whose frame is `height` pixels high, at its right. */
export function colourBar(
  document: SvgDocument,
  { limit, signed, label }: ColourBar,
  { x, height }: { readonly x: number; readonly height: number },
): SvgElement {
  const steps = 64, reach = limit || 1, least = signed ? -reach : 0;
  const step = (reach - least) / steps;
  const parts = Array.from({ length: steps }, (_, i) => least + i * step);
  const opacityOf = (low: number): number => signedColour(low + step / 2, reach).opacity;
  const colourOf = (low: number): string =>
    signed ? signedColour(low + step / 2, reach).colour : palette.magnitude;
  return panel(document, {
    at: [x, 0],
    width: barWidth,
    height: height + margins.top + margins.bottom,
    marginLeft: 4,
    marginRight: barWidth - 22,
    marginTop: margins.top,
    marginBottom: margins.bottom,
    x: { domain: [0, 1], axis: null },
    y: { ...axis, domain: [least, reach], ticks: 5, axis: "right", label, labelOffset: 54 },
    marks: [
      Plot.rect(parts, {
        x1: 0,
        x2: 1,
        y1: (low: number) => low,
        y2: (low: number) => low + step,
        fill: colourOf,
        fillOpacity: opacityOf,
        shapeRendering: "crispEdges",
      }),
      Plot.frame({ stroke: palette.grid }),
    ],
  });
}

/** The frame of a plane of this shape beside a colour bar: its proportions are the shape's, within 1 : 2 and 2 : 1. */
export function planeFrame({ rows, columns }: { readonly rows: number; readonly columns: number }) {
  const most = {
    width: figureSize.width - barWidth - margins.left - margins.right,
    height: figureSize.height - margins.top - margins.bottom,
  };
  const ratio = Math.min(2, Math.max(0.5, columns / rows));
  const width = Math.min(most.width, most.height * ratio);
  const height = Math.round(width / ratio);
  return { width: Math.round(width), height, outerHeight: height + margins.top + margins.bottom };
}
