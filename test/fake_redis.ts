/**
 * As much of Redis as servers need to share quotas and changes, on loopback; a Redis of the machine, where it has one.
 *
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { quotaScript, serversScript } from "../src/runtime/redis/scripts.ts";
import { freePort } from "./scale/processes.ts";

/** A Redis that a test stops and starts. */
export interface TestRedis {
  readonly url: string;
  /** Connections end, and nobody listens. */
  stop(): Promise<void>;
  /** It listens again; what it had is still there. */
  start(): Promise<void>;
}

type Reply = string | number | null | Error | readonly Reply[];

function written(reply: Reply): string {
  if (reply === null) return "*-1\r\n";
  if (typeof reply === "number") return `:${reply}\r\n`;
  if (reply instanceof Error) return `-${reply.message}\r\n`;
  if (typeof reply === "string") return `$${new TextEncoder().encode(reply).length}\r\n${reply}\r\n`;
  return `*${reply.length}\r\n${reply.map(written).join("")}`;
}

/** The whole commands at a text's beginning, and what is left. Texts of tests are ASCII. */
function commandsOf(text: string): { readonly commands: string[][]; readonly rest: string } {
  const commands: string[][] = [];
  for (let at = 0;;) {
    const command: string[] = [], begin = at;
    const line = (): string | undefined => {
      const end = text.indexOf("\r\n", at);
      if (end < 0) return undefined;
      const found = text.slice(at, end);
      at = end + 2;
      return found;
    };
    const count = Number(line()?.slice(1) ?? NaN);
    for (let i = 0; i < count; i++) {
      const length = Number(line()?.slice(1) ?? NaN);
      if (!(at + length + 2 <= text.length)) return { commands, rest: text.slice(begin) };
      command.push(text.slice(at, at + length));
      at += length + 2;
    }
    if (Number.isNaN(count)) return { commands, rest: text.slice(begin) };
    commands.push(command);
  }
}

/** A Redis in this process. Its buckets do not fill: what is taken stays taken. */
export class FakeRedis implements TestRedis {
  readonly #sockets = new Set<Socket>();
  readonly #used = new Map<string, { requests: number; tokens: number }>();
  readonly #servers = new Set<string>();
  /** Scripts by their SHA-1; one that starts again knows none. */
  readonly #scripts = new Map<string, string>();
  #server: Server | undefined;
  #port = 0;
  #added = (): void => {};
  /** Entries of the stream. */
  readonly entries: [string, string[]][] = [];
  /** Names of all commands. */
  readonly asked: string[] = [];
  /** While true, nothing is answered. */
  isSilent = false;
  /** Answers to a connection that has sent the command wait for the promise. What the connection asks is done. */
  late: { readonly command: string; readonly until: Promise<void> } | undefined;
  readonly #late = new WeakMap<Socket, Promise<void>>();
  /** While true, what is added to the stream is lost. */
  loses = false;
  #ids = 0;

  get url(): string {
    return `redis://127.0.0.1:${this.#port}/1`;
  }

  async start(): Promise<void> {
    const server = this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
      let held = "";
      socket.on("data", (bytes) => {
        const { commands, rest } = commandsOf(held + bytes);
        held = rest;
        for (const command of commands) void this.#answer(socket, command);
      });
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server!.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    this.#scripts.clear();
    this.#added();
    await closed;
  }

  async #answer(socket: Socket, [name, ...args]: string[]): Promise<void> {
    this.asked.push(name.toLowerCase());
    if (this.isSilent) return;
    if (name.toLowerCase() === this.late?.command) this.#late.set(socket, this.late.until);
    const reply = await this.#reply(name.toLowerCase(), args);
    await this.#late.get(socket);
    if (!socket.destroyed) socket.write(written(reply));
  }

  #reply(name: string, args: string[]): Reply | Promise<Reply> {
    if (name === "info") return "redis_version:7.0.0\r\nloading:0\r\n";
    if (name === "evalsha") {
      const script = this.#scripts.get(args[0]);
      return script === undefined
        ? new Error("NOSCRIPT No matching script")
        : this.#eval([script, ...args.slice(1)]);
    }
    if (name === "eval") {
      this.#scripts.set(createHash("sha1").update(args[0]).digest("hex"), args[0]);
      return this.#eval(args);
    }
    if (name === "xrevrange") return this.entries.slice(-1);
    if (name === "xread") return this.#read(args.at(-1)!);
    if (name === "xadd") {
      const id = `${++this.#ids}-0`;
      if (this.loses) return id;
      this.entries.push([id, args.slice(args.indexOf("*") + 1)]);
      this.#added();
      return id;
    }
    if (name === "auth") return new Error("WRONGPASS invalid username-password pair");
    if (name === "select" && Number(args[0]) > 15) return new Error("ERR DB index is out of range");
    if (name === "zrem") return Number(this.#servers.delete(args[1]));
    return "OK";
  }

  #eval([script, , key, ...args]: string[]): Reply {
    if (script === serversScript) return this.#servers.add(args[0]).size;
    if (script !== quotaScript) return new Error("ERR unknown script");
    const [requestsPerMinute, tokensPerMinute, tokens, takes] = args;
    const used = this.#used.get(key) ?? { requests: 0, tokens: 0 };
    this.#used.set(key, used);
    used.tokens += Number(tokens);
    if (takes !== "1") return [0, 0];
    if (tokensPerMinute !== "" && used.tokens + 1 > Number(tokensPerMinute)) return [1, 1000];
    if (requestsPerMinute !== "" && used.requests + 1 > Number(requestsPerMinute)) return [2, 1000];
    used.requests++;
    return [0, 0];
  }

  /** Entries after an id, when there are some; null when the connection's server stops. */
  async #read(after: string): Promise<Reply> {
    const found = (): typeof this.entries => this.entries.filter(([id]) => parseInt(id) > parseInt(after));
    while (found().length === 0 && this.#server!.listening) {
      await new Promise<void>((resolve) => {
        const before = this.#added;
        this.#added = () => (before(), resolve());
      });
    }
    return found().length === 0 ? null : [["fourierft:adapters", found()]];
  }
}

/** The machine's own Redis, in a process that forgets all when it ends; undefined where there is none. */
export async function realRedis(): Promise<(TestRedis & { kill(): void }) | undefined> {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const port = await freePort();
  let child: ChildProcess | undefined;
  const kill = (): void => void child?.kill("SIGKILL");
  const redis = {
    url: `redis://127.0.0.1:${port}/1`,
    kill,
    async start(): Promise<void> {
      const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", ""];
      const own = child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "ignore"] });
      await new Promise<void>((resolve) => {
        own.stdout.on("data", (bytes) => /Ready to accept/.test(String(bytes)) && resolve());
      });
    },
    async stop(): Promise<void> {
      const ended = new Promise((resolve) => child!.once("exit", resolve));
      kill();
      await ended;
    },
  };
  await redis.start();
  return redis;
}
