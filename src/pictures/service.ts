/**
 * The numbers of pictures of adapters that a service has: a server's, or a page's.
 *
 * @module
 */
import type { AdapterService } from "../adapters/service.ts";
import { breathe } from "../breathe.ts";
import { NotFoundError } from "../errors.ts";
import type { ModuleNumber } from "./layers.ts";
import { type ModuleData, moduleData, type ModuleDataOptions } from "./module_data.ts";
import { cosineOf, ownProducts } from "./products.ts";

/** The part of an adapter service that pictures need. */
export type PictureService = Pick<AdapterService, "modules" | "module" | "delta">;

/** The service's own `module`. */
function moduleIn(service: PictureService): NonNullable<AdapterService["module"]> {
  if (service.module) return (id, path) => service.module!(id, path);
  throw new NotFoundError("Cannot tell an adapter's numbers: these adapters keep them inside");
}

/**
 * The numbers of the pictures of an adapter's module.
 *
 * @throws as the service's `module` and `delta`; NotFoundError where the service does not tell modules; the signal's reason.
 */
export async function adapterModuleData(
  service: PictureService,
  { id, path }: { readonly id: string; readonly path: string },
  options?: ModuleDataOptions,
): Promise<ModuleData> {
  const linear = await moduleIn(service)(id, path);
  options?.signal?.throwIfAborted();
  const { data } = await service.delta(id, path);
  options?.signal?.throwIfAborted();
  return await moduleData(linear, data instanceof Float32Array ? data : new Float32Array(data), options);
}

/** A norm of each module, or a cosine of each that two adapters share. */
export interface AdapterNumbers {
  readonly numbers: readonly ModuleNumber[];
  /** Modules whose dW would have to be built, or is all zeros where a cosine is asked for. */
  readonly leftOut: number;
}

/** How an adapter's numbers are made. */
export interface AdapterNumbersOptions {
  /** Another adapter: cosines in place of norms. */
  readonly beside?: string;
  readonly signal?: AbortSignal;
}

/**
 * The Frobenius norm of each module's dW, or the cosine between two adapters' dW of each module that both have. Other work
 * has its turn between modules.
 *
 * @throws as the service's `module`; NotFoundError where it tells no modules; the signal's reason.
 */
export async function adapterModuleNumbers(
  service: PictureService,
  id: string,
  { beside, signal }: AdapterNumbersOptions = {},
): Promise<AdapterNumbers> {
  const module = moduleIn(service), paths = await service.modules(id);
  const others = beside === undefined ? undefined : new Set(await service.modules(beside));
  const shared = others ? paths.filter((path) => others.has(path)) : paths;
  const numbers: ModuleNumber[] = [];
  for (const path of shared) {
    const one = await module(id, path);
    const products = await ownProducts(one, beside === undefined ? one : await module(beside, path), {
      signal,
    });
    const value = products &&
      (beside === undefined ? Math.sqrt(Math.max(0, products.aa)) : cosineOf(products));
    if (value !== undefined) numbers.push({ path, value });
    await breathe();
    signal?.throwIfAborted();
  }
  return { numbers, leftOut: shared.length - numbers.length };
}
