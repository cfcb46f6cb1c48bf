/**
 * A folder behind URLs, for runtimes without a disk: what {@linkcode ReadableFolder} asks for, by `fetch`.
 *
 * @module
 */
import { ConfigError, MissingFileError, type ReadableFolder, readTextBy } from "fourierft";
import { bytesSource } from "fourierft/safetensors";

/** The files under `base`, which ends in a slash. Each is fetched whole when it is opened. */
export function urlFolder(base: URL): ReadableFolder {
  const get = async (name: string, method = "GET"): Promise<Response> => {
    if (!/^[\w-][\w.-]*$/.test(name)) {
      throw new ConfigError(`Cannot fetch "${name}": it is no plain file name`);
    }
    return await fetch(new URL(name, base), { method });
  };
  const open: ReadableFolder["open"] = async (name) => {
    const response = await get(name);
    if (response.status === 404) throw new MissingFileError(`Cannot fetch "${name}": there is no such file`);
    if (!response.ok) throw new ConfigError(`Cannot fetch "${name}": the server says ${response.status}`);
    return bytesSource(new Uint8Array(await response.arrayBuffer()));
  };
  return {
    open,
    readText: (name, options) => readTextBy(open, name, options),
    exists: async (name) => (await get(name, "HEAD")).ok,
  };
}
