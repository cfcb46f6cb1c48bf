/**
 * Records of an object store: which objects an adapter's name stands for.
 *
 * A record is at `adapters:NAME.json`. The files are at `objects:SHA256`, which never change.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../json.ts";
import { labelsName } from "./labels.ts";
import { isAdapterName, quotedName } from "./names.ts";

/** The version of the form that records have. */
const recordFormat = "fourierft-adapter-1";

/** Characters of a record's file name at most: what file systems allow, with room for temporary names. */
const maxKeyLength = 240;

/** A file of an adapter, as an object. */
export interface ObjectFile {
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** What a name stands for. */
export interface ObjectRecord {
  /** PEFT's `peft_type`, for lists. */
  readonly peftType: string;
  readonly createdUnixSeconds: number;
  readonly files: ReadonlyMap<string, ObjectFile>;
}

/** The files of an adapter: both have to be there. */
export const recordFiles = ["adapter_config.json", "adapter_model.safetensors"] as const;

/** Files that an adapter may have beside them. */
export const optionalFiles = [labelsName] as const;

const recordPrefix = "adapters";
const recordSuffix = ".json";

/** The key of an object. */
export const objectKey = (sha256: string): string => `objects:${sha256}`;

/** Where records are. */
export const recordBase = recordPrefix;

/**
 * The key of a name's record; undefined for a name that is too long for a file. Signs other than `a-z 0-9 . _ -` are
 * written as `~` and their UTF-8 in hex: names stay apart where stores cut, split or fold them.
 */
export function recordKey(name: string): string | undefined {
  const bytes = new TextEncoder().encode(name);
  const letters = Array.from(bytes, (byte) => {
    const sign = String.fromCharCode(byte);
    return /[a-z0-9._-]/.test(sign) ? sign : `~${byte.toString(16).padStart(2, "0")}`;
  }).join("");
  return letters.length > maxKeyLength ? undefined : `${recordPrefix}:${letters}${recordSuffix}`;
}

/** The name whose record is at a key; undefined for a key that is no record's. */
export function nameOfKey(key: string): string | undefined {
  const [, letters] = /^adapters:([a-z0-9._~-]+)\.json$/.exec(key) ?? [];
  if (letters === undefined) return undefined;
  // Most names need no second look: lists have a hundred thousand.
  if (/^[a-z0-9_-][a-z0-9._-]*$/.test(letters) && letters.length <= maxKeyLength) return letters;
  const bytes: number[] = [];
  for (const [sign, hex] of letters.matchAll(/~([0-9a-f]{2})|[^~]|~/g)) {
    if (sign === "~") return undefined;
    bytes.push(hex === undefined ? sign.charCodeAt(0) : parseInt(hex, 16));
  }
  const name = new TextDecoder().decode(new Uint8Array(bytes));
  // Another spelling of the same name would be another record.
  return isAdapterName(name) && recordKey(name) === key ? name : undefined;
}

/** A record as the store has it. */
export function recordText({ peftType, createdUnixSeconds, files }: ObjectRecord): string {
  return JSON.stringify({
    format: recordFormat,
    peft_type: peftType,
    created: createdUnixSeconds,
    files: Object.fromEntries([...files].map(([name, { sha256, sizeBytes }]) => {
      return [name, { sha256, size: sizeBytes }];
    })),
  });
}

function fileOf(value: unknown): ObjectFile | undefined {
  if (!isJsonObject(value)) return undefined;
  const { sha256, size } = value;
  const isDigest = typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
  return isDigest && Number.isSafeInteger(size) && (size as number) >= 0
    ? { sha256, sizeBytes: size as number }
    : undefined;
}

/**
 * Reads a record: a text, or the value of one that the store has parsed already.
 *
 * @throws ConfigError that names the adapter, the field and the rule.
 */
export function parseRecord(name: string, stored: unknown): ObjectRecord {
  const what = `the record of adapter ${quotedName(name)}`;
  const value: JsonObject = isJsonObject(stored) ? stored : parseJsonObject(String(stored), what);
  const refuse = (field: string, rule: string): never => {
    throw new ConfigError(`Cannot read ${what}, field "${field}": it must be ${rule}`);
  };
  const { format, peft_type: peftType, created, files } = value;
  if (format !== recordFormat) refuse("format", `"${recordFormat}"`);
  if (typeof peftType !== "string") return refuse("peft_type", "a text");
  if (!Number.isSafeInteger(created)) refuse("created", "whole Unix seconds");
  if (!isJsonObject(files)) return refuse("files", "an object");
  const named = [...recordFiles, ...optionalFiles.filter((file) => Object.hasOwn(files, file))];
  const found = named.map((file) => {
    const one = fileOf(files[file]) ?? refuse(`files.${file}`, "a SHA-256 in hex and a size in bytes");
    return [file, one] as const;
  });
  return { peftType, createdUnixSeconds: created as number, files: new Map(found) };
}
