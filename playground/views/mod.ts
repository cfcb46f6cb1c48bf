/**
 * Every view of the page, in the order of its tabs: a new view is a file and a line here.
 *
 * @module
 */
import { Generate } from "./generate.tsx";
import { Spectrum } from "./spectrum.tsx";
import { Train } from "./train.tsx";
import type { View } from "./view.ts";

/** See the module's documentation. */
export const views: readonly View[] = [
  { id: "generate", title: "Generate", Component: Generate },
  { id: "spectrum", title: "Spectrum", Component: Spectrum },
  { id: "train", title: "Train", Component: Train },
];
