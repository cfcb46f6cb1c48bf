/**
 * The numbers of pictures of adapters: a module's coefficients, its dW in few cells, distributions, norms and cosines.
 *
 * @module
 */
import type { ModuleData } from "../pictures/module_data.ts";
import { adapterModuleData, adapterModuleNumbers } from "../pictures/service.ts";
import { holdResult, moduleOf, type Task, working } from "./adapters.ts";
import type { RequestServing } from "./deps.ts";
import { checkingInput } from "./errors.ts";
import type { ServerContext } from "./exchange.ts";

/** Cells of dW at most: an answer has at most about a megabyte, whatever the linear's size. */
const mostCells = 2 ** 16;

/** As many digits as a float32 is sure of. */
const rounded = (value: number): number => Number(value.toPrecision(6));

/** A picture's numbers as JSON. */
function jsonOf(module: string, { shape, points, cells, distribution, singularValues }: ModuleData) {
  const { edges, counts, ...moments } = distribution;
  return {
    object: "module_numbers",
    module,
    shape: [shape.out, shape.in],
    spectrum: points
      ? {
        total: points.total,
        wavelet: points.wavelet ?? null,
        u: [...points.u],
        v: [...points.v],
        c: Array.from(points.c, rounded),
        u_range: points.uRange,
        v_range: points.vRange,
        mirrored_pairs: points.mirroredPairs,
      }
      : null,
    delta: {
      rows: cells.rows,
      columns: cells.columns,
      block: cells.block,
      reduction: cells.reduction ?? null,
      values: Array.from(cells.values, rounded),
    },
    distribution: { edges: [...edges], counts: [...counts], ...moments },
    singular_values: singularValues ? Array.from(singularValues, rounded) : null,
  };
}

/** Does a request's work in its turn, and answers in JSON. */
async function inTurn(
  c: ServerContext,
  serving: RequestServing,
  work: (task: Task) => Promise<object>,
): Promise<Response> {
  return await working(c, serving, async (task) => {
    const made = await checkingInput(() => serving.turns.run(() => work(task), task.signal));
    task.onEnd();
    return c.json(made);
  });
}

/** GET /v1/adapters/{id}/modules: the paths of the modules that an adapter adapts. */
export async function adapterModules(
  c: ServerContext,
  id: string,
  serving: RequestServing,
): Promise<Response> {
  const paths = await serving.adapters.modules(id);
  return c.json({ object: "list", data: paths.map((path) => ({ id: path, object: "module" })) });
}

/** GET /v1/adapters/{id}/picture: the numbers of a module's pictures. */
export async function modulePicture(
  c: ServerContext,
  id: string,
  serving: RequestServing,
): Promise<Response> {
  const path = moduleOf(c);
  return await inTurn(c, serving, async (task) => {
    const shape = serving.adapters.linear?.(path);
    if (shape) holdResult(shape.out, shape.in, task);
    const options = { mostCells, signal: task.signal };
    return jsonOf(path, await adapterModuleData(serving.adapters, { id, path }, options));
  });
}

/** GET /v1/adapters/{id}/norms: a norm of each module, or cosines beside another adapter. */
export async function moduleNumbers(
  c: ServerContext,
  id: string,
  serving: RequestServing,
): Promise<Response> {
  const beside = c.req.query("beside");
  return await inTurn(c, serving, async ({ signal }) => {
    const { numbers, leftOut } = await adapterModuleNumbers(serving.adapters, id, { beside, signal });
    return {
      object: "list",
      data: numbers.map(({ path, value }) => ({ id: path, value })),
      left_out: leftOut,
    };
  });
}
