/**
 * The module that the helpers of a page's CPU device run.
 *
 * @module
 */
import { type HelperSetup, serveTeam } from "./cpu_team.ts";
import type { WebWorker } from "./worker.ts";

const scope = globalThis as unknown as WebWorker;
scope.addEventListener(
  "message",
  ({ data }) => serveTeam(data as HelperSetup, () => scope.postMessage(true)),
);
