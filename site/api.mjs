/**
 * Writes a page for each symbol of each door, from the documentation in the sources: `node api.mjs DOORS OUT`.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { Application } from "typedoc";

const root = join(import.meta.dirname, "..");
/** Names of doors, and their sources from the repository's folder. */
const doors = JSON.parse(process.argv[2]);
const nameOf = Object.fromEntries(
  Object.entries(doors).map((
    [name, source],
  ) => [source.replace(/\.ts$/, ""), name]),
);

const app = await Application.bootstrapWithPlugins({
  plugin: ["typedoc-plugin-markdown"],
  entryPoints: Object.values(doors).map((source) => join(root, source)),
  tsconfig: join(import.meta.dirname, "tsconfig.json"),
  out: process.argv[3],
  readme: "none",
  logLevel: "Warn",
  // The types have a gate of their own, by another compiler.
  skipErrorChecking: true,
  validation: { notExported: false, invalidLink: true },
  disableSources: true,
  outputFileStrategy: "members",
  entryFileName: "index",
  hideBreadcrumbs: true,
  hidePageHeader: true,
  indexFormat: "table",
  parametersFormat: "table",
  useCodeBlocks: true,
});
const project = await app.convert();
if (!project) {
  throw new Error("Cannot document the doors: TypeDoc could not read them");
}
for (const door of project.children) door.name = nameOf[door.name];
await app.generateOutputs(project);
