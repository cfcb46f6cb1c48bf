/**
 * A folder behind URLs, for runtimes without a disk: what {@linkcode ReadableFolder} asks for, by `fetch`.
 *
 * @module
 */
import { ConfigError, MissingFileError, type ReadableFolder } from "fourierft";
import { bytesSource } from "fourierft/safetensors";

/** The files under `base`, which ends in a slash. Each is fetched whole when it is opened. */
export function urlFolder(base: URL): ReadableFolder {
  const get = async (name: string, method = "GET"): Promise<Response> => {
    if (!/^[\w-][\w.-]*$/.test(name)) {
      throw new ConfigError(`Cannot fetch "${name}": it is no plain file name`);
    }
    return await fetch(new URL(name, base), { method });
  };
  const bytesOf = async (name: string): Promise<Uint8Array> => {
    const response = await get(name);
    if (response.status === 404) throw new MissingFileError(`Cannot fetch "${name}": there is no such file`);
    if (!response.ok) throw new ConfigError(`Cannot fetch "${name}": the server says ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  return {
    open: async (name) => bytesSource(await bytesOf(name)),
    async readText(name, { maxBytes = 2 ** 26 } = {}) {
      const bytes = await bytesOf(name);
      if (bytes.length > maxBytes) {
        throw new ConfigError(
          `Cannot read "${name}": it has ${bytes.length} bytes, the limit is ${maxBytes}`,
        );
      }
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    },
    exists: async (name) => (await get(name, "HEAD")).ok,
  };
}
