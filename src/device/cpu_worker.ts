/**
 * The module that the thread of a page's CPU device runs: it is given the shared memory once, and then takes commands from it.
 *
 * @module
 */
import type { ThreadSetup } from "./cpu_commands.ts";
import { serveCommands } from "./cpu_thread.ts";
import type { WebWorker } from "./worker.ts";

// At once: a page's messages are lost on a worker that does not listen when its module has run.
const scope = globalThis as unknown as WebWorker;
scope.addEventListener(
  "message",
  ({ data }) => serveCommands(data as ThreadSetup, (message) => scope.postMessage(message)),
);
