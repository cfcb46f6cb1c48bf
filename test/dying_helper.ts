/**
 * A helper of the CPU device that dies with a chunk in its hands: nobody else will do that chunk.
 *
 * @module
 */
import process from "node:process";
import { type HelperSetup, lookAtEra, take } from "../src/device/cpu_team.ts";
import { onStarter } from "../src/runtime/starter.ts";

onStarter((message, answer) => {
  const { control, thread } = message as HelperSetup;
  answer(true);
  while (take(control) === 0) lookAtEra(control, thread);
  process.exit(3);
});
