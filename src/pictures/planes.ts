/**
 * Figures of planes: a module's coefficients where they stand, and dW as a heat map.
 *
 * @module
 */
import * as Plot from "@observablehq/plot";
import { encode } from "fast-png";
import type { LinearShape } from "../adapters/method.ts";
import type { DeltaCells } from "./cells.ts";
import { counted, type Figure, shown, tableOf } from "./figure.ts";
import { axis, type ColourBar, colourBar, margins, panel, planeFrame, plotMargins } from "./panel.ts";
import { greatestOf, type SpectrumPoints } from "./spectrum.ts";
import type { SvgDocument, SvgElement } from "./svg.ts";
import { palette, signedColour } from "./theme.ts";

/** The texts and the colour range of a plane. */
export interface PlaneOptions {
  readonly title: string;
  /** The number of the darkest colour; by default the greatest magnitude. Pictures side by side share a range. */
  readonly limit?: number;
}

/** The greatest magnitude of some numbers. */
export function greatestMagnitude(values: Float32Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

function drawPlane(
  document: SvgDocument,
  { rows, columns, bar, ...options }:
    & { readonly rows: number; readonly columns: number; readonly bar: ColourBar }
    & { readonly marksIn: (frame: { readonly width: number; readonly height: number }) => Plot.Markish[] }
    & Pick<Plot.PlotOptions, "x" | "y" | "r">,
): readonly SvgElement[] {
  const frame = planeFrame({ rows, columns });
  const { marksIn, x, y, r } = options;
  const width = frame.width + margins.left + margins.right;
  return [
    panel(document, {
      width,
      height: frame.outerHeight,
      ...plotMargins,
      x: { ...axis, ...x },
      y: { ...axis, labelOffset: 60, ...y },
      r,
      marks: [...marksIn(frame), Plot.frame({ stroke: palette.grid })],
    }),
    colourBar(document, bar, { x: width, height: frame.height }),
  ];
}

/** A mirror image's place, or undefined where it is the place itself. */
function mirrorOf({ u, v, uRange, vRange }: SpectrumPoints, l: number): [number, number] | undefined {
  // The lowest frequency of an even length is its own mirror image.
  const turned = (value: number, [least]: readonly [number, number], [, most]: readonly [number, number]) =>
    -value > most ? least : -value;
  const row = turned(u[l], uRange, uRange), column = turned(v[l], vRange, vRange);
  return row === u[l] && column === v[l] ? undefined : [row, column];
}

/** A coefficient's dot, or the ring of its mirror image. */
interface Dot {
  readonly u: number;
  readonly v: number;
  readonly c: number;
}

function spectrumLines(points: SpectrumPoints, drawn: number): string[] {
  const { total, wavelet, mirroredPairs } = points;
  const some = drawn < total
    ? `the ${counted(drawn)} greatest of ${counted(total)} coefficients`
    : `${counted(total)} coefficients`;
  if (wavelet !== undefined) {
    return [`${some}, ${wavelet === "none" ? "elements of dW (no wavelet)" : `wavelet ${wavelet}`}`];
  }
  const pairs = mirroredPairs > 0 ? `; ${counted(mirroredPairs)} pairs are mirror images and add up` : "";
  return [
    some + pairs,
    "dot: a frequency of the file; ring: its mirror image (−u, −v), equal as dW is real",
  ];
}

/** Coefficients where they stand: the dot's colour and area say the coefficient. */
export function spectrumFigure(points: SpectrumPoints, { title, limit }: PlaneOptions): Figure {
  const { u, v, c, uRange, vRange, wavelet } = points;
  const most = limit ?? greatestMagnitude(c);
  const order = greatestOf(c, c.length);
  // The greatest come last: they lie on top.
  const dots = Array.from(order, (l): Dot => ({ u: u[l], v: v[l], c: c[l] })).reverse();
  const rings = wavelet !== undefined ? [] : Array.from(order, (l): Dot | undefined => {
    const mirror = mirrorOf(points, l);
    return mirror && { u: mirror[0], v: mirror[1], c: c[l] };
  }).filter((ring) => ring !== undefined).reverse();
  const rows = uRange[1] - uRange[0] + 1, columns = vRange[1] - vRange[0] + 1;
  const unit = (name: string): string => wavelet === undefined ? `cycles over ${name}` : `${name}, from 0`;
  const opacity = ({ c }: Dot): number => 0.15 + 0.85 * signedColour(c, most).opacity;
  const colour = ({ c }: Dot): string => signedColour(c, most).colour;
  return {
    name: "spectrum",
    title,
    lines: spectrumLines(points, dots.length),
    description:
      `${title}: a plane of ${rows} by ${columns} places with ${points.total} coefficients, the greatest ${
        shown(most)
      }.`,
    table: tableOf(["u", "v", "coefficient"], Array.from(order.subarray(0, 51), (l) => [u[l], v[l], c[l]])),
    height: planeFrame({ rows, columns }).outerHeight,
    draw: (document) =>
      drawPlane(document, {
        rows,
        columns,
        bar: { limit: most, signed: true, label: "coefficient c" },
        x: { label: `v, ${unit(`${columns} columns`)}`, domain: [vRange[0] - 0.5, vRange[1] + 0.5] },
        y: { label: `u, ${unit(`${rows} rows`)}`, domain: [uRange[1] + 0.5, uRange[0] - 0.5] },
        r: { type: "identity" },
        marksIn: ({ width, height }) => {
          const area = 0.5 * width * height / Math.max(1, dots.length + rings.length);
          const largest = Math.min(10, Math.max(2.5, 1.6 * Math.sqrt(area / Math.PI)));
          const radius = ({ c }: Dot): number => Math.max(1, largest * Math.sqrt(Math.abs(c) / (most || 1)));
          const place = { x: "v", y: "u", r: radius } as const;
          return [
            Plot.ruleX([0], { stroke: palette.grid }),
            Plot.ruleY([0], { stroke: palette.grid }),
            Plot.dot(rings, { ...place, stroke: colour, strokeOpacity: opacity, strokeWidth: 0.8 }),
            Plot.dot(dots, {
              ...place,
              fill: colour,
              fillOpacity: opacity,
              stroke: colour,
              strokeWidth: 0.4,
            }),
          ];
        },
      }),
  };
}

/** The most opaque level of a hue in an image of cells. */
const opaque = 127;

/** The colours of an image, two for each level: the positive hue, then the negative. fast-png wants opaque ones last. */
function paletteOf(hues: readonly [positive: string, negative: string]): number[][] {
  return Array.from({ length: 2 * (opaque + 1) }, (_, i) => {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hues[i % 2].slice(at, at + 2), 16));
    return [red, green, blue, Math.round(255 * Math.floor(i / 2) / opaque)];
  });
}

/** A PNG of a grid, a pixel a cell: the hue says the sign, the opacity the magnitude. */
function cellsPng({ rows, columns, values, reduction }: DeltaCells, limit: number): Uint8Array {
  const data = new Uint8Array(rows * columns), factor = limit > 0 ? opaque / limit : 0;
  for (let i = 0; i < data.length; i++) {
    data[i] = 2 * Math.min(opaque, Math.round(Math.abs(values[i]) * factor)) + Number(values[i] < 0);
  }
  const hues = reduction === "rms"
    ? [palette.magnitude, palette.magnitude] as const
    : [palette.positive, palette.negative] as const;
  return encode(
    { width: columns, height: rows, data, channels: 1, depth: 8, palette: paletteOf(hues) },
    { zlib: { level: 1 } },
  );
}

function dataUrl(png: Uint8Array): string {
  let text = "";
  for (let at = 0; at < png.length; at += 8192) text += String.fromCharCode(...png.subarray(at, at + 8192));
  return `data:image/png;base64,${btoa(text)}`;
}

/**
 * The number of a heat map's darkest colour: three times the root mean square of its cells, else a few great cells would
 * leave the others pale.
 */
export function deltaLimit({ values }: DeltaCells): number {
  const most = greatestMagnitude(values);
  const squares = values.reduce((sum, value) => sum + value * value, 0);
  return Math.min(most, 3 * Math.sqrt(squares / values.length));
}

function cellsLines(
  { rows, columns, block, reduction, values }: DeltaCells,
  shape: LinearShape,
  limit: number,
) {
  const size = `${shape.out} × ${shape.in}`;
  const how = reduction === "mean" ? "mean" : "root mean square";
  const cells = reduction === undefined
    ? `${size}, every element`
    : `${size} in ${rows} × ${columns} cells, each the ${how} of ${block} × ${block} elements`;
  const most = greatestMagnitude(values);
  return most > limit
    ? [
      cells,
      `colours end at ${reduction === "rms" ? "" : "±"}${shown(limit)}; the greatest magnitude is ${
        shown(most)
      }`,
    ]
    : [cells, `the greatest magnitude is ${shown(most)}`];
}

/** dW as a heat map. */
export function deltaFigure(
  cells: DeltaCells,
  shape: LinearShape,
  { title, limit }: PlaneOptions,
): Figure {
  const { rows, columns, block, reduction, values } = cells;
  const most = limit ?? deltaLimit(cells);
  const order = greatestOf(values, 51);
  const x = { label: `column of dW: input feature`, domain: [0, shape.in] };
  const y = { label: `row of dW: output feature`, domain: [shape.out, 0] };
  const label = reduction === undefined
    ? "dW"
    : reduction === "mean"
    ? "mean of dW"
    : "root mean square of dW";
  return {
    name: "delta",
    title,
    lines: cellsLines(cells, shape, most),
    description: `${title}: dW (${shape.out}, ${shape.in}) as a heat map of ${rows} by ${columns} cells, ` +
      `the greatest magnitude ${shown(greatestMagnitude(values))}.`,
    table: tableOf(
      ["first row", "first column", reduction === undefined ? "dW" : `${reduction} of dW`],
      Array.from(
        order,
        (i) => [block * Math.floor(i / columns), block * (i % columns), values[i]],
      ),
    ),
    height: planeFrame({ rows, columns }).outerHeight,
    draw: (document) =>
      drawPlane(document, {
        rows,
        columns,
        bar: { limit: most, signed: reduction !== "rms", label },
        x,
        y,
        marksIn: ({ width, height }) => [
          // The last cells may reach past the matrix: the picture is as much larger.
          Plot.image([0], {
            frameAnchor: "top-left",
            dx: width * columns * block / shape.in / 2,
            dy: height * rows * block / shape.out / 2,
            width: width * columns * block / shape.in,
            height: height * rows * block / shape.out,
            src: () => dataUrl(cellsPng(cells, most)),
            preserveAspectRatio: "none",
            imageRendering: "pixelated",
          }),
        ],
      }),
  };
}
