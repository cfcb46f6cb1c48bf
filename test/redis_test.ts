/**
 * Servers that share quotas and changes by a Redis: one of the tests' own, and the machine's where it has one.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type AdapterChange, ConfigError, StoreError } from "../mod.ts";
import { openObjectStore, openPeers, type Peers } from "../src/runtime/mod.ts";
import { RedisCounts } from "../src/runtime/redis/counts.ts";
import type { Link } from "../src/runtime/redis/link.ts";
import { createApp, Quota, Tenants } from "../src/server/mod.ts";
import { FakeRedis, realRedis, type TestRedis } from "./fake_redis.ts";
import { fakeAdapters } from "./server_fakes.ts";
import { until, untilEqual } from "./until.ts";

const real = await realRedis();
after(() => real?.kill());

const opened: Peers[] = [];
after(() => Promise.all(opened.map((peers) => peers.close())));

const silent = (): void => {};

/** So long that a busy machine's answers come: where a test wants none, Redis is away. */
const timeoutSeconds = 600;

async function peersOf(
  { url }: TestRedis,
  options: { readonly log?: (line: string) => void; readonly timeoutSeconds?: number } = {},
): Promise<Peers> {
  const peers = await openPeers(url, { log: silent, timeoutSeconds, ...options });
  opened.push(peers);
  await until(() => peers.stats().isUp);
  return peers;
}

async function fake(): Promise<FakeRedis> {
  const redis = new FakeRedis();
  await redis.start();
  after(() => redis.stop());
  return redis;
}

let database = 1;

/** Runs a test on each Redis there is, in a database of its own. */
function onEach(name: string, run: (redis: TestRedis) => Promise<void>): void {
  test(`${name}, as the tests' Redis has it`, async () => await run(await fake()));
  test(`${name}, by Redis`, { skip: real ? false : "no redis-server" }, async () => {
    const url = real!.url.replace(/\d+$/, String(database++));
    await run({ ...real!, url });
  });
}

onEach("servers let in as many requests of a tenant together as its quota has", async (redis) => {
  const servers = [await peersOf(redis), await peersOf(redis), await peersOf(redis)];
  const begin = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => servers[i % 3].counts.take("many", { requestsPerMinute: 7 })),
  );
  const minutes = (performance.now() - begin) / 60_000;
  const admitted = answers.filter((answer) => answer!.usedUp === undefined).length;
  assert.ok(admitted >= 7 && admitted <= 7 + 7 * minutes, String(admitted));
  for (const { usedUp, waitMs } of answers as { usedUp?: string; waitMs: number }[]) {
    if (usedUp === undefined) continue;
    assert.equal(usedUp, "requestsPerMinute");
    assert.ok(waitMs > 0 && waitMs <= Math.ceil(60_000 / 7));
  }
});

onEach("tokens that one server used are used up for another", async (redis) => {
  const [a, b] = [await peersOf(redis), await peersOf(redis)];
  const limits = { tokensPerMinute: 10, requestsPerMinute: 1e6 };
  assert.equal((await a.counts.take("tokens", limits))!.usedUp, undefined);
  // As many as no test waits for.
  for (let i = 0; i < 100; i++) assert.ok(a.counts.use("tokens", limits, 1000));
  await untilEqual(async () => (await b.counts.take("tokens", limits))!.usedUp, "tokensPerMinute");
  // Given back.
  assert.ok(b.counts.use("tokens", limits, -200_000));
  await untilEqual(async () => (await a.counts.take("tokens", limits))!.usedUp, undefined);
});

onEach(
  "a server without Redis grants its part of a quota, and the whole together when Redis is back",
  async (redis) => {
    const lines: string[] = [];
    const servers = [await peersOf(redis, { log: (line) => lines.push(line) }), await peersOf(redis)];
    await until(() => servers.every(({ stats }) => stats().servers >= 2));
    const [{ counts, stats }] = servers, now = 0;
    const parts = stats().servers;
    const shared = { servers: parts, take: counts.take.bind(counts), use: counts.use.bind(counts) };
    const quota = new Quota(() => now, { counts: shared, tenant: "alone" });
    quota.limit({ requestsPerMinute: 2 * parts });
    await redis.stop();
    await until(() => !stats().isUp);
    for (let i = 0; i < 2; i++) (await quota.ask()).end();
    await assert.rejects(quota.ask(), /requestsPerMinute are used up/);
    assert.equal(quota.open, 0);
    assert.ok(stats().alone >= 3);
    assert.match(lines[0], /this server grants a part in \d of each quota/);
    assert.equal(lines.length, 1);
    assert.equal(counts.use("alone", { tokensPerMinute: 1 }, 1), false);
    await redis.start();
    await until(() => stats().isUp);
    assert.match(lines[1], /answers again/);
    for (let i = 0; i < 2 * parts; i++) (await quota.ask()).end();
  },
);

test("a Redis that does not answer is waited for once, and then not asked", async () => {
  const redis = await fake();
  const { counts, stats } = await peersOf(redis, { timeoutSeconds: 0.01 });
  redis.isSilent = true;
  await untilEqual(async () => await counts.take("t", { requestsPerMinute: 1 }), undefined);
  assert.equal(stats().isUp, false);
  const asks = (): number => redis.asked.filter((name) => name.startsWith("eval")).length;
  const asked = asks();
  const answers = Array.from({ length: 50 }, () => counts.take("t", { requestsPerMinute: 1 }));
  assert.deepEqual(new Set(await Promise.all(answers)), new Set([undefined]));
  assert.ok(asks() < asked + 50, "looks alone ask");
  redis.isSilent = false;
  await until(() => stats().isUp);
});

test("a Redis that answers later than a call may wait is not there, and is asked by the same connection", async () => {
  const redis = await fake(), lines: string[] = [];
  let answer = (): void => {};
  redis.late = { command: "eval", until: new Promise((resolve) => answer = resolve) };
  const log = (line: string): void => void (lines.push(line), answer());
  await peersOf(redis, { log, timeoutSeconds: 0.01 });
  assert.match(lines[0], /^Redis does not answer: .*: no answer in 10 ms$/);
  assert.equal(redis.asked.filter((name) => name === "info").length, 1);
});

onEach(
  "servers hear of changes that others tell, those of an outage too, and not of their own",
  async (redis) => {
    const [a, b] = [await peersOf(redis), await peersOf(redis)];
    const heard: AdapterChange[] = [], own: AdapterChange[] = [];
    await b.listen((change) => Promise.resolve(void heard.push(change)));
    await a.listen((change) => Promise.resolve(void own.push(change)));
    const changes: AdapterChange[] = [
      { kind: "loaded", name: "x", source: "y" },
      { kind: "published", name: "z" },
      { kind: "unloaded", name: "x" },
    ];
    for (const change of changes) a.tell(change);
    await until(() => heard.length === changes.length);
    await redis.stop();
    await until(() => !a.stats().isUp);
    a.tell({ kind: "unloaded", name: "last" });
    await redis.start();
    await until(() => heard.length > changes.length);
    assert.deepEqual(heard, [...changes, { kind: "unloaded", name: "last" }]);
    b.tell({ kind: "published", name: "end" });
    await until(() => own.length > 0);
    assert.deepEqual(own, [{ kind: "published", name: "end" }]);
  },
);

onEach("servers whose operators change one name at once end with one adapter", async (redis) => {
  const servers = await Promise.all(["a", "b", "c"].map(async () => {
    const state = new Map<string, string>(), peers = await peersOf(redis);
    const make = (change: AdapterChange): void => {
      if (change.kind === "loaded") state.set(change.name, change.source);
    };
    await peers.listen((change) => Promise.resolve(make(change)));
    return { state, peers, change: (one: AdapterChange) => (make(one), peers.tell(one)) };
  }));
  for (let round = 0; round < 20; round++) {
    for (const [i, { change }] of servers.entries()) {
      change({ kind: "loaded", name: "one", source: `${i}-${round}` });
    }
    if (round % 5 === 0) await Promise.all(servers.map(({ peers }) => peers.told()));
  }
  // Whoever reads these has read all before.
  for (const [i, { change }] of servers.entries()) change({ kind: "loaded", name: `end-${i}`, source: "e" });
  await until(() => servers.every(({ state }) => [0, 1, 2].every((i) => state.has(`end-${i}`))));
  const [first, ...others] = servers.map(({ state }) => state.get("one"));
  assert.deepEqual(others, [first, first]);
});

test("servers end with one adapter though a change was sent twice, for Redis answered late", async () => {
  const redis = await fake();
  const servers = await Promise.all([0.01, timeoutSeconds, timeoutSeconds].map(async (seconds) => {
    const state = new Map<string, string>(), peers = await peersOf(redis, { timeoutSeconds: seconds });
    const make = (change: AdapterChange): void => {
      if (change.kind === "loaded") state.set(change.name, change.source);
    };
    await peers.listen((change) => Promise.resolve(make(change)));
    return { state, peers };
  }));
  const [{ peers: late, state }, { peers: other }, { peers: last }] = servers;
  const change = (peers: Peers, of: typeof state, source: string): void => {
    of.set("one", source);
    peers.tell({ kind: "loaded", name: "one", source });
  };
  const sources = (): (string | undefined)[] => redis.entries.map(([, fields]) => fields.at(-1));
  let answer = (): void => {};
  redis.late = { command: "xadd", until: new Promise((resolve) => answer = resolve) };
  change(late, state, "twice");
  await until(() => sources().includes("twice"));
  change(other, servers[1].state, "between");
  await until(() => sources().includes("between"));
  await until(() => sources().lastIndexOf("twice") > sources().indexOf("between"));
  answer();
  await untilEqual(() => late.told(), true);
  last.tell({ kind: "loaded", name: "end", source: "e" });
  await until(() => servers.every(({ state }) => state.has("end") || state === servers[2].state));
  assert.deepEqual(servers.map(({ state }) => state.get("one")), ["twice", "twice", "twice"]);
});

test("a change that Redis lost hides no later change of the name", async () => {
  const redis = await fake(), heard: string[] = [];
  const [a, b] = [await peersOf(redis), await peersOf(redis)];
  await a.listen((change) => Promise.resolve(void heard.push(`${change.kind} ${change.name}`)));
  redis.loses = true;
  a.tell({ kind: "loaded", name: "x", source: "y" });
  await untilEqual(() => a.told(), true);
  redis.loses = false;
  b.tell({ kind: "unloaded", name: "x" });
  b.tell({ kind: "published", name: "end" });
  await until(() => heard.includes("published end"));
  assert.deepEqual(heard, ["unloaded x", "published end"]);
});

test("used tokens are sent until Redis answers, given ones once, and the rest when the server ends", async () => {
  const sent: unknown[] = [];
  const commands = { countUse: (...args: unknown[]) => Promise.resolve(void sent.push(args[3])) };
  const link = {
    ...{ isUp: true, servers: 1, onUp: () => {} },
    call: async (work: (redis: typeof commands) => Promise<void>) => await work(commands),
  };
  const counts = new RedisCounts(link as unknown as Link), limits = { tokensPerMinute: 5 };
  for (const tokens of [-7, 7]) {
    counts.use("t", limits, tokens);
    for (let i = 0; i < 2; i++) await counts.close();
  }
  assert.deepEqual(sent, [-7, 7, 7]);
  link.isUp = false;
  await counts.close();
  link.isUp = true;
  await counts.close();
  assert.deepEqual(sent, [-7, 7, 7, 7]);
});

test("a change that nobody understands, or that cannot be followed, is told in the log and passed over", async () => {
  const redis = await fake(), lines: string[] = [], heard: string[] = [];
  const { listen } = await peersOf(redis, { log: (line) => lines.push(line) });
  await listen(({ name }) => {
    heard.push(name);
    return name === "bad" ? Promise.reject(new Error("no room")) : Promise.resolve();
  });
  const other = await peersOf(redis);
  other.tell({ kind: "loaded", name: "../x", source: "y" });
  other.tell({ kind: "unloaded", name: "bad" });
  other.tell({ kind: "published", name: "good" });
  await until(() => heard.includes("good"));
  assert.deepEqual(heard, ["bad", "good"]);
  assert.deepEqual(lines.slice(0, 2), [
    "a change of another server is passed over: nobody here knows its kind",
    'adapter "bad" stays as it was, though another server told: no room',
  ]);
});

test("createApp() refuses by shared counts, and its metrics tell of other servers", async () => {
  const redis = await fake(), token = "token-of-the-tenant";
  const apps = await Promise.all([0, 1].map(async () => {
    const { counts, stats } = await peersOf(redis);
    const tenants = new Tenants([{ id: "t", tokens: [token], requestsPerMinute: 3 }], { counts });
    return createApp({ adapters: fakeAdapters(), auth: { tenants }, peers: stats });
  }));
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) {
    const path = "/v1/adapters/a/delta?module=m&shape=2x2";
    const response = await apps[i % 2].request(path, { headers: { authorization: `Bearer ${token}` } });
    statuses.push(response.status);
    await response.arrayBuffer();
  }
  assert.deepEqual(statuses.map((status) => status === 429), [false, false, false, true]);
  const text = async (): Promise<string> => await (await apps[1].request("/metrics")).text();
  await untilEqual(async () => /^fourierft:quota_servers 2$/m.test(await text()), true);
  assert.match(await text(), /^fourierft:redis_up 1$/m);
  assert.match(await text(), /^fourierft:quota_alone_total 0$/m);
});

onEach("openPeers() refuses a database that Redis has not", async ({ url }) => {
  await assert.rejects(
    openPeers(url.replace(/\d+$/, "16"), { timeoutSeconds }),
    /^ConfigError: Cannot use Redis: it refuses the connection: ERR DB index is out of range$/,
  );
});

test("openPeers() refuses a password that Redis refuses, and sends nothing by a connection of the wrong database", async () => {
  const redis = await fake(), lines: string[] = [];
  const refused = (url: string, words: RegExp): Promise<void> =>
    assert.rejects(openPeers(url, { log: (line) => lines.push(line), timeoutSeconds }), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.doesNotMatch(error.message, /wrong/);
      return words.test(error.message);
    });
  await refused(redis.url.replace("//", "//:wrong@"), /: WRONGPASS invalid username-password pair$/);
  await refused(redis.url.replace(/\d+$/, "16"), /: ERR DB index is out of range$/);
  assert.deepEqual(lines, []);
  assert.deepEqual(redis.asked.filter((name) => /eval|ping|x/.test(name)), []);
});

test("a store in a database that Redis refuses is asked for nothing", async () => {
  const redis = await fake(), store = await openObjectStore(redis.url.replace(/\d+$/, "16"));
  await assert.rejects(store.open("x"), StoreError);
  assert.ok(redis.asked.includes("select"));
  assert.ok(!redis.asked.includes("get"), "database 0 may be somebody else's");
});

test("openPeers() refuses what is no address of Redis, and starts without a Redis that is away", async () => {
  await assert.rejects(openPeers("http://127.0.0.1:1"), ConfigError);
  await assert.rejects(openPeers("secret-not-a-url"), (error: Error) => !/secret/.test(error.message));
  await assert.rejects(openPeers("redis://:secret@127.0.0.1:1/shop"), /^ConfigError: [^]*must be a number$/);
  const lines: string[] = [];
  const redis = await fake();
  await redis.stop();
  const peers = await openPeers(redis.url, { log: (line) => lines.push(line) });
  opened.push(peers);
  assert.equal(peers.stats().isUp, false);
  assert.match(lines[0], /each quota as if it were alone/);
  await redis.start();
  await until(() => peers.stats().isUp);
});
