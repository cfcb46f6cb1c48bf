/**
 * The modules that `fourierft inspect --out` draws: one of them, and a number for each.
 *
 * @module
 */
import type { AdaptedLinear } from "../adapters/apply.ts";
import type { AdapterModule, LinearShape, Method } from "../adapters/method.ts";
import { readyModule } from "../adapters/ready.ts";
import { cpuDevice } from "../device/cpu.ts";
import type { Reduction } from "../pictures/cells.ts";
import type { Figure } from "../pictures/figure.ts";
import type { ModuleNumber } from "../pictures/layers.ts";
import { cosineOf, deltaNorm, deltaProducts, haveProducts } from "../pictures/products.ts";
import { baseOfModule } from "./base.ts";
import { loadFigures } from "./draw.ts";
import { log } from "./open.ts";
import { shapeInModel } from "./shape.ts";

/** The device that builds dW. */
export const device = cpuDevice();

/** An adapter to draw. */
export interface NamedAdapter {
  readonly name: string;
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/** The adapters and the module that are drawn. */
export interface Drawn {
  /** One, or two beside each other. */
  readonly adapters: readonly NamedAdapter[];
  readonly path: string;
  readonly shape: LinearShape;
  /** The shapes of a model's linears, where a model is given. */
  readonly shapes?: ReadonlyMap<string, LinearShape>;
  readonly model?: string;
  /** The one picture that is asked for. */
  readonly picture?: string;
  readonly reduction: Reduction;
}

/** A module of an adapter, with its base where the method needs one. */
export async function linearOf(
  { method, modules }: NamedAdapter,
  { path, shape, model }: { readonly path: string; readonly shape: LinearShape; readonly model?: string },
): Promise<AdaptedLinear> {
  const module = modules.get(path)!;
  const base = await baseOfModule(device, { method, module, path }, model);
  const ready = base ? await readyModule(device, { path, module, method, base }) : module;
  return { path, method, module: ready, shape, base };
}

/** The shapes of the modules that all adapters have; undefined where nothing says one of them. */
function knownShapes(
  { adapters, shapes, path: drawn, shape }: Drawn,
): Map<string, LinearShape> | undefined {
  const known = new Map<string, LinearShape>();
  for (const [path, module] of adapters[0].modules) {
    if (adapters.some(({ modules }) => !modules.has(path))) continue;
    const own = adapters.map(({ modules }) => modules.get(path)!.shape).find((one) => one !== undefined);
    const found = shapes
      ? shapeInModel(shapes, { path, module })
      : own ?? (path === drawn ? shape : undefined);
    if (!found) return undefined;
    known.set(path, found);
  }
  return known;
}

/** A norm of each module, or a cosine of each that two adapters share. */
async function numbersOf(
  { adapters, model }: Drawn,
  known: ReadonlyMap<string, LinearShape>,
): Promise<ModuleNumber[]> {
  const numbers: ModuleNumber[] = [];
  for (const [path, shape] of known) {
    const [a, b] = await Promise.all(adapters.map((one) => linearOf(one, { path, shape, model })));
    const value = b ? cosineOf(await deltaProducts(device, a, b)) : await deltaNorm(device, a);
    if (value !== undefined) numbers.push({ path, value });
  }
  return numbers;
}

/** Elements of all dW that are built for a picture nobody asked for by its name. */
const mostElements = 2 ** 26;

/** Whether numbers of all modules take long: dW must be built for each, and there is much of them. */
function takesLong({ adapters }: Drawn, known: ReadonlyMap<string, LinearShape>): boolean {
  const built = [...known].filter(([path, shape]) => {
    const [a, b] = adapters.map(({ method, modules }) => ({ method, module: modules.get(path)!, shape }));
    return !haveProducts(a, b);
  });
  return built.reduce((sum, [, shape]) => sum + shape.out * shape.in, 0) > mostElements;
}

/**
 * The figure of all modules' norms, or of two adapters' cosines. Undefined where another picture is asked for, and, with a
 * line, where nothing says the modules' shapes or the numbers take long.
 */
export async function allModules(drawing: Drawn): Promise<Figure | undefined> {
  const { adapters, picture } = drawing, isPair = adapters.length === 2;
  const name = isPair ? "cosines" : "norms";
  if (picture !== undefined && picture !== name) return undefined;
  const known = knownShapes(drawing);
  if (!known) {
    log(`${name} of all modules are left out: --model DIR would tell the shapes of their linears`);
    return undefined;
  }
  if (picture === undefined && takesLong(drawing, known)) {
    log(`${name} of all modules are left out: each dW must be built; --picture ${name} does so`);
    return undefined;
  }
  const numbers = await numbersOf(drawing, known);
  if (numbers.length === 0) return undefined;
  const { cosinesFigure, normsFigure } = await loadFigures();
  return isPair ? cosinesFigure(numbers, [adapters[0].name, adapters[1].name]) : normsFigure(numbers);
}
