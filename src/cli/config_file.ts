/**
 * The file of `fourierft serve --config`: the settings by their names, and the tenants.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { parseDocument } from "yaml";
import * as z from "zod";
import type { TenantOptions } from "../server/mod.ts";
import { Tenants } from "../server/mod.ts";
import { ruleOf } from "../server/rule.ts";
import { UsageError } from "./arguments.ts";

/** Bytes of a file at most: a thousand tenants have a few hundred thousand. */
const mostBytes = 16 * 2 ** 20;

const strings = z.array(z.string());

const tenant = z.strictObject({
  id: z.string(),
  tokens: strings.optional(),
  "token-sha256": strings.optional(),
  "adapter-prefixes": strings.optional(),
  weight: z.number().optional(),
  "requests-per-minute": z.number().optional(),
  "tokens-per-minute": z.number().optional(),
  "max-concurrent": z.number().optional(),
});

const file = z.looseObject({ tenants: z.array(tenant).optional() });

/** A file that was read. */
export interface ConfigFile {
  /** Settings by their names, not yet checked. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly tenants?: readonly TenantOptions[];
}

function tenantOf(given: z.output<typeof tenant>): TenantOptions {
  return {
    id: given.id,
    tokens: given.tokens,
    tokenSha256: given["token-sha256"],
    adapterPrefixes: given["adapter-prefixes"],
    weight: given.weight,
    requestsPerMinute: given["requests-per-minute"],
    tokensPerMinute: given["tokens-per-minute"],
    maxConcurrent: given["max-concurrent"],
  };
}

/** The value of a YAML or JSON text; JSON is YAML, too. */
function valueOf(text: string, path: string): unknown {
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  // What stands there may be a token: only the place is told.
  if (error) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    throw new UsageError(`Cannot read ${path} as YAML or JSON: ${error.code} in line ${line}, column ${col}`);
  }
  return document.toJS({ maxAliasCount: 100 });
}

/** A path like `tenants[0].weight`. */
function pathText(path: readonly PropertyKey[]): string {
  return path.map((key, i) => typeof key === "number" ? `[${key}]` : `${i === 0 ? "" : "."}${String(key)}`)
    .join("");
}

function checked(value: unknown, path: string): ConfigFile {
  if (typeof (value ?? {}) !== "object" || Array.isArray(value)) {
    throw new UsageError(`Cannot read ${path}: it must have settings by their names, e.g. port: 8000`);
  }
  const found = file.safeParse(value ?? {}, { error: ruleOf });
  if (!found.success) {
    const [issue] = found.error.issues;
    const unknown = issue.code === "unrecognized_keys" ? [issue.keys[0]] : [];
    const rule = unknown.length > 0 ? "there is no such field" : issue.message;
    throw new UsageError(`Cannot read "${pathText([...issue.path, ...unknown])}" of ${path}: ${rule}`);
  }
  const { tenants, ...settings } = found.data;
  return { settings, tenants: tenants?.map(tenantOf) };
}

/**
 * Reads a file of settings and tenants.
 *
 * @throws UsageError that names the file, the field and the rule; no token is told.
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = await readFile(path, "utf8").catch((error) => {
    throw new UsageError(`Cannot read --config ${path}: ${(error as Error).message}`);
  });
  if (text.length > mostBytes) {
    throw new UsageError(`Cannot read ${path}: it has more than ${mostBytes} characters`);
  }
  const config = checked(valueOf(text, path), path);
  try {
    // The server makes the same tenants later: a refusal here is a fault of the file.
    new Tenants(config.tenants ?? []);
  } catch (error) {
    throw new UsageError(`Cannot use the tenants of ${path}: ${(error as Error).message}`);
  }
  return config;
}
