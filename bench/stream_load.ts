/**
 * Streams asked of a server by processes of their own, so that clients take no time of the server's thread.
 *
 * @module
 */
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Answer, ClientLoad } from "./stream_client.ts";

const client = fileURLToPath(new URL("./stream_client.ts", import.meta.url));

/** Bytes of a process's answers at most. */
const maxBuffer = 2 ** 26;

/** Streams at once, of some processes together. */
export interface StreamLoad extends Omit<ClientLoad, "first" | "models"> {
  readonly processes: number;
}

/** Seconds from the first request to the end of the last answer, without the start of the processes. */
export function secondsOf(answers: readonly Answer[]): number {
  const begin = Math.min(...answers.map(({ beganMs }) => beganMs));
  return (Math.max(...answers.map(({ beganMs, endMs }) => beganMs + endMs)) - begin) / 1000;
}

async function modelsOf(url: string): Promise<readonly string[]> {
  const response = await fetch(`${url}/v1/models`);
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const { data } = await response.json() as { data: { id: string }[] };
  return data.map(({ id }) => id);
}

/** All streams at once, each with its requests one after another. */
export async function askStreams({ processes, streams, ...load }: StreamLoad): Promise<readonly Answer[]> {
  const models = await modelsOf(load.url), used = Math.min(processes, streams);
  const answers = await Promise.all(Array.from({ length: used }, async (_, i) => {
    const first = Math.floor(streams * i / used), end = Math.floor(streams * (i + 1) / used);
    const own: ClientLoad = { ...load, models, first, streams: end - first };
    const run = ["run", "-A", client, JSON.stringify(own)];
    const { stdout } = await promisify(execFile)(process.execPath, run, { maxBuffer });
    return JSON.parse(stdout) as Answer[];
  }));
  return answers.flat();
}
