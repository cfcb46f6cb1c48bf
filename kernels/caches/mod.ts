/**
 * Every format of the key-value cache once, by its name.
 *
 * @module
 */
import type { CacheFormat, KvCacheDtype } from "./format.ts";
import { float16 } from "./float16.ts";
import { float32 } from "./float32.ts";
import { int8 } from "./int8.ts";

export type { KvCacheDtype };

/** See the module's documentation. */
export const cacheFormats: Readonly<Record<KvCacheDtype, CacheFormat>> = { float32, float16, int8 };

/** Every name, the usual one first. */
export const kvCacheDtypes = ["float32", "float16", "int8"] as const satisfies readonly KvCacheDtype[];
