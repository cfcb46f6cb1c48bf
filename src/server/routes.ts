/**
 * Every route of the server.
 *
 * @module
 */
import type { JsonObject } from "../json.ts";
import { adapterDelta, applyAdapter } from "./adapters.ts";
import { chatShape } from "./chat.ts";
import { completionShape } from "./completions.ts";
import { forRequest, isReady, type RequestServing, type Serving } from "./deps.ts";
import {
  classify,
  classifyBody,
  embeddings,
  embeddingsBody,
  type EncodingRoute,
  pooling,
  poolingBody,
  score,
  scoreBody,
} from "./encoding.ts";
import type { ServerContext } from "./exchange.ts";
import { prometheusType } from "./metrics.ts";
import { modelCard, modelList } from "./models.ts";
import { chatJob, completionJob } from "./openai.ts";
import { openApiOf } from "./openapi.ts";
import { operatorRoutes } from "./operator.ts";
import { askedPage, pageParameters } from "./pages.ts";
import { adapterModules, moduleNumbers, modulePicture } from "./pictures.ts";
import type { Parameter, Route, RouteDescription } from "./route.ts";
import { chatBody, completionBody } from "./schema.ts";
import { encoding, generating } from "./work.ts";

/** Routes of the server's own state. */
function stateRoutes(serving: Serving): Route[] {
  const { metrics } = serving;
  return [
    {
      method: "GET",
      path: "/health",
      for: "callers",
      about: { summary: "Whether the process answers" },
      handler: (c) => c.json({ status: "ok" }),
    },
    {
      method: "GET",
      path: "/ready",
      for: "callers",
      about: { summary: "Whether new work is taken", statuses: [200, 503] },
      handler: (c) =>
        isReady(serving) ? c.json({ status: "ready" }) : c.json({ status: "not ready" }, 503, {
          "retry-after": "5",
        }),
    },
    {
      method: "GET",
      path: "/metrics",
      for: "callers",
      about: { summary: "Metrics in Prometheus' text format", answer: "text" },
      handler: (c) => c.body(metrics.text(), 200, { "content-type": prometheusType }),
    },
  ];
}

function modelRoutes(serving: Serving): Route[] {
  return [
    {
      method: "GET",
      path: "/v1/models",
      for: "callers",
      about: { summary: "Cards of the base model and of every adapter", parameters: pageParameters },
      handler: async (c) => {
        return c.json(await modelList(forRequest(c, serving), askedPage(c)));
      },
    },
    {
      method: "GET",
      // A base's id may have a slash in it.
      path: "/v1/models/:id{.+}",
      for: "callers",
      about: {
        summary: "A card",
        parameters: [{ name: "id", in: "path", description: "a model's or an adapter's name" }],
      },
      handler: async (c) => c.json(await modelCard(c.req.param("id")!, forRequest(c, serving))),
    },
  ];
}

function textRoutes(serving: Serving): Route[] {
  return [
    {
      method: "POST",
      path: "/v1/completions",
      for: "callers",
      about: { summary: "Continue prompts", body: completionBody, streams: true },
      handler: generating(serving, { jobOf: completionJob, shape: completionShape }),
    },
    {
      method: "POST",
      path: "/v1/chat/completions",
      for: "callers",
      about: { summary: "Answer a chat", body: chatBody, streams: true },
      handler: generating(serving, { jobOf: chatJob, shape: chatShape }),
    },
  ];
}

function encodingRoutes(serving: Serving): Route[] {
  const post = (path: string, route: EncodingRoute, about: RouteDescription): Route => ({
    method: "POST",
    path,
    for: "callers",
    about,
    handler: encoding(serving, route),
  });
  const classifying = { summary: "Label texts", body: classifyBody };
  const scoring = { summary: "Score pairs of texts", body: scoreBody };
  return [
    post("/v1/embeddings", embeddings, { summary: "Embed texts", body: embeddingsBody }),
    ...["/classify", "/v1/classify"].map((path) => post(path, classify, classifying)),
    ...["/score", "/v1/score"].map((path) => post(path, score, scoring)),
    post("/pooling", pooling, { summary: "Vectors of texts", body: poolingBody }),
  ];
}

type AdapterHandler = (c: ServerContext, id: string, serving: RequestServing) => Promise<Response>;

const moduleParameters: readonly Parameter[] = [
  { name: "id", in: "path", description: "an adapter's name" },
  { name: "module", in: "query", description: "a module's path", required: true },
  {
    name: "shape",
    in: "query",
    description: "OUTxIN, where no base model says it",
    pattern: "^[1-9][0-9]{0,8}x[1-9][0-9]{0,8}$",
  },
];

function adapterRoutes(serving: Serving): Route[] {
  return [
    {
      method: "POST",
      path: "/v1/adapters/:id/apply",
      for: "callers",
      about: {
        summary: "y = x dW^T, or y + x dW^T",
        body: "safetensors",
        parameters: moduleParameters,
        answer: "safetensors",
      },
      handler: (c) => applyAdapter(c, c.req.param("id")!, forRequest(c, serving)),
    },
    {
      method: "GET",
      path: "/v1/adapters/:id/delta",
      for: "callers",
      about: { summary: "dW of a module", parameters: moduleParameters, answer: "safetensors" },
      handler: (c) => adapterDelta(c, c.req.param("id")!, forRequest(c, serving)),
    },
  ];
}

/** Routes of an adapter's numbers, for pictures. */
function pictureRoutes(serving: Serving): Route[] {
  const [id, module] = moduleParameters;
  const get = (path: string, about: RouteDescription, handler: AdapterHandler): Route => ({
    method: "GET",
    path: `/v1/adapters/:id/${path}`,
    for: "callers",
    about: { ...about, statuses: [200, 404] },
    handler: (c) => handler(c, c.req.param("id")!, forRequest(c, serving)),
  });
  const beside: Parameter = {
    name: "beside",
    in: "query",
    description: "another adapter: cosines between the two in place of norms",
  };
  return [
    get("modules", { summary: "Paths of the modules", parameters: [id] }, adapterModules),
    get("picture", { summary: "Numbers of a module's pictures", parameters: [id, module] }, modulePicture),
    get("norms", { summary: "Norms of every module's dW", parameters: [id, beside] }, moduleNumbers),
  ];
}

/** Every route, in the order of their look-up. */
export function routesOf(serving: Serving): readonly Route[] {
  let document: JsonObject | undefined;
  const routes: Route[] = [
    ...stateRoutes(serving),
    ...modelRoutes(serving),
    ...textRoutes(serving),
    ...encodingRoutes(serving),
    ...adapterRoutes(serving),
    ...pictureRoutes(serving),
    ...operatorRoutes(serving),
    {
      method: "GET",
      path: "/openapi.json",
      for: "callers",
      about: { summary: "This document" },
      handler: (c) => c.json(document ??= openApiOf(routes, { secured: serving.auth.isClosed })),
    },
  ];
  return routes;
}
