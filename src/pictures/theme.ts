/**
 * Colours of pictures, in light and dark.
 *
 * Signed numbers have two hues that stand out from both backgrounds; their opacity says the magnitude, so that zero is the
 * background itself.
 *
 * @module
 */
import type { SvgDocument, SvgElement } from "./svg.ts";

/** How a picture looks: `auto` is light or dark as its viewer is. */
export type Theme = "light" | "dark" | "auto";

/** The themes, by name. */
export const themes: readonly Theme[] = ["light", "dark", "auto"];

/** Colours of the light theme; `darkOf` has those that the dark theme has in their place. */
export const palette = {
  card: "#ffffff",
  text: "#1f2328",
  soft: "#59636e",
  grid: "#d0d7de",
  positive: "#e8590c",
  negative: "#1c7ed6",
  magnitude: "#8250df",
  series: [
    "#0969da",
    "#bc4c00",
    "#1a7f37",
    "#8250de",
    "#bf3989",
    "#4d4d4d",
    "#9a6700",
    "#1b7c83",
    "#cf222e",
    "#6e7781",
    "#6b7a00",
    "#d1578a",
  ],
} as const;

const darkOf: ReadonlyMap<string, string> = new Map([
  [palette.card, "#0d1117"],
  [palette.text, "#f0f6fc"],
  [palette.soft, "#9198a1"],
  [palette.grid, "#3d444d"],
  [palette.magnitude, "#ab7df8"],
  ["#0969da", "#4493f8"],
  ["#bc4c00", "#db6d28"],
  ["#1a7f37", "#3fb950"],
  ["#8250de", "#ab7df8"],
  ["#bf3989", "#db61a2"],
  ["#4d4d4d", "#b3b3b3"],
  ["#9a6700", "#d29922"],
  ["#1b7c83", "#39c5cf"],
  ["#cf222e", "#f85149"],
  ["#6e7781", "#8b949e"],
  ["#6b7a00", "#b3c400"],
  ["#d1578a", "#ff9bce"],
]);

/** The colour of a series by its number; after the last the first comes again. */
export const seriesColour = (index: number): string => palette.series[index % palette.series.length];

/** A number's hue, and its opacity for magnitudes up to `limit`. */
export function signedColour(
  value: number,
  limit: number,
): { readonly colour: string; readonly opacity: number } {
  return {
    colour: value < 0 ? palette.negative : palette.positive,
    opacity: limit > 0 ? Math.min(1, Math.abs(value) / limit) : 0,
  };
}

/** Attributes whose colours differ by theme. */
const coloured = ["fill", "stroke"];

function recolour(element: SvgElement): void {
  for (const name of coloured) {
    const dark = darkOf.get(element.getAttribute(name) ?? "");
    if (dark) element.setAttribute(name, dark);
  }
  for (const child of Array.from(element.children)) recolour(child);
}

/** Rules that give what an element and its children paint in light colours the dark ones, each rule once. */
function darkRules(element: SvgElement, rules = new Set<string>()): Set<string> {
  for (const name of coloured) {
    const light = element.getAttribute(name) ?? "", dark = darkOf.get(light);
    if (dark) rules.add(`.fourierft-card [${name}="${light}"]{${name}:${dark}}`);
  }
  for (const child of Array.from(element.children)) darkRules(child, rules);
  return rules;
}

/** Gives a card that is drawn in light colours its theme. */
export function applyTheme(card: SvgElement, { document, theme }: {
  readonly document: SvgDocument;
  readonly theme: Theme;
}): void {
  if (theme === "dark") recolour(card);
  if (theme !== "auto") return;
  const style = document.createElementNS("http://www.w3.org/2000/svg", "style");
  // Where the viewer is dark, and for colours that stand in the card alone: most cards have few.
  const rules = [...darkRules(card)].join("");
  style.textContent = `@media (prefers-color-scheme:dark){${rules}}`;
  card.prepend(style);
}
