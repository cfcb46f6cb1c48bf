/**
 * The operator's routes: adapters are loaded, unloaded and pinned, in our form and in vLLM's.
 *
 * @module
 */
import * as z from "zod";
import type { AdapterAdmin } from "../adapters/admin.ts";
import { forRequest, type RequestServing, type Serving } from "./deps.ts";
import { checkingInput } from "./errors.ts";
import type { ServerContext } from "./exchange.ts";
import { checkBody } from "./fields.ts";
import { adapterList, cardOfAdapter, mostNameLength } from "./models.ts";
import { askedPage, pageParameters } from "./pages.ts";
import type { Handler, Route, RouteDescription } from "./route.ts";
import { sendAdapter } from "./upload.ts";
import { type JsonWork, withJson } from "./work.ts";

const name = z.string().min(1).max(mostNameLength);

const loadBody = z.strictObject({ id: name, source: name.optional(), pinned: z.boolean().default(false) });
const pinBody = z.strictObject({ pinned: z.boolean().default(true) });
const vllmLoadBody = z.strictObject({
  lora_name: name,
  lora_path: name,
  load_inplace: z.boolean().default(false),
});
const vllmUnloadBody = z.strictObject({ lora_name: name });

/** Fields of vLLM's that change nothing here. */
const vllmFields = { lora_int_id: [], base_model_name: [] };

/** An operator's request with a body, checked by its schema. */
type Operation<Body> = (
  body: Body,
  options: { readonly c: ServerContext; readonly admin: AdapterAdmin; readonly own: RequestServing },
) => Promise<Response>;

const idOf = (c: ServerContext): string => c.req.param("id")!;

function operation<Shape extends z.ZodRawShape>(
  serving: Serving,
  { schema, unsupported = {}, work }: {
    readonly schema: z.ZodObject<Shape>;
    readonly unsupported?: Readonly<Record<string, readonly unknown[]>>;
    readonly work: Operation<z.output<z.ZodObject<Shape>>>;
  },
): Handler {
  const json: JsonWork = async (body, { c, own }) => {
    const checked = checkBody(body, { schema, unsupported });
    return await checkingInput(() => work(checked, { c, admin: serving.admin!, own }));
  };
  return withJson(serving, json);
}

const operator = (
  method: Route["method"],
  path: string,
  about: RouteDescription,
  handler: Handler,
): Route => ({
  method,
  path,
  for: "operator",
  about,
  handler,
});

const idParameter = { name: "id", in: "path", description: "an adapter's name" } as const;

function ownRoutes(serving: Serving): Route[] {
  return [
    operator(
      "GET",
      "/v1/adapters",
      { summary: "Cards of every adapter", parameters: pageParameters },
      async (c) => {
        return c.json(await adapterList(forRequest(c, serving), askedPage(c)));
      },
    ),
    operator(
      "POST",
      "/v1/adapters",
      { summary: "Load an adapter of the store", body: loadBody },
      operation(serving, {
        schema: loadBody,
        work: async ({ id, source, pinned }, { c, admin, own }) => {
          const card = await admin.load(id, source);
          return c.json(cardOfAdapter(pinned ? await admin.pin(id, true) : card, own));
        },
      }),
    ),
    operator(
      "GET",
      "/v1/adapters/:id",
      { summary: "An adapter's card", parameters: [idParameter] },
      async (c) => c.json(cardOfAdapter(await serving.adapters.card(idOf(c)), serving)),
    ),
    operator(
      "PUT",
      "/v1/adapters/:id",
      { summary: "Serve an adapter of these files", body: "adapter", parameters: [idParameter] },
      async (c) => {
        const own = forRequest(c, serving);
        return c.json(cardOfAdapter(await sendAdapter(c, idOf(c), own), own));
      },
    ),
    operator(
      "DELETE",
      "/v1/adapters/:id",
      { summary: "Unload an adapter; its files stay", parameters: [idParameter] },
      async (c) => {
        await serving.admin!.unload(idOf(c));
        return c.json({ id: idOf(c), object: "model", deleted: true });
      },
    ),
    operator(
      "POST",
      "/v1/adapters/:id/pin",
      { summary: "Keep an adapter on the device, or no longer", body: pinBody, parameters: [idParameter] },
      operation(serving, {
        schema: pinBody,
        work: async ({ pinned }, { c, admin, own }) =>
          c.json(cardOfAdapter(await admin.pin(idOf(c), pinned), own)),
      }),
    ),
  ];
}

/** vLLM's two routes; `lora_path` is a name in the store, never a path. */
function vllmRoutes(serving: Serving): Route[] {
  return [
    operator(
      "POST",
      "/v1/load_lora_adapter",
      { summary: "vLLM's load", body: vllmLoadBody, answer: "text" },
      operation(serving, {
        schema: vllmLoadBody,
        unsupported: vllmFields,
        work: async ({ lora_name, lora_path, load_inplace }, { c, admin }) => {
          await admin.load(lora_name, lora_path, { replace: load_inplace });
          return c.text(`Success: LoRA adapter '${lora_name}' added successfully.`);
        },
      }),
    ),
    operator(
      "POST",
      "/v1/unload_lora_adapter",
      { summary: "vLLM's unload", body: vllmUnloadBody, answer: "text" },
      operation(serving, {
        schema: vllmUnloadBody,
        unsupported: vllmFields,
        work: async ({ lora_name }, { c, admin }) => {
          await admin.unload(lora_name);
          return c.text(`Success: LoRA adapter '${lora_name}' removed successfully.`);
        },
      }),
    ),
  ];
}

/** The operator's routes; none where no token or nothing to operate on is set. */
export function operatorRoutes(serving: Serving): readonly Route[] {
  if (!serving.auth.hasOperator || !serving.admin) return [];
  return [...ownRoutes(serving), ...vllmRoutes(serving)];
}
