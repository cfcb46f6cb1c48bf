/**
 * `fourierft publish`: an adapter's folder into a store, from which any number of servers serve it.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import { quotedName } from "../adapters/names.ts";
import { NotFoundError } from "../errors.ts";
import { openObjectStore } from "../runtime/object_storage.ts";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { jsonArgs, log, tell } from "./log.ts";

/** See the module's documentation. */
export const publish = defineCommand({
  meta: { name: "publish", description: "Put an adapter into a store, or take its name out" },
  args: {
    adapter: { type: "string", description: "PEFT adapter folder", valueHint: "DIR" },
    store: {
      type: "string",
      required: true,
      description: "Store: file:, s3:, redis: or http: URL",
      valueHint: "URL",
    },
    name: { type: "string", description: "The adapter's name; default: the folder's name", valueHint: "ID" },
    remove: { type: "string", description: "Name that is to stand for nothing any more", valueHint: "ID" },
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
  async run({ args: { adapter, store: url, name, remove } }) {
    if ((adapter === undefined) === (remove === undefined)) {
      throw new UsageError("Cannot run publish: it needs --adapter DIR or --remove ID, one of the two");
    }
    const store = await openObjectStore(url, { log });
    if (remove !== undefined) {
      if (!await store.remove(remove)) {
        throw new NotFoundError(`Cannot take ${quotedName(remove)} out of the store: there is no such name`);
      }
      tell("done", `${quotedName(remove)} is taken out of the store`, { removed: remove });
      return;
    }
    const id = name ?? basename(resolve(adapter!));
    await store.publish(id, await openNamedFolder(adapter!));
    tell("done", `${quotedName(id)} is published`, { published: id });
  },
});
