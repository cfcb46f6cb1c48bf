/**
 * Adapters without a model: safetensors in, safetensors out.
 *
 * @module
 */
import type { Context } from "hono";
import type { LinearShape } from "../adapters/service.ts";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../safetensors/mod.ts";
import { bytesPerElement, type HostTensor } from "../tensor.ts";
import { readBytes } from "./body.ts";
import type { ServerDeps } from "./deps.ts";
import { checkingInput, InvalidRequestError } from "./errors.ts";

/** Bytes of a safetensors body, or of a result whose size a request names, at most, unless the deps say otherwise. */
const defaultMaxTensorBytes = 256 * 2 ** 20;

function shapeOf(text: string | undefined): LinearShape | undefined {
  if (text === undefined) return undefined;
  const [, out, inFeatures] = /^([1-9]\d{0,8})x([1-9]\d{0,8})$/.exec(text) ?? [];
  if (out === undefined) {
    throw new InvalidRequestError(
      `Cannot read "shape" of the request: it must be OUTxIN, e.g. 4096x1024, it is "${text}"`,
      { param: "shape", code: "invalid_value" },
    );
  }
  return { out: Number(out), in: Number(inFeatures) };
}

function moduleOf(c: Context): string {
  const module = c.req.query("module");
  if (module) return module;
  throw new InvalidRequestError(
    'Cannot choose a module: "module" of the request is missing; it is a path like model.layers.0.self_attn.q_proj',
    { param: "module", code: "invalid_value" },
  );
}

/** Refuses a result that a request's own shape would make too large. */
function checkSize(rows: number, columns: number, maxBytes: number): void {
  const bytes = rows * columns * bytesPerElement.float32;
  if (bytes <= maxBytes) return;
  throw new InvalidRequestError(
    `Cannot answer with a tensor of shape [${rows},${columns}]: it has ${bytes} bytes, at most ${maxBytes} are written`,
    { param: "shape", code: "invalid_value" },
  );
}

function inputs(bytes: Uint8Array): { readonly x: HostTensor; readonly y?: HostTensor } {
  const file = parseSafetensors(bytes);
  const names = [...file.tensors.keys()];
  const unknown = names.find((name) => name !== "x" && name !== "y");
  if (unknown !== undefined || !names.includes("x")) {
    throw new InvalidRequestError(
      `Cannot read the request's tensors: they must be "x" and, if wanted, "y", they are ${
        JSON.stringify(names)
      }`,
    );
  }
  const x = toTensor(file.read("x"));
  return names.includes("y") ? { x, y: toTensor(file.read("y")) } : { x };
}

function answer(name: string, result: HostTensor): Response {
  const bytes = writeSafetensors([fromTensor(name, result)]) as Uint8Array<ArrayBuffer>;
  return new Response(bytes, { headers: { "content-type": "application/octet-stream" } });
}

/** POST /v1/adapters/{id}/apply: tensor `y` of `x dW^T`, or of `y + x dW^T`. */
export async function applyAdapter(c: Context, id: string, deps: ServerDeps): Promise<Response> {
  const maxBytes = deps.maxTensorBytes ?? defaultMaxTensorBytes;
  const module = moduleOf(c);
  const shape = shapeOf(c.req.query("shape"));
  const bytes = await readBytes(c.req.raw, maxBytes);
  return await checkingInput(async () => {
    const input = inputs(bytes);
    if (shape) checkSize(input.x.shape[0] ?? 1, shape.out, maxBytes);
    return answer("y", await deps.adapters.apply(id, module, { ...input, shape }));
  });
}

/** GET /v1/adapters/{id}/delta: tensor `delta_weight` (out, in). */
export async function adapterDelta(c: Context, id: string, deps: ServerDeps): Promise<Response> {
  const module = moduleOf(c);
  const shape = shapeOf(c.req.query("shape"));
  if (shape) checkSize(shape.out, shape.in, deps.maxTensorBytes ?? defaultMaxTensorBytes);
  return await checkingInput(async () =>
    answer("delta_weight", await deps.adapters.delta(id, module, shape))
  );
}
