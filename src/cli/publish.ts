/**
 * `fourierft publish`: an adapter's folder into a store, from which any number of servers serve it.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import process from "node:process";
import { normalName, quotedName } from "../adapters/names.ts";
import { NotFoundError } from "../errors.ts";
import { openPeers } from "../runtime/redis/mod.ts";
import { openObjectStore } from "../runtime/object_storage.ts";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { jsonArgs, log, tell } from "./log.ts";

/**
 * Changes what a name stands for, and tells servers; a Redis that is away is told in the log.
 *
 * @throws ConfigError before the change, for an address that is none of Redis.
 */
async function changeAndTell(
  redis: string | undefined,
  name: string,
  change: () => Promise<unknown>,
): Promise<void> {
  const peers = redis === undefined ? undefined : await openPeers(redis, { timeoutSeconds: 5, joins: false });
  try {
    await change();
    peers?.tell({ kind: "published", name: normalName(name) });
    if (await peers?.told() === false) {
      log(`Redis does not answer: servers see ${quotedName(name)} when they next look into the store`);
    }
  } finally {
    await peers?.close();
  }
}

/** See the module's documentation. */
export const publish = defineCommand({
  meta: { name: "publish", description: "Put an adapter into a store, or take its name out" },
  args: {
    adapter: { type: "string", description: "PEFT adapter folder", valueHint: "DIR" },
    store: {
      type: "string",
      description: "Store: file:, s3:, redis: or http: URL; default: FOURIERFT_STORE",
      valueHint: "URL",
    },
    name: { type: "string", description: "The adapter's name; default: the folder's name", valueHint: "ID" },
    remove: { type: "string", description: "Name that is to stand for nothing any more", valueHint: "ID" },
    redis: {
      type: "string",
      description: "Redis by which servers are told at once: redis: URL; default: FOURIERFT_REDIS",
      valueHint: "URL",
    },
    ...jsonArgs,
  },
  examples: [
    {
      does: "Put an adapter into a store of this machine",
      line: "publish --store file:/srv/adapters --adapter my-adapter --name tone",
    },
    {
      does: "Take the name out",
      line: "publish --store file:/srv/adapters --remove tone",
    },
  ],
  async run({ args: { adapter, name, remove, ...args } }) {
    // An empty variable is none.
    const url = args.store ?? (process.env.FOURIERFT_STORE || undefined);
    const redis = args.redis ?? (process.env.FOURIERFT_REDIS || undefined);
    if (url === undefined) throw new UsageError("Cannot run publish without --store URL");
    if ((adapter === undefined) === (remove === undefined)) {
      throw new UsageError("Cannot run publish: it needs --adapter DIR or --remove ID, one of the two");
    }
    const store = await openObjectStore(url, { log });
    if (remove !== undefined) {
      await changeAndTell(redis, remove, async () => {
        if (await store.remove(remove)) return;
        throw new NotFoundError(`Cannot take ${quotedName(remove)} out of the store: there is no such name`);
      });
      tell("done", `${quotedName(remove)} is taken out of the store`, { removed: remove });
      return;
    }
    const id = name ?? basename(resolve(adapter!));
    const folder = await openNamedFolder(adapter!);
    await changeAndTell(redis, id, () => store.publish(id, folder));
    tell("done", `${quotedName(id)} is published`, { published: id });
  },
});
