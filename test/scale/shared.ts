/**
 * Servers that share a Redis: quotas are one, changes of adapters are heard, and each does its part while Redis is away.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { trainingFixture } from "../train_process.ts";
import { type Case, completion } from "./load.ts";
import type { Program } from "./processes.ts";

/** Requests of a tenant in a minute, by all servers. */
const perMinute = 30;

const tokenOf = (tenant: string): string => `token-of-the-tenant-${tenant}`;

/** A file of settings: tenants of one quota, and one for requests of tests that no quota is to refuse. */
export async function writeTenants(folder: string): Promise<string> {
  const path = join(folder, "tenants.json");
  const small = ["first", "second"].map((id) => ({
    id,
    tokens: [tokenOf(id)],
    "requests-per-minute": perMinute,
  }));
  const all = [...small, { id: "load", tokens: [tokenOf("load")], "requests-per-minute": 1e6 }];
  await writeFile(path, JSON.stringify({ tenants: all }));
  return path;
}

/** The token of requests that no quota refuses. */
export const loadToken = tokenOf("load");

const address = ({ port }: Program): string => `http://127.0.0.1:${port}`;

/** Waits until what is asked for is so. */
async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 60_000; !await ask();) {
    if (performance.now() > end) throw new Error(`It never came: ${what}`);
    await delay(50);
  }
}

async function metric(server: Program, name: string): Promise<number> {
  const text = await (await fetch(`${address(server)}/metrics`)).text();
  return Number(new RegExp(`^fourierft:${name} (.+)$`, "m").exec(text)?.[1]);
}

/** Asks more of all servers at once than a tenant may, and gives how many requests were let in. */
async function admitted(
  servers: readonly Program[],
  tenant: string,
  { model, prompt }: Case,
): Promise<number> {
  const headers = { authorization: `Bearer ${tokenOf(tenant)}`, "content-type": "application/json" };
  const body = JSON.stringify({ model, prompt, max_tokens: 1 });
  const statuses = await Promise.all(
    Array.from({ length: 4 * perMinute }, async (_, i) => {
      const server = address(servers[i % servers.length]);
      const response = await fetch(`${server}/v1/completions`, { method: "POST", headers, body });
      await response.arrayBuffer();
      return response.status;
    }),
  );
  const other = statuses.find((status) => status !== 200 && status !== 429);
  if (other !== undefined) throw new Error(`status ${other} for a tenant whose quota is used up`);
  return statuses.filter((status) => status === 200).length;
}

/** Checks that a quota was granted once: buckets fill meanwhile, and so much more may be let in. */
async function checkQuota(servers: readonly Program[], tenant: string, one: Case): Promise<void> {
  const begin = performance.now();
  const count = await admitted(servers, tenant, one);
  const most = perMinute * (1 + (performance.now() - begin) / 60_000) + servers.length;
  if (count < perMinute || count > most) {
    throw new Error(
      `${count} requests of tenant ${tenant} were let in, not ${perMinute} to ${most.toFixed(0)}`,
    );
  }
  console.log(
    `quota: ${count} requests of ${4 * perMinute} by ${servers.length} servers, its bound is ${perMinute}`,
  );
}

function publish(store: string, redis: string, args: readonly string[]): void {
  const command = [
    "run",
    "-A",
    "--no-check",
    "src/cli/main.ts",
    "publish",
    "--store",
    store,
    "--redis",
    redis,
  ];
  execFileSync(process.execPath, [...command, ...args], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * @param group Servers with the tenants above and one Redis, whose records of the store are good for an hour.
 * @param cases A right text of a name, and the text that another adapter gives to its prompt.
 */
export async function sharedRedis(
  group: readonly Program[],
  { redis, redisUrl, store, before, after, content }: {
    readonly redis: Program;
    readonly redisUrl: string;
    readonly store: string;
    readonly before: Case;
    readonly after: Case;
    /** The folder of the adapter that gives `after`. */
    readonly content: string;
  },
): Promise<void> {
  const all = (ask: (server: Program) => Promise<boolean>) => async (): Promise<boolean> =>
    (await Promise.all(group.map(ask))).every(Boolean);
  const says = (one: Case) =>
    all(async (server) => await completion(address(server), one, loadToken) === one.text);
  await until(
    "three servers that share Redis",
    all(async (server) => await metric(server, "quota_servers") === 3),
  );
  if (!await says(before)()) throw new Error(`A wrong answer of ${before.model}`);
  await checkQuota(group, "first", before);

  // Without word of it, servers would give the old text for an hour.
  publish(store, redisUrl, ["--adapter", trainingFixture(content), "--name", before.model]);
  await until("the new adapter at every server", says({ ...after, model: before.model }));
  console.log("changes: a published adapter is served by all");

  await redis.kill();
  await until(
    "servers that know of Redis' end",
    all(async (server) => await metric(server, "redis_up") === 0),
  );
  await checkQuota(group, "second", before);
  await redis.start();
  await until(
    "servers that know of Redis' return",
    all(async (server) => await metric(server, "redis_up") === 1),
  );
  publish(store, redisUrl, ["--remove", before.model]);
  await until(
    "no adapter at any server",
    all(async (server) => await completion(address(server), before, loadToken) === undefined),
  );
  console.log("changes: a removed adapter is gone everywhere, after Redis was away");
}
