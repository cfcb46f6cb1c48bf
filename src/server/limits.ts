/**
 * Bounds of a server's requests: bytes, counts and time.
 *
 * @module
 */

/** Each limit has a default, and can be set on its own. */
export interface ServerLimits {
  /** Bytes of a JSON body. Default 4 MiB. */
  readonly maxBodyBytes: number;
  /** Bytes of a safetensors body, and of a tensor that is answered. Default 64 MiB. */
  readonly maxTensorBytes: number;
  /** Bytes that all bodies, what is read from them, and tensors to answer hold together. Default 256 MiB. */
  readonly memoryBytes: number;
  /** Requests for work that are open at once; more are answered 429. Default 2048. */
  readonly maxRequests: number;
  /** Messages of a chat. Default 2048. */
  readonly maxMessages: number;
  /** Tokens of one prompt, or of a sequence to encode; the model's context bounds them, too. Default: no other bound. */
  readonly maxPromptTokens: number;
  /** Sequences that one request starts: its prompts, `n` times each. Default 1024. */
  readonly maxSequencesPerRequest: number;
  /** Products with adapters that run at once. Default 1. */
  readonly tensorRuns: number;
  /** Products with adapters that wait for their turn; more are answered 429. Default 16. */
  readonly tensorQueue: number;
  /** Seconds in which a body must arrive, besides a second for each `minBodyBytesPerSecond`. Default 30. */
  readonly bodySeconds: number;
  /** Slowest rate at which a body may arrive after `bodySeconds`. Default 64 KiB. */
  readonly minBodyBytesPerSecond: number;
  /** Seconds from a request's arrival to the end of its answer; then 504, or a stream's last event. Default 600. */
  readonly requestSeconds: number;
  /** Seconds that a completion or a chat may wait until a sequence of it runs; then 503. Default: no other bound. */
  readonly queueSeconds: number;
  /** Bytes of an address and headers together. Default 64 KiB. */
  readonly maxHeaderBytes: number;
  /** Seconds after which a reader that takes nothing of its answer is cut off. Default 60. */
  readonly readerSeconds: number;
}

/** The limits of a server that sets none. */
export const defaultLimits: ServerLimits = {
  maxBodyBytes: 4 * 2 ** 20,
  maxTensorBytes: 64 * 2 ** 20,
  memoryBytes: 256 * 2 ** 20,
  maxRequests: 2048,
  maxMessages: 2048,
  maxPromptTokens: Infinity,
  maxSequencesPerRequest: 1024,
  tensorRuns: 1,
  tensorQueue: 16,
  bodySeconds: 30,
  minBodyBytesPerSecond: 64 * 2 ** 10,
  requestSeconds: 600,
  queueSeconds: Infinity,
  maxHeaderBytes: 64 * 2 ** 10,
  readerSeconds: 60,
};

/**
 * The limits that a server sets, and the defaults of the others.
 *
 * @throws RangeError for a limit that is no positive number; only `tensorQueue` may be 0.
 */
export function limitsOf(set: Partial<ServerLimits> = {}): ServerLimits {
  const given = Object.entries(set).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const least = name === "tensorQueue" ? 0 : Number.MIN_VALUE;
    if (typeof value === "number" && value >= least) continue;
    throw new RangeError(`Cannot use limit "${name}" = ${value}: it must be a number above 0`);
  }
  return { ...defaultLimits, ...Object.fromEntries(given) };
}
