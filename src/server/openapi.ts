/**
 * The OpenAPI document, made of the routes and of the very schemas that check their bodies.
 *
 * @module
 */
import * as z from "zod";
import type { JsonObject } from "../json.ts";
import { adapterFiles } from "./upload.ts";
import type { Parameter, Route, RouteDescription } from "./route.ts";

/** Statuses that every route may answer, with what they mean. */
const refusals: Readonly<Record<string, string>> = {
  400: "The request breaks a rule",
  401: "There is no token, or none that is known",
  403: "The host, the origin or the caller is not allowed",
  404: "There is no such model, adapter, module or route",
  408: "The body came too slowly",
  413: "The body is too large",
  422: "The adapter's files are broken",
  429: "There is no room, or a quota is used up; retry-after says when to ask again",
  431: "Address and headers are too large",
  503: "The server takes no work now; retry-after says when to ask again",
  504: "The deadline has passed",
};

const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: { type: ["string", "null"] },
        code: { type: ["string", "null"] },
      },
    },
  },
} as const;

const contentTypes = {
  json: "application/json",
  events: "text/event-stream",
  safetensors: "application/octet-stream",
  text: "text/plain",
} as const;

const binary = { type: "string", contentMediaType: "application/octet-stream" } as const;

/** The JSON schema of a checked body: what may be sent, before defaults come in. */
export function jsonSchemaOf(schema: z.ZodType): JsonObject {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io: "input",
    // Integers past 2^53 are read to the last digit.
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === "bigint") jsonSchema.type = "integer";
    },
  });
  return made;
}

function parameterOf({ name, in: place, description, pattern, required }: Parameter): JsonObject {
  return {
    name,
    in: place,
    description,
    required: place === "path" || (required ?? false),
    schema: { type: "string", ...(pattern === undefined ? {} : { pattern }) },
  };
}

/** An adapter's files as fields of a form. */
const adapterForm = {
  type: "object",
  required: adapterFiles,
  properties: Object.fromEntries(adapterFiles.map((name) => [name, binary])),
} as const;

function contentOf(body: NonNullable<RouteDescription["body"]>): JsonObject {
  if (body === "safetensors") return { [contentTypes.safetensors]: { schema: binary } };
  if (body === "adapter") return { "multipart/form-data": { schema: adapterForm } };
  return { [contentTypes.json]: { schema: jsonSchemaOf(body) } };
}

function bodyOf({ body }: RouteDescription): JsonObject {
  if (body === undefined) return {};
  return { requestBody: { required: true, content: contentOf(body) } };
}

function responsesOf({ answer = "json", statuses = [200], streams }: RouteDescription): JsonObject {
  const schema = answer === "json" ? { type: "object" } : answer === "text" ? { type: "string" } : binary;
  const content = {
    [contentTypes[answer]]: { schema },
    ...(streams ? { [contentTypes.events]: { schema: { type: "string" } } } : {}),
  };
  const answered = statuses.map((status) => [status, { description: "The answer", content }]);
  const refused = Object.entries(refusals).map(([status, description]) => [status, {
    description,
    content: { [contentTypes.json]: { schema: { $ref: "#/components/schemas/Error" } } },
  }]);
  return Object.fromEntries([...refused, ...answered]);
}

/** A path as OpenAPI writes it. */
export const openApiPath = (pattern: string): string => pattern.replace(/:(\w+)(?:\{[^}]*\})?/g, "{$1}");

function operationOf({ about, for: allowed }: Route): JsonObject {
  const { summary, parameters = [] } = about;
  return {
    summary,
    ...(allowed === "operator" ? { tags: ["operator"] } : {}),
    ...(parameters.length > 0 ? { parameters: parameters.map(parameterOf) } : {}),
    ...bodyOf(about),
    responses: responsesOf(about),
  };
}

/**
 * The OpenAPI 3.1 document of some routes.
 *
 * @param secured Whether callers need a token.
 */
export function openApiOf(routes: readonly Route[], { secured }: { readonly secured: boolean }): JsonObject {
  const paths: Record<string, Record<string, JsonObject>> = {};
  for (const route of routes) {
    const operations = paths[openApiPath(route.path)] ??= {};
    operations[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "fourierft",
      version: "1",
      description: "In JSON bodies null is as good as an absent field.",
    },
    ...(secured ? { security: [{ bearer: [] }] } : {}),
    paths,
    components: {
      schemas: { Error: errorSchema },
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
  };
}
