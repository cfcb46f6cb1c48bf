/**
 * Storages of objects, by the drivers of unstorage: folders, S3-compatible buckets, Redis, web servers, memory, others.
 *
 * The package `unstorage` is imported when a store is opened. Its driver needs `aws4fetch` for S3 and `ioredis` for Redis.
 * Who opens no store installs none of them.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Redis } from "ioredis";
import type { Driver, TransactionOptions } from "unstorage";
import { ObjectStore, type ObjectStoreOptions } from "../adapters/object_store.ts";
import { ConfigError } from "../errors.ts";
import { hearErrors } from "./redis/errors.ts";
import { listS3 } from "./s3_list.ts";

/** A driver of unstorage by its name, and the driver's own options. */
export interface StorageOptions {
  readonly driver: string;
  readonly [option: string]: unknown;
}

const refused = (why: string): ConfigError => new ConfigError(`Cannot open the store of adapters: ${why}`);

/**
 * The options that a URL stands for: `file:///folder`, `s3://bucket?endpoint=URL&region=R`, `redis://host:6379/0`,
 * `https://host/path`, `memory:`. The keys of a bucket are in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
 *
 * @throws ConfigError for another text.
 */
export function storageOptions(
  text: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): StorageOptions {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  switch (url?.protocol) {
    case "file:":
      return { driver: "fs", base: fileURLToPath(url) };
    case "memory:":
      return { driver: "memory" };
    case "http:":
    case "https:":
      return { driver: "http", base: text };
    case "redis:":
    case "rediss:":
      return { driver: "redis", url: text };
    case "s3:":
      return {
        driver: "s3",
        bucket: `${url.hostname}${url.pathname}`.replace(/\/+$/, ""),
        endpoint: url.searchParams.get("endpoint") ?? environment.AWS_ENDPOINT_URL ??
          "https://s3.amazonaws.com",
        region: url.searchParams.get("region") ?? environment.AWS_REGION ?? "us-east-1",
        accessKeyId: environment.AWS_ACCESS_KEY_ID,
        secretAccessKey: environment.AWS_SECRET_ACCESS_KEY,
      };
  }
  throw refused("it must be a URL that begins with file:, s3:, redis:, rediss:, http:, https: or memory:");
}

/**
 * unstorage's `fs` says of every key that it is not there when its folder is not. A folder that was there once has then vanished,
 * e.g. with its disk: that is a failure. One that never was is an empty store, which the first write makes.
 */
function lastingFolder(driver: Driver, base: string): Driver {
  let seen = false;
  const look = async (): Promise<void> => {
    const isThere = await stat(base).then((found) => found.isDirectory(), () => false);
    if (seen && !isThere) throw new Error(`the folder "${base}" has vanished`);
    seen = isThere;
  };
  const found = (value: unknown): boolean => value !== null && value !== undefined;
  const looking =
    <Given extends unknown[], T>(read: (...given: Given) => T) =>
    async (...given: Given): Promise<Awaited<T>> => {
      const value = await read(...given);
      if (found(value) && !Array.isArray(value)) seen = true;
      else await look();
      return value;
    };
  return {
    ...driver,
    getItem: looking(driver.getItem),
    getItemRaw: looking(driver.getItemRaw!),
    getKeys: looking(driver.getKeys),
  };
}

/** unstorage's `fs` writes in place; a file must appear whole under its name, also when the process is killed. */
function atomicFiles(driver: Driver, base: string): Driver {
  const write = async (key: string, value: string | Uint8Array): Promise<void> => {
    const path = join(base, ...key.split(":"));
    const temporary = join(dirname(path), `.${randomUUID()}`);
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(value);
      await file.sync();
      await file.close();
      await rename(temporary, path);
    } catch (error) {
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
      throw error;
    }
  };
  return { ...driver, setItem: write, setItemRaw: write };
}

/** Options that a driver needs to give up soon, and to list many keys. */
const defaults: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  redis: { maxRetriesPerRequest: 1, scanCount: 1000 },
};

/** Options that drivers would miss at their first call only. */
const needed: Readonly<Record<string, readonly string[]>> = {
  fs: ["base"],
  http: ["base"],
  s3: ["bucket", "endpoint", "region", "accessKeyId", "secretAccessKey"],
};

/** Where a URL of a store has options that are no part of a URL. */
const variables: Readonly<Record<string, string>> = {
  accessKeyId: "AWS_ACCESS_KEY_ID",
  secretAccessKey: "AWS_SECRET_ACCESS_KEY",
};

type DriverOf = (options: Readonly<Record<string, unknown>>) => Driver;

async function importNamed(specifier: string, what: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(specifier);
  } catch (error) {
    throw new ConfigError(
      `Cannot open the store of adapters: ${what} needs a package that cannot be imported; npm install unstorage, ` +
        "with aws4fetch for s3 or ioredis for redis",
      { cause: error },
    );
  }
}

async function driverOf({ driver: name, ...options }: StorageOptions): Promise<Driver> {
  const { builtinDrivers } = await importNamed("unstorage", `driver "${name}"`) as {
    readonly builtinDrivers: Readonly<Record<string, string>>;
  };
  if (!Object.hasOwn(builtinDrivers, name)) {
    throw refused(
      `unstorage has no driver ${JSON.stringify(name)}; it has ${Object.keys(builtinDrivers).join(", ")}`,
    );
  }
  const { default: make } = await importNamed(builtinDrivers[name], `driver "${name}"`);
  for (const option of needed[name] ?? []) {
    if (typeof options[option] !== "string" || options[option] === "") {
      const variable = variables[option];
      const hint = variable === undefined ? "" : `; a URL takes it from the environment's ${variable}`;
      throw refused(`driver "${name}" needs ${option}${hint}`);
    }
  }
  const driver = (make as DriverOf)({ ...defaults[name], ...options });
  if (name === "fs") {
    const base = resolve(String(options.base));
    return atomicFiles(lastingFolder(driver, base), base);
  }
  // What goes wrong is told by each call.
  if (name === "redis") hearErrors(driver.getInstance!() as Redis);
  // unstorage's own read of bytes that are not there is a TypeError.
  if (name === "http") {
    const bytes = async (key: string, options: TransactionOptions) =>
      await driver.hasItem(key, options) ? await driver.getItemRaw!(key, options) : null;
    return { ...driver, getItemRaw: bytes };
  }
  // unstorage's own list ends after the first 1000 keys.
  if (name === "s3") return { ...driver, getKeys: (base: string) => listS3(options, base) };
  return driver;
}

/**
 * Opens adapters in a storage of objects.
 *
 * @param storage A URL, as {@linkcode storageOptions} has them, or a driver of unstorage with its options.
 * @throws ConfigError when there is no such driver, or a package or an option is missing. The storage is not asked yet.
 */
export async function openObjectStore(
  storage: string | StorageOptions,
  options: ObjectStoreOptions = {},
): Promise<ObjectStore> {
  const chosen = typeof storage === "string" ? storageOptions(storage) : storage;
  try {
    const driver = await driverOf(chosen);
    const { createStorage } = await import("unstorage");
    return new ObjectStore(createStorage({ driver }), options);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`Cannot open the store of adapters: ${(error as Error).message}`, { cause: error });
  }
}
