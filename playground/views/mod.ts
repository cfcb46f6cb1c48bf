/**
 * Every view of the page, in the order of its tabs: a new view is a file and a line here.
 *
 * @module
 */
import { Generate } from "./generate.tsx";
import type { View } from "./view.ts";

/** See the module's documentation. The first is part of the page; others are loaded when they are shown. */
export const views: readonly View[] = [
  { id: "generate", title: "Generate", load: () => Promise.resolve(Generate) },
  { id: "spectrum", title: "Spectrum", load: async () => (await import("./spectrum.tsx")).Spectrum },
  { id: "train", title: "Train", load: async () => (await import("./train.tsx")).Train },
];
