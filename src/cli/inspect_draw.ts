/**
 * The pictures of `fourierft inspect --out`: which modules are drawn, and the files.
 *
 * @module
 */
import { basename, join } from "node:path";
import { deltaOf } from "../adapters/apply.ts";
import type { AdapterModule } from "../adapters/method.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { NotFoundError } from "../errors.ts";
import { reductions } from "../pictures/cells.ts";
import type { Figure } from "../pictures/figure.ts";
import type { NamedData } from "../pictures/figures.ts";
import { moduleData } from "../pictures/module_data.ts";
import { type Theme, themes } from "../pictures/theme.ts";
import { makeFolder, writeNamedFile } from "../runtime/output.ts";
import { UsageError } from "./arguments.ts";
import { allModules, device, type Drawn, linearOf, type NamedAdapter } from "./inspect_modules.ts";
import { type Card, cardSvg, loadFigures, pngOf } from "./draw.ts";
import { openNamedFolder } from "./folder.ts";
import { log } from "./open.ts";
import { modelShapes, readOptions, shapeArgs, shapeOfModule } from "./shape.ts";
import { parseCount } from "./values.ts";

const pictures = ["spectrum", "delta", "distribution", "singular-values", "norms", "cosines"];

/** Arguments that say what is drawn, and how. */
export const drawArgs = {
  out: {
    type: "string",
    description: "Draw: FILE.svg or FILE.png, else a folder for each picture as both",
    valueHint: "FILE_OR_DIR",
  },
  module: { type: "string", description: "Module to draw; default: the first", valueHint: "MODULE" },
  ...shapeArgs,
  beside: { type: "string", description: "Another adapter to draw beside it", valueHint: "ADAPTER_DIR" },
  picture: {
    type: "string",
    description: "The one picture that is drawn; default: all",
    valueHint: pictures.join("|"),
  },
  reduce: {
    type: "string",
    description: "How blocks of a large dW become cells; default: rms",
    valueHint: "rms|mean",
  },
  theme: {
    type: "string",
    description: "Default: auto, which is an SVG as its viewer is, and a light PNG",
    valueHint: "light|dark|auto",
  },
  width: { type: "string", description: "Pixels of a PNG's width; default: 1280", valueHint: "N" },
} as const;

/** Their values. */
export type DrawArgs = { readonly [name in keyof typeof drawArgs]?: string };

/** What is drawn: all that the arguments say has been checked. */
export interface Drawing extends Drawn {
  readonly out: string;
  readonly theme: Theme;
  readonly width: number;
}

/** Pictures of all modules together. */
const ofAllModules = ["norms", "cosines"];

/** The value of an argument that must be one of some names. */
function named<T extends string>(
  flag: string,
  given: string | undefined,
  names: readonly T[],
): T | undefined {
  const found = names.find((name) => name === given);
  if (given === undefined || found !== undefined) return found;
  throw new UsageError(`Cannot read --${flag} "${given}": it must be one of ${names.join(", ")}`);
}

function moduleOf({ name, modules }: NamedAdapter, path: string): AdapterModule {
  const module = modules.get(path);
  if (!module) throw new NotFoundError(`Cannot draw module "${path}": adapter "${name}" has no such module`);
  return module;
}

/** The module that is drawn unless one is named: the first that all adapters have. */
function firstOf([first, ...others]: readonly NamedAdapter[]): string {
  if (first.modules.size === 0) {
    throw new NotFoundError("Cannot draw a module: the adapter adapts no linear");
  }
  const path = [...first.modules.keys()].find((path) => others.every(({ modules }) => modules.has(path)));
  if (path !== undefined) return path;
  throw new NotFoundError(`Cannot draw adapters beside each other: they adapt no linear that both have`);
}

/**
 * Checks what is asked to be drawn; undefined without `--out`.
 *
 * @throws UsageError for flags that need others; as `shapeOfModule` where nothing says the shape.
 */
export async function drawingOf(adapter: NamedAdapter, args: DrawArgs): Promise<Drawing | undefined> {
  if (args.out === undefined) {
    const flags = ["module", "shape", "beside", "picture", "reduce", "theme", "width"] as const;
    const unused = flags.find((name) => args[name] !== undefined);
    if (unused) throw new UsageError(`Cannot use --${unused} without --out: it says what is drawn`);
    return undefined;
  }
  const picture = named("picture", args.picture, pictures);
  if (picture === "cosines" && args.beside === undefined) {
    throw new UsageError("Cannot draw cosines without --beside ADAPTER_DIR: they are between two adapters");
  }
  const options = {
    reduction: named("reduce", args.reduce, reductions) ?? "rms",
    theme: named("theme", args.theme, themes) ?? "auto",
    width: args.width === undefined ? 1280 : parseCount("width", args.width, { least: 64, most: 8192 }),
  } as const;
  const adapters = [adapter];
  if (args.beside !== undefined) {
    const other = await loadAdapter(await openNamedFolder(args.beside), await readOptions(args.model));
    adapters.push({ ...other, name: nameOf(args.beside) });
  }
  const path = args.module ?? firstOf(adapters);
  const [shape] = await Promise.all(
    adapters.map((one) => shapeOfModule({ path, module: moduleOf(one, path) }, args)),
  );
  const shapes = args.model === undefined ? undefined : await modelShapes(args.model);
  return { out: args.out, path, adapters, shape, shapes, model: args.model, picture, ...options };
}

/** What an adapter is called in pictures. */
export const nameOf = (folder: string): string => basename(folder) || folder;

/** Rows of figures: a module's, two a row, or those of two adapters side by side; then all modules'. */
async function figuresOf(drawing: Drawing): Promise<readonly (readonly Figure[])[]> {
  const { adapters, path, shape, model, reduction } = drawing;
  const { moduleFigures } = await loadFigures();
  const data: NamedData[] = [];
  for (const one of adapters) {
    const linear = await linearOf(one, { path, shape, model });
    const name = adapters.length > 1 ? one.name : undefined;
    // The device may reuse its memory in a later call: the numbers are of a copy.
    const delta = Float32Array.from((await deltaOf(device, linear)).data);
    data.push({ name, data: await moduleData(linear, delta, { reduction }) });
  }
  const all = await allModules(drawing);
  const rows = moduleFigures(data);
  if (adapters.length > 1) return all ? [...rows, [all]] : rows;
  const figures = all ? [...rows.flat(), all] : rows.flat();
  return Array.from({ length: Math.ceil(figures.length / 2) }, (_, i) => figures.slice(2 * i, 2 * i + 2));
}

/** The rows of one picture. */
function rowsOf(
  rows: readonly (readonly Figure[])[],
  name: string,
  { adapters, path }: Drawing,
): readonly (readonly Figure[])[] {
  const found = rows.map((row) => row.filter((figure) => figure.name === name)).filter((row) =>
    row.length > 0
  );
  if (found.length > 0) return found;
  const methods = [...new Set(adapters.map(({ method }) => method.name))].join(" and ");
  throw new NotFoundError(
    name === "norms" && adapters.length === 2
      ? "Cannot draw norms of two adapters: their picture is cosines"
      : name === "norms" || name === "cosines"
      ? `Cannot draw ${name}: nothing tells the shapes of all modules; give --model DIR`
      : `Cannot draw the picture "${name}" of module "${path}": ${methods} has none`,
  );
}

/** A drawing's figures, by rows: all, or those of the picture that is asked for. */
export async function drawnRows(drawing: Drawing): Promise<Card["rows"]> {
  const rows = await figuresOf(drawing);
  return drawing.picture === undefined ? rows : rowsOf(rows, drawing.picture, drawing);
}

/** Writes a drawing's rows to its file, or each kind of picture to files of its folder. */
export async function writeDrawing(drawing: Drawing, rows: Card["rows"]): Promise<void> {
  const { out, path, adapters, theme, width } = drawing;
  const names = adapters.map(({ name }) => name).join(" beside ");
  const write = async (file: string, shown: Card["rows"]): Promise<void> => {
    const isOfModule = shown.flat().some(({ name }) => !ofAllModules.includes(name));
    const title = isOfModule ? `${names}: ${path}` : names;
    const isPng = /\.png$/i.test(file);
    const svg = await cardSvg({ rows: shown, title, theme: isPng && theme === "auto" ? "light" : theme });
    await writeNamedFile(file, isPng ? await pngOf(svg, width) : new TextEncoder().encode(svg));
    log(`${file}: ${title}${isPng ? `, ${width} pixels wide` : ""}`);
  };
  if (/\.(svg|png)$/i.test(out)) return await write(out, rows);
  await makeFolder(out);
  for (const name of new Set(rows.flat().map((figure) => figure.name))) {
    for (const kind of ["svg", "png"]) {
      await write(join(out, `${name}.${kind}`), rowsOf(rows, name, drawing));
    }
  }
}
