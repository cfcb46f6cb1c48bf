/**
 * A thread of the CPU device that dies at its first command.
 *
 * @module
 */
import process from "node:process";
import { counters, type ThreadSetup } from "../src/device/cpu_commands.ts";
import { onStarter } from "../src/runtime/starter.ts";

onStarter((message) => {
  const { ring, how } = message as ThreadSetup & { readonly how: "exit" | "throw" };
  Atomics.wait(ring, counters.submitted, 0);
  if (how === "exit") process.exit(3);
  throw new Error("it is at its end");
});
