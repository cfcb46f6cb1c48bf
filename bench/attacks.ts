/**
 * The costs of one careless or hostile client for the others: memory, stalls, refusals. The server is the bench's own, on
 * loopback.
 * `deno task bench:attacks [--bun] [ATTACK...]`; Linux, since memory is read from /proc.
 *
 * Every attack starts a fresh server of the demo model on the CPU. While it goes on, another client asks for /health
 * every few milliseconds and reads a stream; the table shows the longest that either waited.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const model = "examples/demo/base";
const adapter = "examples/demo/adapters/fourierft-kjv-qv";

interface Server {
  readonly port: number;
  readonly url: string;
  readonly startMs: number;
  /** Resident bytes now, and at the most so far. */
  memory(): Promise<{ readonly now: number; readonly most: number }>;
  stop(): Promise<void>;
}

const args = process.argv.slice(2);
const onBun = args.includes("--bun");
const wanted = args.filter((arg) => !arg.startsWith("--"));

function command(flags: readonly string[]): string[] {
  const script = ["src/cli/main.ts", "serve", "--model", model, "--port", "0", "--device", "cpu", ...flags];
  return onBun
    ? ["npx", "--yes", "bun", ...script]
    : [process.execPath, "run", "-A", "--unstable-no-legacy-abort", ...script];
}

async function start(flags: readonly string[] = []): Promise<Server> {
  const begin = performance.now();
  const [program, ...rest] = command(flags);
  const child = spawn(program, rest, { stdio: ["ignore", "ignore", "pipe"] });
  let told = "";
  const port = await new Promise<number>((resolve, reject) => {
    child.on("exit", () => reject(new Error(`the server ended: ${told}`)));
    child.stderr.on("data", (bytes: Uint8Array) => {
      told += new TextDecoder().decode(bytes);
      const found = /listening on \S+:(\d+)/.exec(told);
      if (found) resolve(Number(found[1]));
    });
  });
  const startMs = performance.now() - begin;
  const field = (text: string, name: string): number =>
    1024 * Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text)![1]);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    startMs,
    async memory() {
      const text = await readFile(`/proc/${child.pid}/status`, "utf8");
      return { now: field(text, "VmRSS"), most: field(text, "VmHWM") };
    },
    async stop() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function post(url: string, path: string, body: BodyInit, signal?: AbortSignal): Promise<Response> {
  return fetch(url + path, { method: "POST", body, signal, headers: { "content-type": "application/json" } });
}

interface Watch {
  /** Milliseconds: the slowest /health, and the longest between two events of a stream. */
  stop(): Promise<{ readonly health: number; readonly stream: number }>;
}

/** Another client: asks for /health again and again, and reads one stream after the other. */
function watch({ url }: Server): Watch {
  let going = true;
  let health = 0, stream = 0;
  const asking = (async () => {
    while (going) {
      const begin = performance.now();
      await (await fetch(`${url}/health`)).text();
      health = Math.max(health, performance.now() - begin);
      await pause(5);
    }
  })();
  const reading = (async () => {
    while (going) {
      const body = JSON.stringify({
        model: "base",
        prompt: "The",
        max_tokens: 400,
        temperature: 1,
        seed: 1,
        ignore_eos: false,
        stream: true,
      });
      const response = await post(url, "/v1/completions", body);
      let last = performance.now();
      for await (const _ of response.body!) {
        stream = Math.max(stream, performance.now() - last);
        last = performance.now();
        if (!going) break;
      }
    }
  })();
  return {
    async stop() {
      going = false;
      await Promise.all([asking, reading]);
      return { health, stream };
    },
  };
}

type Row = Readonly<Record<string, string | number>>;

const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);

/** Bodies of 4 MB, each of another kind. */
function bodies(): ReadonlyMap<string, string> {
  const size = 4 * 2 ** 20 - 200;
  const many = (one: string): string =>
    Array.from({ length: Math.floor(size / (one.length + 1)) }, () => one).join();
  const part = '{"type":"text","text":"a"}';
  return new Map([
    ["messages [{},{},...]", `{"model":"base","messages":[${many("{}")}]}`],
    ["one text of words", JSON.stringify({ model: "base", prompt: "the king ".repeat(size / 9) })],
    ["one word", JSON.stringify({ model: "base", prompt: "a".repeat(size) })],
    [
      "a chat of one text",
      JSON.stringify({ model: "base", messages: [{ role: "user", content: "é".repeat(size / 2) }] }),
    ],
    ["token ids", `{"model":"base","prompt":[${many("7")}]}`],
    ["lists of token ids", `{"model":"base","prompt":[${many("[7]")}]}`],
    ["texts", `{"model":"base","prompt":[${many('"a"')}]}`],
    ["content parts", `{"model":"base","messages":[{"role":"user","content":[${many(part)}]}]}`],
    ["nested lists", `{"model":"base","prompt":${"[".repeat(size / 2)}${"]".repeat(size / 2)}}`],
    ["many fields", `{"model":"base",${Array.from({ length: size / 14 }, (_, i) => `"f${i}":0`).join()}}`],
  ]);
}

async function bigBodies(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, body] of bodies()) {
    const server = await start();
    const before = await server.memory();
    const others = watch(server);
    await pause(500);
    const begin = performance.now();
    const { status } = await post(
      server.url,
      "/v1/" + (body.includes('"messages"') ? "chat/" : "") + "completions",
      body,
    )
      .then(async (response) => ({ status: (await response.text(), response.status) }));
    const ms = Math.round(performance.now() - begin);
    await pause(300);
    const { health, stream } = await others.stop();
    rows.push({
      body: name,
      status,
      "answered ms": ms,
      "slowest /health ms": Math.round(health),
      "longest wait in a stream ms": Math.round(stream),
      "more memory MiB": mib((await server.memory()).most - before.most),
    });
    await server.stop();
  }
  return rows;
}

/** Connections that announce a body of 4 MB and send it a byte a segment. */
async function slowBytes(): Promise<Row[]> {
  const server = await start();
  await (await fetch(`${server.url}/health`)).text();
  const before = await server.memory();
  const connections = 20, each = 1600;
  const sockets = await Promise.all(Array.from({ length: connections }, async () => {
    const socket = connect({ port: server.port, host: "127.0.0.1", noDelay: true });
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.on("error", () => {});
    socket.write(`POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${4 * 2 ** 20 - 1}\r\n\r\n`);
    return socket;
  }));
  for (let i = 0; i < each; i++) {
    for (const socket of sockets) socket.write("a");
    if (i % 4 === 0) await pause(1);
  }
  await pause(500);
  const after = await server.memory();
  sockets.forEach((socket) => socket.destroy());
  await server.stop();
  const sent = connections * (each + 80);
  return [{
    connections,
    "bytes sent": sent,
    "more memory MiB": mib(after.now - before.now),
    "memory a byte": Math.round((after.now - before.now) / sent),
  }];
}

/** Requests whose clients leave at once, and how long the next one waits. */
async function aborted(): Promise<Row[]> {
  const server = await start(["--adapters", "examples/demo/adapters"]);
  const body = JSON.stringify({
    model: "fourierft-kjv",
    prompt: "The king",
    max_tokens: 400,
    temperature: 0,
  });
  for (let i = 0; i < 200; i++) {
    const leaving = new AbortController();
    const answer = post(server.url, "/v1/completions", body, leaving.signal).catch(() => {});
    await pause(2);
    leaving.abort();
    await answer;
  }
  const begin = performance.now();
  const one = JSON.stringify({ model: "fourierft-kjv", prompt: "The king", max_tokens: 1, temperature: 0 });
  const { status } = await post(server.url, "/v1/completions", one);
  const ms = Math.round(performance.now() - begin);
  await server.stop();
  return [{ aborted: 200, status, "next request ms": ms }];
}

async function withAdapters<T>(count: number, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-attack-"));
  try {
    for (let i = 0; i < count; i++) await cp(adapter, join(folder, `adapter-${i}`), { recursive: true });
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** More adapters asked for at once than there are slots. */
async function manyAdapters(): Promise<Row[]> {
  return await withAdapters(300, async (folder) => {
    // Equal files are one adapter on the device: each gets a scaling of its own.
    const { writeFile } = await import("node:fs/promises");
    for (let i = 0; i < 300; i++) {
      const path = join(folder, `adapter-${i}`, "adapter_config.json");
      const config = JSON.parse(await readFile(path, "utf8"));
      await writeFile(path, JSON.stringify({ ...config, scaling: config.scaling + i / 1000 }));
    }
    const server = await start(["--adapters", folder]);
    const begin = performance.now();
    const statuses = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
      const body = JSON.stringify({
        model: `adapter-${i}`,
        prompt: "The king",
        max_tokens: 8,
        temperature: 0,
      });
      const response = await post(server.url, "/v1/completions", body);
      await response.text();
      return response.status;
    }));
    const ms = Math.round(performance.now() - begin);
    await server.stop();
    return [{
      requests: 300,
      answered: statuses.filter((status) => status === 200).length,
      refused: statuses.filter((status) => status === 429).length,
      ms,
    }];
  });
}

/** A folder of ten thousand adapters: start, and lists. */
async function manyListed(): Promise<Row[]> {
  return await withAdapters(10_000, async (folder) => {
    const server = await start(["--adapters", folder]);
    const list = async (): Promise<number> => {
      const begin = performance.now();
      await (await fetch(`${server.url}/v1/models`)).text();
      return Math.round(performance.now() - begin);
    };
    const first = await list(), second = await list();
    const begin = performance.now();
    await Promise.all(Array.from({ length: 20 }, list));
    const twenty = Math.round(performance.now() - begin);
    await server.stop();
    return [{
      adapters: 10_000,
      "start ms": Math.round(server.startMs),
      "first list ms": first,
      "list ms": second,
      "twenty at once ms": twenty,
    }];
  });
}

/** Four bodies of 200 MiB to /apply at once. */
async function bigTensors(): Promise<Row[]> {
  const server = await start(["--adapters", "examples/demo/adapters"]);
  const before = await server.memory();
  const others = watch(server);
  const rows = 200_000,
    header = new TextEncoder().encode(
      JSON.stringify({ x: { dtype: "F32", shape: [rows, 256], data_offsets: [0, rows * 1024] } }).padEnd(128),
    );
  const body = new Uint8Array(8 + header.length + rows * 1024);
  new DataView(body.buffer).setBigUint64(0, BigInt(header.length), true);
  body.set(header, 8);
  const path = "/v1/adapters/fourierft-kjv/apply?module=model.layers.0.self_attn.q_proj";
  const statuses = await Promise.all(Array.from({ length: 4 }, async () => {
    const response = await post(server.url, path, body);
    await response.arrayBuffer();
    return response.status;
  }));
  const { health, stream } = await others.stop();
  const row = {
    bodies: 4,
    statuses: statuses.join(" "),
    "slowest /health ms": Math.round(health),
    "longest wait in a stream ms": Math.round(stream),
    "more memory MiB": mib((await server.memory()).most - before.most),
  };
  await server.stop();
  return [row];
}

const attacks: Readonly<Record<string, () => Promise<Row[]>>> = {
  "slow-bytes": slowBytes,
  bodies: bigBodies,
  aborts: aborted,
  adapters: manyAdapters,
  lists: manyListed,
  tensors: bigTensors,
};

for (const [name, attack] of Object.entries(attacks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n${name}`);
  const rows = await attack().catch((error: Error) => [{ failed: error.message }]);
  const heads = Object.keys(rows[0]);
  console.log(`| ${heads.join(" | ")} |\n|${heads.map(() => " --- ").join("|")}|`);
  for (const row of rows) console.log(`| ${Object.values(row).join(" | ")} |`);
}
