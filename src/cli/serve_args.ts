/**
 * The arguments of `fourierft serve` for limits and access.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Access, ServerLimits } from "../server/mod.ts";
import { UsageError } from "./arguments.ts";
import { parseCount } from "./open.ts";

/** Limits by number: what they default to is said where they are declared. */
export const limitArgs = {
  "max-body-bytes": {
    type: "string",
    description: "Bytes of a JSON body at most; default 4194304",
    valueHint: "N",
  },
  "max-body-memory": {
    type: "string",
    description: "Bytes that all bodies and tensors take together at most; default 268435456",
    valueHint: "N",
  },
  "max-sequences": {
    type: "string",
    alias: "max-num-seqs",
    description: "Sequences that run at once at most; default 256",
    valueHint: "N",
  },
  "kv-cache-memory-bytes": {
    type: "string",
    description: "Bytes of the key-value cache; default 1 GiB on a GPU, 256 MiB on a CPU",
    valueHint: "N",
  },
  "max-waiting": {
    type: "string",
    description: "Sequences that wait at most; default 1024",
    valueHint: "N",
  },
  "max-adapters": {
    type: "string",
    description: "Adapters of one method on the device at most; default 256",
    valueHint: "N",
  },
  "body-seconds": {
    type: "string",
    description: "Seconds in which a body must arrive, and one more for each 64 KiB; default 30",
    valueHint: "N",
  },
  "drain-seconds": {
    type: "string",
    default: "30",
    description: "Seconds that open requests have to end at a stop",
    valueHint: "N",
  },
} as const;

/** Lists: an argument may be repeated, and have several values with commas between. */
export const accessArgs = {
  cors: {
    type: "string",
    description: "Origins whose pages may use the server, or *",
    valueHint: "ORIGIN,...",
  },
  "allowed-origins": {
    type: "string",
    description: "Origins that may ask at all, besides those of --cors",
    valueHint: "ORIGIN,...",
  },
  "allowed-hosts": {
    type: "string",
    description: "Names in Host that are answered; others are refused",
    valueHint: "HOST,...",
  },
} as const;

type Given = Readonly<Partial<Record<keyof typeof limitArgs, string>>>;

/** A count of at least one, or undefined where the argument is not given. */
function countOf(args: Given, name: keyof typeof limitArgs): number | undefined {
  const text = args[name];
  if (text === undefined) return undefined;
  const count = parseCount(name, text);
  if (count >= 1) return count;
  throw new UsageError(`Cannot use --${name} ${text}: it must be 1 or more`);
}

/** The values of {@linkcode limitArgs}. */
export interface ServeLimits {
  readonly server: Partial<ServerLimits>;
  readonly maxSequences?: number;
  readonly cacheBytes?: number;
  readonly maxWaiting?: number;
  readonly maxAdapters?: number;
  readonly drainSeconds: number;
}

/** @throws UsageError that names the argument. */
export function parseLimits(args: Given): ServeLimits {
  return {
    server: {
      maxBodyBytes: countOf(args, "max-body-bytes"),
      memoryBytes: countOf(args, "max-body-memory"),
      bodySeconds: countOf(args, "body-seconds"),
    },
    maxSequences: countOf(args, "max-sequences"),
    cacheBytes: countOf(args, "kv-cache-memory-bytes"),
    maxWaiting: countOf(args, "max-waiting"),
    maxAdapters: countOf(args, "max-adapters"),
    drainSeconds: parseCount("drain-seconds", args["drain-seconds"] ?? limitArgs["drain-seconds"].default),
  };
}

/**
 * Every value of a list: citty keeps only an argument's last.
 *
 * @throws UsageError that names the argument, for an empty value.
 */
export function listArgument(rawArgs: readonly string[], name: string): readonly string[] | undefined {
  const { values } = parseArgs({
    args: [...rawArgs],
    options: { [name]: { type: "string", multiple: true } },
    strict: false,
  });
  const given = values[name] as readonly (string | boolean)[] | undefined;
  if (!given) return undefined;
  const entries = given.flatMap((one) => String(one).split(",")).map((one) => one.trim());
  if (entries.every((one) => one !== "" && one !== "true")) return entries;
  throw new UsageError(`Cannot read --${name}: a value is empty`);
}

/** Which pages and hosts may use a server. */
export function parseAccess(rawArgs: readonly string[]): Access {
  const listOf = (name: keyof typeof accessArgs) => listArgument(rawArgs, name);
  return {
    cors: listOf("cors"),
    allowedOrigins: listOf("allowed-origins"),
    allowedHosts: listOf("allowed-hosts"),
  };
}
