/**
 * An adapter's files in a form: `multipart/form-data`, as pages and `curl -F` send them.
 *
 * @module
 */
import type { AdapterCard } from "../adapters/service.ts";
import { readBytes } from "./body.ts";
import { beginWork, type RequestServing } from "./deps.ts";
import { quoted } from "./echo.ts";
import { checkingInput, InvalidRequestError } from "./errors.ts";
import type { ServerContext } from "./exchange.ts";

/** The files of a PEFT folder that are read; the form's fields have their names. */
export const adapterFiles = ["adapter_config.json", "adapter_model.safetensors"] as const;

const refused = (why: string): InvalidRequestError =>
  new InvalidRequestError(`Cannot read the request's files: ${why}`, { code: "invalid_value" });

async function filesOf(bytes: Uint8Array<ArrayBuffer>, type: string): Promise<Map<string, Uint8Array>> {
  let form: FormData;
  try {
    form = await new Response(bytes, { headers: { "content-type": type } }).formData();
  } catch {
    throw refused("the body is no multipart/form-data that ends where it should");
  }
  const files = new Map<string, Uint8Array>();
  for (const [name, value] of form) {
    if (!adapterFiles.some((known) => known === name)) {
      throw refused(`the form's fields are ${adapterFiles.join(" and ")}; there is ${quoted(name)}`);
    }
    if (files.has(name)) throw refused(`${quoted(name)} is there twice`);
    files.set(
      name,
      typeof value === "string" ? new TextEncoder().encode(value) : new Uint8Array(await value.arrayBuffer()),
    );
  }
  const missing = adapterFiles.find((name) => !files.has(name));
  if (missing !== undefined) throw refused(`${quoted(missing)} is missing`);
  return files;
}

/** PUT /v1/adapters/{id}: serves the adapter of a form's files. */
export async function sendAdapter(
  c: ServerContext,
  id: string,
  serving: RequestServing,
): Promise<AdapterCard> {
  const type = c.req.header("content-type") ?? "";
  if (!/^multipart\/form-data\s*;/i.test(type)) {
    throw refused(`the content type must be multipart/form-data, it is ${quoted(type)}`);
  }
  const { signal, end } = await beginWork(serving, c.req.raw.signal);
  const hold = serving.budget.hold();
  try {
    const { limits, limits: { maxTensorBytes: maxBytes } } = serving;
    const bytes = await readBytes(c.req.raw, { maxBytes, hold, signal, limits });
    // The form's copy, and the files'.
    hold.take(2 * bytes.length);
    const files = await filesOf(bytes, type);
    signal.throwIfAborted();
    return await checkingInput(() => serving.admin!.send(id, files));
  } finally {
    hold.free();
    end();
  }
}
