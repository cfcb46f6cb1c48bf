/**
 * Pictures of adapters as SVG, for pages and programs that have a document: coefficients on their plane, dW, distributions,
 * singular values, norms by layer, adapters beside each other. They need Observable Plot, a peer dependency:
 * `npm install @observablehq/plot`.
 *
 * The numbers come from `moduleData` and `ownProducts` of `fourierft`, which need no document and may run in a worker.
 *
 * @example
 * ```ts
 * import { deltaOf, fourierft, fourierModule, moduleData, openDevice } from "fourierft";
 * import { cardOf, moduleFigures, type SvgDocument } from "fourierft/pictures";
 *
 * async function show(document: SvgDocument) {
 *   const module = fourierModule({ coefficients: Float32Array.of(1, -2), seed: 777, scaling: 150 });
 *   const linear = { method: fourierft, module, shape: { out: 64, in: 64 } };
 *   const delta = await deltaOf(await openDevice(), linear);
 *   const rows = moduleFigures([{ data: await moduleData(linear, delta.data as Float32Array) }]);
 *   return cardOf(rows, { document, theme: "auto", title: "two coefficients" });
 * }
 * ```
 *
 * @module
 */
export type { DeltaCells, Reduction } from "./cells.ts";
export type { Histogram } from "./histogram.ts";
export type { LinearShape } from "../adapters/method.ts";
export type { ModuleNumber } from "./layers.ts";
export type { ModuleData } from "./module_data.ts";
export type { SpectrumPoints } from "./spectrum.ts";
export { cardOf, type CardOptions } from "./card.ts";
export { type Figure, type FigureTable } from "./figure.ts";
export { cosinesFigure, moduleFigures, type NamedData, normsFigure } from "./figures.ts";
export type { SvgDocument, SvgElement } from "./svg.ts";
export type { Theme } from "./theme.ts";
