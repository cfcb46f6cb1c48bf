/**
 * The one table from error classes to HTTP answers, as OpenAI's error objects.
 *
 * @module
 */
import type { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { DeviceError } from "../device/device.ts";
import {
  CombinationError,
  ConfigError,
  GrammarError,
  NameTakenError,
  NotFoundError,
  OverloadedError,
  StoreError,
} from "../errors.ts";
import { SafetensorsError } from "../safetensors/mod.ts";
import { shorten } from "./echo.ts";

/** A request that breaks a rule: the message names the field and the rule. */
export class InvalidRequestError extends Error {
  override readonly name = "InvalidRequestError";
  /** The field at fault. */
  readonly param: string | null;
  /** A word for programs, e.g. `context_length_exceeded`; null is told as `invalid_value`. */
  readonly code: string | null;

  constructor(
    message: string,
    { param = null, code = null }: { readonly param?: string | null; readonly code?: string | null } = {},
  ) {
    super(message);
    this.param = param;
    this.code = code;
  }
}

/** A `model` that is neither the base nor an adapter. */
export class ModelNotFoundError extends Error {
  override readonly name = "ModelNotFoundError";
  /** The field at fault, where `model` is not. */
  readonly param: string | null;

  constructor(message: string, { param = null }: { readonly param?: string | null } = {}) {
    super(message);
    this.param = param;
  }
}

/** A body longer than is accepted. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
}

/** No work is taken now: loading, or shutting down. */
export class NotReadyError extends Error {
  override readonly name = "NotReadyError";
}

/** A request without a token that is known here. */
export class UnauthorizedError extends Error {
  override readonly name = "UnauthorizedError";
}

/** A tenant has used up its quota. */
export class QuotaError extends Error {
  override readonly name = "QuotaError";
  /** Seconds after which it may ask again. */
  readonly retryAfterSeconds: number;

  constructor(message: string, { waitMs }: { readonly waitMs: number }) {
    super(message);
    this.retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  }
}

/** A request that was not answered by its deadline. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/** A request whose work did not begin in time. */
export class QueueTimeoutError extends Error {
  override readonly name = "QueueTimeoutError";
}

/** An address or headers longer than is accepted. */
export class HeadersTooLargeError extends Error {
  override readonly name = "HeadersTooLargeError";
}

/** A body that does not arrive in time. */
export class TooSlowError extends Error {
  override readonly name = "TooSlowError";
}

/** A `Host` or `Origin` that is not served. */
export class ForbiddenError extends Error {
  override readonly name = "ForbiddenError";
}

/** The statuses that errors are answered with: those of the table, and what a middleware's HTTPException says. */
export type ErrorStatus = ContentfulStatusCode;

/** OpenAI's error object. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

interface Rule {
  readonly of: abstract new (...args: never[]) => Error;
  readonly status: ErrorStatus;
  readonly type: string;
  readonly code: string | null;
  /** The field at fault, where only one can be. */
  readonly param?: string;
  readonly retryAfterSeconds?: number;
}

const invalid = "invalid_request_error";
const unavailable = "service_unavailable_error";

const rules: readonly Rule[] = [
  { of: InvalidRequestError, status: 400, type: invalid, code: "invalid_value" },
  { of: CombinationError, status: 400, type: invalid, code: "invalid_value", param: "adapters" },
  { of: GrammarError, status: 400, type: invalid, code: "invalid_value" },
  { of: NameTakenError, status: 400, type: invalid, code: "adapter_loaded", param: "lora_name" },
  { of: UnauthorizedError, status: 401, type: "authentication_error", code: "invalid_api_key" },
  { of: ForbiddenError, status: 403, type: "permission_error", code: "forbidden" },
  { of: ModelNotFoundError, status: 404, type: invalid, code: "model_not_found" },
  { of: NotFoundError, status: 404, type: invalid, code: "not_found" },
  { of: TooSlowError, status: 408, type: invalid, code: "body_too_slow" },
  { of: BodyTooLargeError, status: 413, type: invalid, code: "body_too_large" },
  { of: HeadersTooLargeError, status: 431, type: invalid, code: "headers_too_large" },
  // A request's own bytes are checked as InvalidRequestError: these two are about stored files.
  { of: ConfigError, status: 422, type: invalid, code: "broken_adapter" },
  { of: SafetensorsError, status: 422, type: invalid, code: "broken_adapter" },
  { of: OverloadedError, status: 429, type: "rate_limit_error", code: "overloaded", retryAfterSeconds: 1 },
  { of: QuotaError, status: 429, type: "rate_limit_error", code: "rate_limit_exceeded" },
  { of: DeviceError, status: 503, type: unavailable, code: "device_lost", retryAfterSeconds: 10 },
  { of: StoreError, status: 503, type: unavailable, code: "store_unavailable", retryAfterSeconds: 1 },
  { of: NotReadyError, status: 503, type: unavailable, code: "not_ready", retryAfterSeconds: 5 },
  { of: QueueTimeoutError, status: 503, type: unavailable, code: "queue_timeout", retryAfterSeconds: 5 },
  { of: DeadlineError, status: 504, type: unavailable, code: "deadline_exceeded" },
];

/** How an error is answered. */
export interface ErrorAnswer {
  readonly status: ErrorStatus;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;
}

/** Characters of a message at most: what other rooms say may hold what a request brought. */
const mostMessage = 400;

function isHttpException(error: unknown): error is HTTPException {
  // By its shape: a middleware may come with a Hono of its own.
  return error instanceof Error && "getResponse" in error && "status" in error;
}

/** A middleware's HTTPException as OpenAI's object; the headers of its own response stay, e.g. `www-authenticate`. */
function httpAnswer({ status, message, res }: HTTPException): ErrorAnswer {
  const headers = Object.fromEntries(res?.headers ?? []);
  delete headers["content-type"];
  delete headers["content-length"];
  const type = status >= 500 ? "server_error" : status === 401 ? "authentication_error" : invalid;
  const told = message === "" ? `Cannot answer this request: it was refused with ${status}` : message;
  return { status, body: errorBody(shorten(told, mostMessage), { type }), headers };
}

/** The answer to an error; one that no rule names is a 500 that says nothing about it. */
export function answerTo(error: unknown): ErrorAnswer {
  if (isHttpException(error)) return httpAnswer(error);
  const rule = rules.find(({ of }) => error instanceof of);
  if (!rule) {
    return {
      status: 500,
      body: errorBody("The server failed to answer this request", { type: "server_error" }),
      headers: {},
    };
  }
  const { param = rule.param ?? null, code = null } = error as Partial<InvalidRequestError>;
  const { status, type } = rule;
  const retryAfterSeconds = error instanceof QuotaError ? error.retryAfterSeconds : rule.retryAfterSeconds;
  const headers: Record<string, string> = {};
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
  if (status === 401) headers["www-authenticate"] = "Bearer";
  // The rest of a late body would be waited for.
  if (status === 408) headers.connection = "close";
  return {
    status,
    body: errorBody(shorten((error as Error).message, mostMessage), { type, param, code: code ?? rule.code }),
    headers,
  };
}

/** OpenAI's error object of a message. */
export function errorBody(
  message: string,
  { type = invalid, param = null, code = null }: Partial<Omit<ErrorBody["error"], "message">> = {},
): ErrorBody {
  return { error: { message, type, param, code } };
}

/**
 * Runs what checks a request's own values, so that its refusals (of sizes, dtypes, bytes) are the request's fault.
 *
 * @throws InvalidRequestError for a RangeError, TypeError or SafetensorsError of `check`; anything else as it is.
 */
export async function checkingInput<T>(check: () => T | Promise<T>): Promise<T> {
  try {
    return await check();
  } catch (error) {
    // The table knows its field.
    if (error instanceof CombinationError) throw error;
    const refused = error instanceof RangeError || error instanceof TypeError ||
      error instanceof SafetensorsError;
    if (refused) throw new InvalidRequestError(error.message);
    throw error;
  }
}
