/**
 * Adapters without a model: safetensors in, safetensors out.
 *
 * @module
 */
import type { LinearShape } from "../adapters/service.ts";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../safetensors/mod.ts";
import { bytesPerElement, type HostTensor } from "../tensor.ts";
import { readBytes } from "./body.ts";
import type { Hold } from "./budget.ts";
import { beginWork, type RequestServing } from "./deps.ts";
import { quoted } from "./echo.ts";
import { checkingInput, InvalidRequestError } from "./errors.ts";
import type { ServerContext } from "./exchange.ts";
import { outflow } from "./outflow.ts";

/** No module's path is so long, and none is said back. */
const mostModuleLength = 512;

/** Bytes of an answer that are handed over at once. */
const sliceBytes = 2 ** 18;

function shapeOf(text: string | undefined): LinearShape | undefined {
  if (text === undefined) return undefined;
  const [, out, inFeatures] = /^([1-9]\d{0,8})x([1-9]\d{0,8})$/.exec(text) ?? [];
  if (out === undefined) {
    throw new InvalidRequestError(
      `Cannot read "shape" of the request: it must be OUTxIN, e.g. 4096x1024, it is ${quoted(text)}`,
      { param: "shape", code: "invalid_value" },
    );
  }
  return { out: Number(out), in: Number(inFeatures) };
}

/** The module that a request names. */
export function moduleOf(c: ServerContext): string {
  const module = c.req.query("module");
  if (!module) {
    throw new InvalidRequestError(
      'Cannot choose a module: "module" of the request is missing; it is a path like model.layers.0.self_attn.q_proj',
      { param: "module", code: "invalid_value" },
    );
  }
  if (module.length > mostModuleLength) {
    throw new InvalidRequestError(
      `Cannot choose module ${quoted(module)}: a path has at most ${mostModuleLength} characters`,
      { param: "module", code: "invalid_value" },
    );
  }
  return module;
}

/** Takes the memory of a result and of its file, and refuses one that is too large. */
export function holdResult(rows: number, columns: number, { hold, maxBytes }: Task): void {
  const bytes = rows * columns * bytesPerElement.float32;
  if (bytes > maxBytes) {
    throw new InvalidRequestError(
      `Cannot answer with a tensor of shape [${rows},${columns}]: it has ${bytes} bytes, at most ${maxBytes} are written`,
      { param: "shape", code: "invalid_value" },
    );
  }
  hold.take(2 * bytes);
}

function inputs(bytes: Uint8Array): { readonly x: HostTensor; readonly y?: HostTensor } {
  const file = parseSafetensors(bytes);
  const names = [...file.tensors.keys()];
  const unknown = names.find((name) => name !== "x" && name !== "y");
  if (unknown !== undefined || !names.includes("x")) {
    throw new InvalidRequestError(
      `Cannot read the request's tensors: they must be "x" and, if wanted, "y"` +
        (unknown === undefined ? "; there is no x" : `; there is ${quoted(unknown)}`),
    );
  }
  const x = toTensor(file.read("x"));
  return names.includes("y") ? { x, y: toTensor(file.read("y")) } : { x };
}

/** A result's file as a body whose memory is counted until its reader has it. */
function answer(name: string, result: HostTensor, { readerMs, onEnd }: Task): Response {
  const bytes = writeSafetensors([fromTensor(name, result)]);
  let at = 0;
  const next = (): Promise<Uint8Array | undefined> => {
    if (at >= bytes.length) return Promise.resolve(undefined);
    // Copied: a runtime that keeps a slice must not keep the whole.
    const slice = bytes.slice(at, at += sliceBytes);
    return Promise.resolve(slice);
  };
  return new Response(outflow({ next, readerMs, onLeave: () => {}, onEnd }), {
    headers: { "content-type": "application/octet-stream", "content-length": String(bytes.length) },
  });
}

/** A request in work. */
export interface Task {
  readonly hold: Hold;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly readerMs: number;
  /** Gives everything back that the request holds. */
  readonly onEnd: () => void;
}

/** Counts a request in, and out again when its answer was read or it failed. */
export async function working(
  c: ServerContext,
  serving: RequestServing,
  work: (task: Task) => Promise<Response>,
): Promise<Response> {
  const { signal, end } = await beginWork(serving, c.req.raw.signal);
  const hold = serving.budget.hold();
  const onEnd = (): void => {
    hold.free();
    end();
  };
  const { maxTensorBytes: maxBytes, readerSeconds } = serving.limits;
  try {
    return await work({ hold, signal, maxBytes, readerMs: 1000 * readerSeconds, onEnd });
  } catch (error) {
    onEnd();
    throw error;
  }
}

/** POST /v1/adapters/{id}/apply: tensor `y` of `x dW^T`, or of `y + x dW^T`. */
export async function applyAdapter(c: ServerContext, id: string, serving: RequestServing): Promise<Response> {
  const module = moduleOf(c);
  const shape = shapeOf(c.req.query("shape"));
  return await working(c, serving, async (task) => {
    const { maxBytes, hold, signal } = task;
    const bytes = await readBytes(c.req.raw, { maxBytes, hold, signal, limits: serving.limits });
    return await checkingInput(async () => {
      const input = inputs(bytes);
      return await serving.turns.run(async () => {
        const used = shape ?? serving.adapters.linear?.(module);
        if (used) holdResult(input.x.shape[0] ?? 1, used.out, task);
        return answer("y", await serving.adapters.apply(id, module, { ...input, shape }), task);
      }, signal);
    });
  });
}

/** GET /v1/adapters/{id}/delta: tensor `delta_weight` (out, in). */
export async function adapterDelta(c: ServerContext, id: string, serving: RequestServing): Promise<Response> {
  const module = moduleOf(c);
  const shape = shapeOf(c.req.query("shape"));
  return await working(c, serving, async (task) =>
    await checkingInput(() =>
      serving.turns.run(async () => {
        const used = shape ?? serving.adapters.linear?.(module);
        if (used) holdResult(used.out, used.in, task);
        return answer("delta_weight", await serving.adapters.delta(id, module, shape), task);
      }, task.signal)
    ));
}
