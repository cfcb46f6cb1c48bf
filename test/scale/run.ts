/**
 * Three servers behind HAProxy that share a Redis, with adapters in an S3 server and then in Redis. A server, the store and
 * the shared Redis are killed under load. Then quotas and changes by the shared Redis: `deno task test:scale`.
 *
 * Programs: Debian's haproxy and redis-server, npm's s3rver. Without them the test fails, and names what is missing.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { cpuDevice, generateText, openModel } from "../../mod.ts";
import { openFolder, openObjectStore } from "../../src/runtime/mod.ts";
import { trainingFixture, withTinyModel } from "../train_process.ts";
import { type Case, load } from "./load.ts";
import { loadToken, sharedRedis, writeTenants } from "./shared.ts";
import { freePort, MissingProgramError, needProgram, Program } from "./processes.ts";

const adapters = 24, servers = 3, count = 900, atOnce = 12;
const prompts = ["w5 w17 w29", "w1", "w9 w9 w30 w2"];
/** Folders of adapters. The last quarter of names has one of its own: no server has read it when the store goes. */
const early = ["fourierft/trained", "fourierft/start"], late = "lora/trained";
const keys = { AWS_ACCESS_KEY_ID: "S3RVER", AWS_SECRET_ACCESS_KEY: "S3RVER" };

const nameOf = (i: number): string => `tenant-${String(i).padStart(2, "0")}`;
const contentOf = (i: number): string => i < adapters * 3 / 4 ? early[i % early.length] : late;

const idOf = (content: string): string => content.replace("/", "-");

/** Every adapter with every prompt, and the text of a model of this process that nothing disturbs. */
async function goldens(model: string): Promise<readonly Case[]> {
  const folder = await openFolder(model);
  const store = await openObjectStore("memory:");
  for (const content of [...early, late]) {
    await store.publish(idOf(content), await openFolder(trainingFixture(content)));
  }
  const { engine, tokenizer } = await openModel(cpuDevice(), { folder, adapters: store });
  const cases: Case[] = [];
  for (const prompt of prompts) {
    for (const content of [...early, late]) {
      const sampling = { temperature: 0, topP: 1, topK: 0 };
      const adapter = idOf(content);
      const request = { promptTokenIds: tokenizer.encode(prompt), adapter, maxTokens: 12, sampling };
      let text = "";
      for await (const event of generateText(engine, request, { tokenizer })) text += event.text;
      for (let i = 0; i < adapters; i++) {
        if (contentOf(i) === content) cases.push({ model: nameOf(i), prompt, text });
      }
    }
  }
  return cases;
}

async function publishAll(url: string): Promise<void> {
  const store = await openObjectStore(url);
  for (let i = 0; i < adapters; i++) {
    await store.publish(
      nameOf(i),
      await openFolder(trainingFixture(contentOf(i))),
    );
  }
}

/** Servers of one store, which share a Redis. */
async function startServers(
  { model, store, redis, config, ttlSeconds }: {
    readonly model: string;
    readonly store: string;
    readonly redis: string;
    readonly config: string;
    readonly ttlSeconds: number;
  },
): Promise<Program[]> {
  const group: Program[] = [];
  for (let i = 0; i < servers; i++) {
    const port = await freePort();
    group.push(
      new Program(port, [
        ...[
          process.execPath,
          "run",
          "-A",
          "--no-check",
          "--unstable-no-legacy-abort",
          "src/cli/main.ts",
          "serve",
        ],
        ...["--model", model, "--port", String(port), "--device", "cpu", "--threads", "1"],
        ...["--store-ttl-seconds", String(ttlSeconds), "--store-timeout-seconds", "2", "--config", config],
      ], { FOURIERFT_STORE: store, FOURIERFT_REDIS: redis, ...keys }),
    );
  }
  for (const server of group) await server.start();
  return group;
}

async function startProxy(group: readonly Program[]): Promise<Program> {
  const port = await freePort();
  const addresses = Object.fromEntries(
    group.map((server, i) => [`FOURIERFT_SERVER_${i + 1}`, `127.0.0.1:${server.port}`]),
  );
  const proxy = new Program(port, ["haproxy", "-db", "-f", "deploy/haproxy.cfg"], {
    FOURIERFT_LISTEN: `127.0.0.1:${port}`,
    ...addresses,
  });
  await proxy.start();
  return proxy;
}

/** Waits until work is done, and no longer than some seconds: where the store is away, requests may wait for its return. */
async function step(reached: () => boolean, mostSeconds: number): Promise<void> {
  const end = performance.now() + mostSeconds * 1000;
  while (!reached() && performance.now() < end) {
    await delay(20);
  }
}

/** One store: load, a server killed, the store killed and back, the server back. */
async function phase(
  name: string,
  { model, config, store, url, redis, redisUrl, cases }: {
    readonly model: string;
    readonly config: string;
    readonly store: Program;
    readonly url: string;
    /** What the servers share; it may be the store. */
    readonly redis: Program;
    readonly redisUrl: string;
    readonly cases: readonly Case[];
  },
): Promise<void> {
  const killed = new Set([store, redis]);
  const running: Program[] = [...killed];
  try {
    for (const program of killed) await program.start();
    await publishAll(url);
    const group = await startServers({ model, config, store: url, redis: redisUrl, ttlSeconds: 1 });
    running.push(...group);
    const proxy = await startProxy(group);
    running.push(proxy);
    let answers = 0, isLate = false;
    const known = cases.filter(({ model }) => model < nameOf(adapters * 3 / 4));
    const events = async (): Promise<void> => {
      await step(() => answers >= count / 6, 60);
      await group[0].kill();
      console.log(`${name}: a server is killed after ${answers} answers`);
      await step(() => answers >= count / 3, 30);
      for (const program of killed) await program.kill();
      isLate = true;
      console.log(`${name}: the store and the shared Redis are killed after ${answers} answers`);
      await step(() => answers >= count / 2, 8);
      for (const program of killed) await program.start();
      console.log(`${name}: both are back after ${answers} answers`);
      await group[0].start();
      console.log(`${name}: the server is back after ${answers} answers`);
    };
    const address = `http://127.0.0.1:${proxy.port}`;
    const [outcome] = await Promise.all([
      load(address, () => isLate ? cases : known, {
        ...{ token: loadToken, count, atOnce },
        onAnswer: (done) => answers = done,
      }),
      events(),
    ]);
    if (outcome.refusals === 0) {
      throw new Error("No request met the store while it was gone: nothing was shown");
    }
    console.log(`${name}: ${outcome.answers} right answers, ${outcome.refusals} times 503, none wrong`);
  } finally {
    for (const program of running) await program.kill();
  }
}

/** Three servers of a store that they do not look at again: they know what the shared Redis tells them. */
async function sharing(
  { model, config, cases, redis, redisUrl }: {
    readonly model: string;
    readonly config: string;
    readonly cases: readonly Case[];
    readonly redis: Program;
    readonly redisUrl: string;
  },
  folder: string,
): Promise<void> {
  const store = pathToFileURL(folder).href, running = [redis];
  try {
    await redis.start();
    await publishAll(store);
    const group = await startServers({ model, config, store, redis: redisUrl, ttlSeconds: 3600 });
    running.push(...group);
    const of = (content: string): readonly Case[] =>
      cases.filter(({ model }) => model === nameOf(early.indexOf(content)));
    const at = of(early[0]).findIndex(({ text }, i) => text !== of(early[1])[i].text);
    const [before, after] = early.map((content) => of(content)[at]);
    await sharedRedis(group, { redis, redisUrl, store, before, after, content: early[1] });
  } finally {
    for (const program of running) await program.kill();
  }
}

/** A Redis that loses nothing when it is killed. */
function redisOn(port: number, data: string): Program {
  const durable = ["--dir", data, "--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  return new Program(port, ["redis-server", "--port", String(port), "--bind", "127.0.0.1", ...durable]);
}

/** Installs the S3 server into a folder. It is started by its own file: npx would be killed in its place. */
function installed(folder: string): string {
  const npm = ["install", "--no-audit", "--no-fund", "--prefix", folder, "s3rver@3.7.1"];
  try {
    execFileSync("npm", npm, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    throw new MissingProgramError(
      `Cannot run the scale test without npm's s3rver: ${(error as Error).message}`,
    );
  }
  return join(folder, "node_modules/s3rver/bin/s3rver.js");
}

async function main(): Promise<void> {
  needProgram("haproxy", "apt-get install haproxy");
  needProgram("redis-server", "apt-get install redis-server");
  needProgram("node", "install Node and npm");
  Object.assign(process.env, keys);
  const data = await mkdtemp(join(tmpdir(), "fourierft-scale-"));
  try {
    const s3rver = installed(data);
    await withTinyModel(async (folder) => {
      const model = join(folder, "base"), cases = await goldens(model), config = await writeTenants(data);
      const s3 = await freePort(), port = await freePort();
      const bucket = [
        "-d",
        join(data, "s3"),
        "-a",
        "127.0.0.1",
        "-p",
        String(s3),
        "--configure-bucket",
        "adapters",
      ];
      const redis = redisOn(port, data), redisUrl = `redis://127.0.0.1:${port}/1`;
      await phase("S3", {
        ...{ model, config, cases, redis, redisUrl },
        url: `s3://adapters?endpoint=http://127.0.0.1:${s3}`,
        store: new Program(s3, ["node", s3rver, ...bucket]),
      });
      await phase("Redis", {
        ...{ model, config, cases, redis, redisUrl },
        url: `redis://127.0.0.1:${port}/0`,
        store: redis,
      });
      await sharing({ model, config, cases, redis, redisUrl }, join(data, "store"));
    });
  } finally {
    await rm(data, { recursive: true, force: true });
  }
  console.log("3 passed, 0 failed");
}

try {
  await main();
} catch (error) {
  console.error(error instanceof MissingProgramError ? error.message : error);
  console.log("0 passed, 1 failed");
  process.exit(1);
}
process.exit(0);
