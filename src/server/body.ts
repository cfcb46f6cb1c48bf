/**
 * Request bodies: counted and timed while they are read.
 *
 * @module
 */
import type { Hold } from "./budget.ts";
import { BodyTooLargeError, InvalidRequestError, TooSlowError } from "./errors.ts";
import type { ServerLimits } from "./limits.ts";

/** How a body is read. */
export interface BodyOptions {
  readonly maxBytes: number;
  /** The hold that counts the body's bytes; they stay counted when the body is read. */
  readonly hold: Hold;
  /** Aborted when nobody waits for an answer. */
  readonly signal: AbortSignal;
  readonly limits: Pick<ServerLimits, "bodySeconds" | "minBodyBytesPerSecond">;
}

/** Bytes that are allocated before any came, whatever was announced. */
const firstBytes = 4096;

/** Chunks in one buffer that grows with them: however a body is cut, it takes at most three times its bytes. */
class Collector {
  #buffer = new Uint8Array(0);
  #size = 0;

  constructor(private readonly hold: Hold, private readonly mostBytes: number) {}

  get size(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    const size = this.#size + chunk.length;
    if (size > this.#buffer.length) this.#grow(size);
    this.#buffer.set(chunk, this.#size);
    this.#size = size;
  }

  #grow(least: number): void {
    const old = this.#buffer;
    const doubled = Math.max(least, firstBytes, 2 * old.length);
    const length = least > this.mostBytes ? doubled : Math.min(this.mostBytes, doubled);
    this.hold.take(length);
    this.#buffer = new Uint8Array(length);
    this.#buffer.set(old.subarray(0, this.#size));
    this.hold.give(old.length);
  }

  whole(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#size);
  }
}

type Read = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>>;

/** Reads of a stream that end when nobody waits, or when too little came for too long. */
class TimedReader {
  #reject: (error: unknown) => void = () => {};
  #failure: { readonly error: unknown } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #began = performance.now();
  readonly #aborted = (): void => this.#fail(this.options.signal.reason);

  constructor(
    private readonly reader: ReadableStreamDefaultReader<Uint8Array>,
    private readonly options: BodyOptions,
    private readonly size: () => number,
  ) {
    options.signal.addEventListener("abort", this.#aborted, { once: true });
    if (options.signal.aborted) this.#aborted();
    this.#watch();
  }

  /** Every read has a promise of its own: a long-lived one would keep something of each. */
  read(): Promise<Read> {
    if (this.#failure) return Promise.reject(this.#failure.error);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.reader.read().then(resolve, () => reject(cutShort()));
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.options.signal.removeEventListener("abort", this.#aborted);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#reject(error);
  }

  #watch(): void {
    const { bodySeconds, minBodyBytesPerSecond } = this.options.limits;
    const allowedMs = 1000 * (bodySeconds + this.size() / minBodyBytesPerSecond);
    const leftMs = this.#began + allowedMs - performance.now();
    if (leftMs > 0) this.#timer = setTimeout(() => this.#watch(), Math.ceil(leftMs));
    else {
      this.#fail(
        new TooSlowError(
          `Cannot read the request's body: ${this.size()} bytes came in ${Math.floor(allowedMs / 1000)} s`,
        ),
      );
    }
  }
}

function cutShort(): InvalidRequestError {
  return new InvalidRequestError("Cannot read the request's body: the connection ended before it", {
    code: "incomplete_body",
  });
}

function tooLarge(size: string, maxBytes: number): BodyTooLargeError {
  return new BodyTooLargeError(
    `Cannot read the request's body: it has ${size} bytes, at most ${maxBytes} are accepted`,
  );
}

async function collect(reader: TimedReader, body: Collector, maxBytes: number): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (body.size + value.length > maxBytes) throw tooLarge("more", maxBytes);
    body.push(value);
  }
}

/**
 * A request's body.
 *
 * @throws BodyTooLargeError as soon as it is known to have more than `maxBytes`.
 * @throws TooSlowError when it does not arrive in time.
 * @throws InvalidRequestError when the connection ends before it.
 * @throws OverloadedError when the hold's budget is used up; the signal's reason.
 */
export async function readBytes(request: Request, options: BodyOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { maxBytes, hold } = options;
  const announced = Number(request.headers.get("content-length") ?? NaN);
  if (announced > maxBytes) throw tooLarge(String(announced), maxBytes);
  const body = new Collector(hold, Number.isNaN(announced) ? maxBytes : announced);
  const stream = request.body?.getReader();
  if (!stream) return body.whole();
  const reader = new TimedReader(stream, options, () => body.size);
  try {
    await collect(reader, body, maxBytes);
  } catch (error) {
    // Not awaited: the sender may never learn of it.
    stream.cancel().catch(() => {});
    throw error;
  } finally {
    reader.end();
  }
  if (announced > body.size) throw cutShort();
  return body.whole();
}
