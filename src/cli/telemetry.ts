/**
 * OpenTelemetry's spans and metrics of requests, for whatever SDK the process has.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { version } from "./version.ts";

/** A span and its measures for each request. Loaded only when it is wanted. */
export async function telemetry(): Promise<MiddlewareHandler> {
  const { httpInstrumentationMiddleware } = await import("@hono/otel");
  return httpInstrumentationMiddleware({ serviceName: "fourierft", serviceVersion: version });
}
