/**
 * Stops a server: open requests may end, up to a deadline.
 *
 * @module
 */
import process from "node:process";
import type { Served } from "../runtime/serve.ts";
import type { OpenRequests } from "../server/mod.ts";

/** The server to stop, and its open requests. */
export interface Ending {
  readonly server: Served;
  readonly requests: OpenRequests;
  /** Seconds that open requests have. */
  readonly drainSeconds: number;
  readonly log: (line: string) => void;
}

/** Time for the last bytes of answers to leave, and for idle connections to close. */
const closingMs = 2000;

const signals = ["SIGINT", "SIGTERM"] as const;

function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of signals) process.once(signal, () => resolve());
  });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits for SIGINT or SIGTERM, then takes no new work and lets open requests end. The port stays open meanwhile, so
 * that `/ready` can answer. A second signal ends the process at once, with exit code 1.
 *
 * @returns The exit code: 1 when requests were cut at the deadline, else 0.
 */
export async function untilStopped({ server, requests, drainSeconds, log }: Ending): Promise<number> {
  await nextSignal();
  nextSignal().then(() => process.exit(1));
  log(
    `stopping within ${drainSeconds} s, open requests: ${requests.size}; a second signal ends at once`,
  );
  const cut = await requests.drain(1000 * drainSeconds);
  await Promise.race([server.close(), after(closingMs)]);
  if (cut > 0) log(`stopped; requests cut: ${cut}`);
  return cut > 0 ? 1 : 0;
}
