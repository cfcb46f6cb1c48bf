/**
 * Cards of figures as SVG and PNG files. The packages that draw are loaded when a picture is asked for.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { ConfigError } from "../errors.ts";
import type { CardOptions } from "../pictures/card.ts";
import type { Figure } from "../pictures/figure.ts";
import type { SvgDocument } from "../pictures/svg.ts";

/** Figures of a card, by rows, and the card's texts and theme. */
export interface Card extends Omit<CardOptions, "document"> {
  readonly rows: readonly (readonly Figure[])[];
}

/** What a package of pictures gives. */
async function loaded<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new ConfigError(
      "Cannot draw: pictures need packages that cannot be imported; npm install @observablehq/plot linkedom " +
        "@resvg/resvg-wasm @fontsource/inter",
      { cause },
    );
  }
}

/** The modules that make figures. */
export const loadFigures = () => loaded(() => import("../pictures/figures.ts"));

/** A card's SVG. */
export async function cardSvg({ rows, ...options }: Card): Promise<string> {
  const { parseHTML } = await loaded(() => import("linkedom"));
  const { cardOf } = await import("../pictures/card.ts");
  const { document } = parseHTML("<html></html>") as unknown as { readonly document: SvgDocument };
  return cardOf(rows, { ...options, document }).outerHTML;
}

/** Fonts of a PNG: a machine's own may lack, and differ. */
const fontFiles = ["400", "600"].map((weight) =>
  `@fontsource/inter/files/inter-latin-${weight}-normal.woff2`
);

interface Renderer {
  readonly Resvg: typeof import("@resvg/resvg-wasm").Resvg;
  readonly fonts: readonly Uint8Array[];
}

let renderer: Promise<Renderer> | undefined;

async function openRenderer(): Promise<Renderer> {
  const { resolve } = createRequire(import.meta.url);
  const { initWasm, Resvg } = await import("@resvg/resvg-wasm");
  await initWasm(await readFile(resolve("@resvg/resvg-wasm/index_bg.wasm")));
  const fonts = await Promise.all(
    fontFiles.map(async (name) => new Uint8Array(await readFile(resolve(name)))),
  );
  return { Resvg, fonts };
}

/** The PNG of an SVG, as many pixels wide as asked. */
export async function pngOf(svg: string, width: number): Promise<Uint8Array> {
  const { Resvg, fonts } = await loaded(() => renderer ??= openRenderer());
  const drawing = new Resvg(svg, {
    fitTo: { mode: "width", value: width },
    font: { fontBuffers: [...fonts], defaultFontFamily: "Inter" },
  });
  try {
    const image = drawing.render();
    const png = image.asPng();
    image.free();
    return png;
  } finally {
    drawing.free();
  }
}
