/**
 * A server's refusal.
 *
 * @module
 */

/** OpenAI's error object, as an error. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** The HTTP status; 0 for an error amid a stream. */
  readonly status: number;
  readonly type: string | undefined;
  readonly code: string | undefined;
  /** The field at fault. */
  readonly param: string | undefined;
  /** The answer's `x-request-id`: operators find the request by it. */
  readonly requestId: string | undefined;
  /** Seconds after which to ask again, where the server says so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    { message, type, code, param }: {
      readonly message?: string;
      readonly type?: string | null;
      readonly code?: string | null;
      readonly param?: string | null;
    },
    { status, headers }: { readonly status: number; readonly headers?: Headers },
  ) {
    super(message ?? `The server answered with status ${status}`);
    this.status = status;
    this.type = type ?? undefined;
    this.code = code ?? undefined;
    this.param = param ?? undefined;
    this.requestId = headers?.get("x-request-id") ?? undefined;
    const seconds = Number(headers?.get("retry-after") ?? NaN);
    this.retryAfterSeconds = Number.isFinite(seconds) ? seconds : undefined;
  }
}

/** Fields of an error object, or none where a text is no such object: a proxy may have answered. */
export function errorFields(text: string): ConstructorParameters<typeof ApiError>[0] {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "object" && error !== null ? error : {};
  } catch {
    return {};
  }
}
