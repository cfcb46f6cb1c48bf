/**
 * Figures as one SVG: a card with its own background, the figures in a grid, each below its title.
 *
 * @module
 */
import { type Figure, figureSize } from "./figure.ts";
import { element, type SvgDocument, type SvgElement } from "./svg.ts";
import { applyTheme, palette, type Theme } from "./theme.ts";

/** How a card is laid out. */
export interface CardOptions {
  readonly document: SvgDocument;
  readonly theme: Theme;
  /** The heading: the adapter and the module. By default there is none. */
  readonly title?: string;
}

/** Space around a card's contents, and between figures. */
const space = 20;
/** The heights of a title, and of a line below it. */
const titleHeight = 22, lineHeight = 17;
const textHeight = (lines: number): number => titleHeight + lines * lineHeight + 4;
const fonts = "Inter, system-ui, sans-serif";

interface Box {
  readonly x: number;
  readonly y: number;
}

function drawFigure(document: SvgDocument, figure: Figure, { x, y, lines }: Box & { lines: number }) {
  const texts = [
    element(
      document,
      "text",
      { y: 14, fill: palette.text, "font-size": 16, "font-weight": 600 },
      figure.title,
    ),
    ...figure.lines.map((line, i) =>
      element(document, "text", { y: titleHeight + 11 + i * lineHeight, fill: palette.soft }, line)
    ),
  ];
  const place = { transform: `translate(0,${textHeight(lines)})` };
  const picture = element(document, "g", place, figure.draw(document));
  return element(document, "g", { transform: `translate(${x},${y})` }, [...texts, picture]);
}

/**
 * An SVG element (`svg`) with a title and a description, which a page may show as it is and whose `outerHTML` is a file's
 * text. Each row's figures stand side by side.
 *
 * @throws RangeError without a figure.
 */
export function cardOf(rows: readonly (readonly Figure[])[], options: CardOptions): SvgElement {
  const figures = rows.flat();
  if (figures.length === 0) throw new RangeError("Cannot draw a card: there is no figure");
  const { document, theme, title } = options;
  const head = title === undefined ? 0 : 34, across = Math.max(...rows.map((row) => row.length));
  const heights = rows.map((row) => {
    const lines = Math.max(...row.map((figure) => figure.lines.length));
    return { lines, height: textHeight(lines) + Math.max(...row.map((figure) => figure.height)) + space };
  });
  const width = space + across * (figureSize.width + space);
  const height = space + head + heights.reduce((sum, row) => sum + row.height, 0);
  const drawn = rows.flatMap((row, r) => {
    const y = space + head + heights.slice(0, r).reduce((sum, above) => sum + above.height, 0);
    return row.map((figure, i) =>
      drawFigure(document, figure, {
        x: space + i * (figureSize.width + space),
        y,
        lines: heights[r].lines,
      })
    );
  });
  const card = element(document, "svg", {
    xmlns: "http://www.w3.org/2000/svg",
    class: "fourierft-card",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "font-family": fonts,
    "font-size": 12,
  }, [
    element(document, "title", {}, title ?? figures[0].title),
    element(document, "desc", {}, figures.map(({ description }) => description).join(" ")),
    element(document, "rect", {
      x: 0.5,
      y: 0.5,
      width: width - 1,
      height: height - 1,
      rx: 6,
      fill: palette.card,
      stroke: palette.grid,
    }),
    ...(title === undefined ? [] : [element(document, "text", {
      x: space,
      y: space + 14,
      fill: palette.text,
      "font-size": 18,
      "font-weight": 600,
    }, title)]),
    ...drawn,
  ]);
  applyTheme(card, { document, theme });
  return card;
}
