/**
 * Who started this thread, as a module that runs on a thread of its own sees it, on Deno, Bun and Node.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";

/**
 * Hears messages of the thread that started this one, and gives the way to answer.
 *
 * A module calls this while it is loaded: Deno drops messages that come before somebody listens.
 *
 * @throws Error on a thread that nobody started.
 */
export function onStarter(
  hear: (message: unknown, answer: (message: unknown) => void) => void,
): void {
  const port = parentPort;
  if (!port) throw new Error("Cannot listen to a starter: this module does not run in a worker");
  port.on("message", (message: unknown) => hear(message, (answer) => port.postMessage(answer)));
}
