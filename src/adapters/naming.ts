/**
 * Faults of a stored adapter's files, told with the adapter's name.
 *
 * @module
 */
import { BrokenAdapterError, ConfigError } from "../errors.ts";
import { SafetensorsError } from "../safetensors/mod.ts";

/**
 * What is read of an adapter.
 *
 * @throws BrokenAdapterError in place of what says which file breaks a rule; anything else as it is.
 */
export async function naming<T>(adapter: string, read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    const isNamed = error instanceof BrokenAdapterError;
    const isFault = error instanceof ConfigError || error instanceof SafetensorsError;
    throw isFault && !isNamed ? new BrokenAdapterError(adapter, error) : error;
  }
}
