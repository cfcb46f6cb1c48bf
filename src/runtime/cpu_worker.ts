/**
 * The module that the CPU device's thread runs: it is given the shared memory once, and then takes commands from it.
 *
 * @module
 */
import type { ThreadSetup } from "../device/cpu_commands.ts";
import { serveCommands } from "../device/cpu_thread.ts";
import { onStarter } from "./starter.ts";

onStarter((setup, answer) => serveCommands(setup as ThreadSetup, answer));
