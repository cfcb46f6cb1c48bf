/**
 * Every route of the server.
 *
 * @module
 */
import { adapterDelta, applyAdapter } from "./adapters.ts";
import { chatShape } from "./chat.ts";
import { completionShape } from "./completions.ts";
import { forRequest, isReady, type Serving } from "./deps.ts";
import { classify, embeddings, type EncodingRoute, pooling, score } from "./encoding.ts";
import { prometheusType } from "./metrics.ts";
import { modelCard, modelCards } from "./models.ts";
import { chatJob, completionJob } from "./openai.ts";
import { operatorRoutes } from "./operator.ts";
import { page, pageParameters } from "./pages.ts";
import type { Route } from "./route.ts";
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
        const hasBase = serving.model !== undefined || serving.encoder !== undefined;
        return c.json(page(c, await modelCards(forRequest(c, serving)), Number(hasBase)));
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
      about: { summary: "Continue prompts" },
      handler: generating(serving, { jobOf: completionJob, shape: completionShape }),
    },
    {
      method: "POST",
      path: "/v1/chat/completions",
      for: "callers",
      about: { summary: "Answer a chat" },
      handler: generating(serving, { jobOf: chatJob, shape: chatShape }),
    },
  ];
}

function encodingRoutes(serving: Serving): Route[] {
  const post = (path: string, route: EncodingRoute, summary: string): Route => ({
    method: "POST",
    path,
    for: "callers",
    about: { summary },
    handler: encoding(serving, route),
  });
  return [
    post("/v1/embeddings", embeddings, "Embed texts"),
    ...["/classify", "/v1/classify"].map((path) => post(path, classify, "Label texts")),
    ...["/score", "/v1/score"].map((path) => post(path, score, "Score pairs of texts")),
    post("/pooling", pooling, "Vectors of texts"),
  ];
}

function adapterRoutes(serving: Serving): Route[] {
  return [
    {
      method: "POST",
      path: "/v1/adapters/:id/apply",
      for: "callers",
      about: { summary: "y = x dW^T, or y + x dW^T", body: "safetensors", answer: "safetensors" },
      handler: (c) => applyAdapter(c, c.req.param("id")!, forRequest(c, serving)),
    },
    {
      method: "GET",
      path: "/v1/adapters/:id/delta",
      for: "callers",
      about: { summary: "dW of a module", answer: "safetensors" },
      handler: (c) => adapterDelta(c, c.req.param("id")!, forRequest(c, serving)),
    },
  ];
}

/** Every route, in the order of their look-up. */
export function routesOf(serving: Serving): readonly Route[] {
  return [
    ...stateRoutes(serving),
    ...modelRoutes(serving),
    ...textRoutes(serving),
    ...encodingRoutes(serving),
    ...adapterRoutes(serving),
    ...operatorRoutes(serving),
  ];
}
