import assert from "node:assert/strict";
import { test } from "node:test";
import { INVALID_SPAN_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { telemetry } from "../src/cli/telemetry.ts";
import { createApp } from "../src/server/mod.ts";
import { fakeAdapters } from "./server_fakes.ts";

test("telemetry() reports a span for each request to the process's SDK, named by its route", async () => {
  const spans: { name: string; status?: unknown; ended: boolean }[] = [];
  const start = (name: string): Span => {
    const told: typeof spans[number] = { name, ended: false };
    spans.push(told);
    const span: Span = {
      spanContext: () => INVALID_SPAN_CONTEXT,
      setAttribute: (key, value) => {
        if (key === "http.response.status_code") told.status = value;
        return span;
      },
      setAttributes: () => span,
      addEvent: () => span,
      addLink: () => span,
      addLinks: () => span,
      setStatus: () => span,
      updateName: (name) => {
        told.name = name;
        return span;
      },
      end: () => void (told.ended = true),
      isRecording: () => true,
      recordException: () => {},
    };
    return span;
  };
  trace.setGlobalTracerProvider({
    getTracer: () => ({
      startSpan: start,
      // deno-lint-ignore no-explicit-any -- the last argument is the function, however many there are
      startActiveSpan: (name: string, ...rest: any[]) => rest.at(-1)(start(name)),
    }),
  });
  try {
    const app = createApp({ adapters: fakeAdapters(), middleware: [await telemetry()] });
    assert.equal((await app.request("/v1/models/kjv")).status, 200);
    assert.equal((await app.request("/v1/models/none")).status, 404);
    assert.deepEqual(spans.map(({ status, ended }) => [status, ended]), [[200, true], [404, true]]);
    assert.match(spans[0].name, /^GET \/v1\/models\/:id/);
  } finally {
    trace.disable();
  }
});
