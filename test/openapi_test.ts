import assert from "node:assert/strict";
import { test } from "node:test";
import { openApiPath } from "../src/server/openapi.ts";
import { completionBody } from "../src/server/schema.ts";
import { createApp } from "../src/server/mod.ts";
import { fakeAdapters } from "./server_fakes.ts";

// deno-lint-ignore no-explicit-any -- a document that each test looks into
type Json = any;

test("GET /openapi.json has every route of the server, and the schemas that check bodies", async () => {
  const app = createApp({ adapters: fakeAdapters() });
  const document: Json = await (await app.request("/openapi.json")).json();
  assert.equal(document.openapi, "3.1.0");
  assert.equal(document.security, undefined);
  const told = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations as Json).map((method) => `${method.toUpperCase()} ${path}`)
  );
  const own = app.routes.filter(({ method, path }) => method !== "ALL" && path !== "/*")
    .map(({ method, path }) => `${method} ${openApiPath(path)}`);
  assert.deepEqual(told.sort(), own.sort());
  assert.ok(own.includes("GET /v1/models/{id}"), own.join());
  const { schema } = document.paths["/v1/completions"].post.requestBody.content["application/json"];
  assert.deepEqual(Object.keys(schema.properties), Object.keys(completionBody.shape));
  assert.deepEqual(schema.required, ["model"]);
  assert.deepEqual([schema.properties.n.minimum, schema.properties.n.maximum], [1, 128]);
  assert.deepEqual([schema.properties.seed.type].flat().includes("integer"), true);
  assert.equal(schema.properties.adapters.items.properties.id.type, "string");
  const operations: Json[] = Object.values(document.paths).flatMap((path) => Object.values(path as Json));
  for (const { responses } of operations) {
    for (const status of ["401", "404", "429", "503"]) {
      assert.equal(
        responses[status].content["application/json"].schema.$ref?.slice(0, 21) ?? "#/components/schemas/",
        "#/components/schemas/",
      );
    }
  }
  assert.ok(document.components.schemas.Error);
});

test("GET /openapi.json says that a token is needed where there are tenants", async () => {
  const token = "token-of-a-1234567";
  const app = createApp({ adapters: fakeAdapters(), auth: { tenants: [{ id: "a", tokens: [token] }] } });
  assert.equal((await app.request("/openapi.json")).status, 401);
  const headers = { authorization: `Bearer ${token}` };
  const document: Json = await (await app.request("/openapi.json", { headers })).json();
  assert.deepEqual(document.security, [{ bearer: [] }]);
});
