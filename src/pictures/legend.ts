/**
 * The names of a chart's lines, each after a sample of its line.
 *
 * @module
 */
import { figureSize } from "./figure.ts";
import { margins } from "./panel.ts";
import { element, type SvgDocument, type SvgElement } from "./svg.ts";
import { palette, seriesColour } from "./theme.ts";

/** A line's name; its number says the colour. */
export interface LegendEntry {
  readonly name: string;
  /** How the line is drawn: marked points, or a line alone, whole or dashed. */
  readonly style?: "points" | "line" | "dashes";
}

/** Pixels of a line of the legend, and of a letter at most. */
const lineHeight = 18, letterWidth = 6.3;

/** Pixels that the names take on the right of a figure. */
export const legendWidth = (entries: readonly LegendEntry[]): number =>
  Math.min(figureSize.width / 2, 40 + letterWidth * Math.max(...entries.map(({ name }) => name.length)));

/** The names at the right of a figure, in the order of their colours. */
export function legend(document: SvgDocument, entries: readonly LegendEntry[]): SvgElement {
  const rows = entries.flatMap(({ name, style = "points" }, i) => {
    const y = margins.top + 8 + lineHeight * i, colour = seriesColour(i);
    const dashes = style === "dashes" ? dashed : undefined;
    return [
      element(document, "path", {
        d: `M0,${y}h20`,
        stroke: colour,
        "stroke-width": style === "points" ? 2 : 1.3,
        "stroke-dasharray": dashes,
      }),
      ...(style === "points" ? [element(document, "circle", { cx: 10, cy: y, r: 3.5, fill: colour })] : []),
      element(document, "text", { x: 26, y: y + 4, fill: palette.text, "font-size": 11.5 }, name),
    ];
  });
  const left = figureSize.width - legendWidth(entries) + 12;
  return element(document, "g", { transform: `translate(${left},0)` }, rows);
}

/** The dashes of a dashed line. */
export const dashed = "5 4";
