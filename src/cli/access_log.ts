/**
 * A line for each request whose answer is over.
 *
 * @module
 */
import type { RequestRecord } from "../server/mod.ts";
import { log } from "./log.ts";

const milliseconds = (seconds: number): string => `${(1000 * seconds).toFixed(1)} ms`;

/** A request for people. */
function textOf(record: RequestRecord): string {
  const { requestId, method, route = "(no route)", status, seconds, firstTokenSeconds } = record;
  const { tenant, model, promptTokens, newTokens, error } = record;
  return [
    `${method} ${route} ${status} ${milliseconds(seconds)}`,
    ...(firstTokenSeconds === undefined ? [] : [`first token ${milliseconds(firstTokenSeconds)}`]),
    ...(promptTokens + newTokens > 0 ? [`tokens ${promptTokens}+${newTokens}`] : []),
    ...(model === undefined ? [] : [`model ${JSON.stringify(model)}`]),
    ...(tenant === undefined ? [] : [`tenant ${tenant}`]),
    ...(error === undefined ? [] : [`error ${error}`]),
    `request ${requestId}`,
  ].join(", ");
}

/** The fields of a request's JSON line; nothing of its body is among them. */
function fieldsOf(record: RequestRecord): Record<string, unknown> {
  return {
    request_id: record.requestId,
    method: record.method,
    route: record.route,
    status: record.status,
    duration_seconds: record.seconds,
    first_token_seconds: record.firstTokenSeconds,
    tenant: record.tenant,
    model: record.model,
    prompt_tokens: record.promptTokens,
    completion_tokens: record.newTokens,
    error: record.error,
  };
}

/** Writes a request's line. */
export function logRequest(record: RequestRecord): void {
  log(textOf(record), fieldsOf(record));
}
