/**
 * A file behind a URL: asked for, and what the answers mean.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { MissingFileError } from "../folder.ts";

/** A file on a server. */
export interface RemoteFile {
  readonly name: string;
  readonly url: string;
  readonly fetch: typeof fetch;
  readonly tell: (doneBytes: number, totalBytes?: number) => void;
}

/** An error about a file. */
export function refused({ name }: RemoteFile, why: string): ConfigError {
  return new ConfigError(`Cannot fetch ${JSON.stringify(name)}: ${why}`);
}

/**
 * Asks for a file, or bytes of it.
 *
 * @throws MissingFileError when it is not there; ConfigError when the server does not answer, or refuses.
 */
export async function answerOf(
  file: RemoteFile,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const { name, url, fetch } = file;
  let response: Response;
  try {
    response = await fetch(url, { headers });
  } catch (error) {
    throw refused(file, `the server cannot be reached: ${(error as Error).message}`);
  }
  // Servers of pages answer every path with a page.
  const isPage = /^text\/html\b/i.test(response.headers.get("content-type") ?? "") && !/\.html?$/i.test(name);
  if (response.status === 404 || response.status === 410 || (response.ok && isPage)) {
    await response.body?.cancel();
    throw new MissingFileError(`Cannot fetch ${JSON.stringify(name)}: there is no such file`);
  }
  if (!response.ok && response.status !== 416) {
    await response.body?.cancel();
    throw refused(file, `the server says ${response.status}`);
  }
  return response;
}

/** The bytes of an answer, as they come. */
export async function* partsOf(
  file: RemoteFile,
  response: Response,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (!response.body) return;
  try {
    // Safari's streams cannot be iterated.
    const reader = response.body.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (error) {
    throw refused(file, `the answer broke off: ${(error as Error).message}`);
  }
}

/** The length that an answer states; undefined where it is coded, or not stated. */
export function lengthOf(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  return length === null || response.headers.has("content-encoding") ? undefined : Number(length);
}
