import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const model = join(root, "examples/demo/base");

/** A server process; its lines on standard error can be waited for. */
interface Server {
  readonly child: ChildProcess;
  readonly address: string;
  /** Everything it has said. */
  said(): string;
  /** Resolves when it has said something that matches. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  readonly exit: Promise<number | null>;
}

async function serve(...args: string[]): Promise<Server> {
  const main = "src/cli/main.ts";
  const command = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-no-legacy-abort", main]
    : [main];
  const given = ["serve", "--model", model, "--name", "demo", "--device", "cpu", "--port", "0", ...args];
  const child = spawn(process.execPath, [...command, ...given], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  let text = "", look = (): void => {};
  child.stderr!.on("data", (data) => {
    text += data;
    look();
  });
  const line = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      look = () => {
        const found = pattern.exec(text);
        if (found) resolve(found);
      };
      look();
      exit.then((code) => reject(new Error(`the server ended with ${code}: ${text}`)));
    });
  const [, address] = await line(/listening on (http:\/\/[\d.]+:\d+)["\n]/);
  return { child, address, said: () => text, line, exit };
}

/** Runs `body` with a server, which is killed where it has not ended by then. */
async function withServer(args: readonly string[], body: (server: Server) => Promise<void>): Promise<void> {
  const server = await serve(...args);
  try {
    await body(server);
  } finally {
    if (server.child.exitCode === null) process.kill(server.child.pid!, "SIGKILL");
    await server.exit;
  }
}

// Not child.kill: Deno then reports the signal it sent, however the child ended.
function signal({ child }: Server, name: "SIGTERM" | "SIGINT"): void {
  process.kill(child.pid!, name);
}

function ask({ address }: Server, body: Record<string, unknown>): Promise<Response> {
  return fetch(`${address}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "demo", prompt: "The", ...body }),
  });
}

/** More than a CPU does in any test's time: 512 sequences to the context's end. */
const endless = { n: 128, max_tokens: 500, prompt: new Array(4).fill("The"), ignore_eos: true };

/** The text of a body whose first chunk has come, to its end. */
async function begun(response: Response): Promise<{ readonly rest: Promise<string> }> {
  assert.equal(response.status, 200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value ?? "";
  const rest = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text;
      text += value;
    }
  })();
  return { rest };
}

test("fourierft serve answers an encoder's routes, and refuses a model of images", async () => {
  const families = join(root, "test/fixtures/families");
  const folders = [
    "--model",
    join(families, "roberta/base"),
    "--adapters",
    join(families, "roberta/adapters"),
  ];
  await withServer(folders, async ({ address, line }) => {
    await line(/model: demo, 128 tokens; adapters: fourierft, fourierft-dense, lora\n/);
    const ask = (path: string, body: object) =>
      fetch(`${address}${path}`, { method: "POST", body: JSON.stringify({ input: "The king", ...body }) });
    const { data: [embedded] } = await (await ask("/v1/embeddings", { model: "demo" })).json();
    assert.equal(embedded.embedding.length, 48);
    const { data: [classified] } = await (await ask("/classify", { model: "lora" })).json();
    assert.equal(classified.num_classes, 3);
    assert.equal((await ask("/v1/completions", { model: "demo" })).status, 400);
  });
  await assert.rejects(serve("--model", join(families, "vit/base")), /no route takes images/);
});

test("fourierft serve tells the numbers of an adapter's pictures, by the shapes of its model's linears", async () => {
  await withServer(["--adapters", join(root, "examples/demo/adapters")], async ({ address }) => {
    const ask = async (path: string) => {
      const response = await fetch(`${address}/v1/adapters/fourierft-kjv/${path}`);
      assert.equal(response.status, 200, path);
      return await response.json();
    };
    const down = "model.layers.0.mlp.down_proj";
    const { shape, spectrum } = await ask(`picture?module=${down}`);
    assert.deepEqual([shape, spectrum.total], [[256, 768], 1000]);
    const { data, left_out } = await ask("norms");
    assert.deepEqual([data.length, left_out], [56, 0]);
  });
});

test("serve says 503 on /ready while it drains, lets a stream end, and exits with 0", async () => {
  await withServer(["--drain-seconds", "60"], async (server) => {
    const stream = await begun(await ask(server, { stream: true, n: 32, max_tokens: 200, temperature: 0 }));
    signal(server, "SIGTERM");
    await server.line(/stopping within 60 s, open requests: 1/);
    const ready = await fetch(`${server.address}/ready`);
    assert.equal(ready.status, 503);
    await ready.text();
    const health = await fetch(`${server.address}/health`);
    assert.equal(health.status, 200);
    await health.text();
    const refused = await ask(server, {});
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get("retry-after"), "5");
    assert.equal((await refused.json() as { error: { code: string } }).error.code, "not_ready");
    const text = await stream.rest;
    assert.ok(text.endsWith("data: [DONE]\n\n"), text.slice(-200));
    assert.equal(await server.exit, 0, server.said());
  });
});

test("serve ends a stream by an error event at the deadline, and exits with 1", async () => {
  await withServer(["--drain-seconds", "1"], async (server) => {
    const stream = await begun(await ask(server, { ...endless, stream: true }));
    signal(server, "SIGTERM");
    const last = (await stream.rest).split("\n\n").at(-2)!;
    assert.match(last, /^data: \{"error":\{"message":"Cannot finish this request: the server has stopped"/);
    assert.equal(await server.exit, 1, server.said());
    assert.match(server.said(), /stopped; requests cut: 1/);
  });
});

test("serve ends at once by a second signal, with exit code 1", async () => {
  await withServer(["--drain-seconds", "600"], async (server) => {
    const stream = await begun(await ask(server, { ...endless, stream: true }));
    // The connection breaks.
    stream.rest.catch(() => {});
    signal(server, "SIGTERM");
    await server.line(/a second signal ends at once/);
    signal(server, "SIGINT");
    assert.equal(await server.exit, 1);
  });
});

/** A connection that has sent the head of a request which announces `bytes`. */
function announce({ address }: Server, bytes: number): Promise<Socket> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.setNoDelay(true);
      socket.write(`POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

/** What a socket receives until its text matches. */
function received(socket: Socket, pattern: RegExp): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    socket.on("data", (data) => {
      text += data;
      if (pattern.test(text)) resolve(text);
    });
    socket.once("close", () => reject(new Error(`the connection ended: ${text}`)));
    socket.resume();
  });
}

test("serve reads bodies that come a byte a segment, from twenty connections at once", async () => {
  await withServer([], async (server) => {
    const body = '{"model":"demo","prompt":"The","max_tokens":1}';
    const sockets = await Promise.all(Array.from({ length: 20 }, () => announce(server, body.length)));
    const answers = sockets.map((socket) => received(socket, /"usage"/));
    for (const byte of body) {
      await Promise.all(sockets.map((socket) => new Promise((sent) => socket.write(byte, () => sent(null)))));
    }
    for (const answer of answers) assert.match(await answer, /^HTTP\/1.1 200/);
    for (const socket of sockets) socket.destroy();
  });
});

test("serve answers 408 to a body that does not come, and says nothing of one that breaks off", async () => {
  await withServer(["--body-seconds", "1"], async (server) => {
    const broken = await announce(server, 100);
    await new Promise((sent) => broken.end("{", () => sent(null)));
    const slow = await announce(server, 100);
    slow.write("{");
    assert.match(await received(slow, /body_too_slow/), /^HTTP\/1.1 408/);
    slow.destroy();
    broken.destroy();
    signal(server, "SIGTERM");
    assert.equal(await server.exit, 0);
    assert.doesNotMatch(server.said(), /at .*\.ts|Error/);
  });
});

test("serve says how an adapter of the model's name is asked for, and answers so", async () => {
  await withServer(["--adapter", "demo=examples/demo/adapters/fourierft-kjv"], async (server) => {
    assert.match(
      server.said(),
      /adapter "demo" has the model's name: "demo:demo" asks/,
    );
    const textOf = async (model: string): Promise<string> => {
      const answer = await ask(server, { model, prompt: "The king", max_tokens: 4, temperature: 0 });
      return (await answer.json()).choices[0].text;
    };
    assert.equal(await textOf("demo"), ": English writer");
    assert.equal(await textOf("demo:demo"), " of the son of");
  });
});

test("serve follows --cors, --allowed-hosts and the limits of its command line", async () => {
  const args = ["--cors", "https://a.example,https://b.example", "--cors", "https://c.example"];
  await withServer([...args, "--allowed-hosts", "127.0.0.1", "--max-body-bytes", "100"], async (server) => {
    for (const origin of ["https://b.example", "https://c.example"]) {
      const preflight = await fetch(`${server.address}/v1/completions`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST" },
      });
      assert.equal(preflight.status, 204);
      assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
    }
    const large = await ask(server, { prompt: "a".repeat(100) });
    assert.equal(large.status, 413);
    await large.text();
    const { hostname, port } = new URL(server.address);
    const socket = connect(Number(port), hostname);
    socket.write("GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert.match(await received(socket, /allowed hosts/), /^HTTP\/1.1 403/);
    socket.destroy();
  });
});

test("serve --config takes tenants from its file, again at SIGHUP and when it changes, and prints no token", async () => {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-serve-"));
  const path = join(folder, "serve.yaml");
  const write = (...tenants: object[]) =>
    writeFile(path, JSON.stringify({ "log-format": "json", "access-log": true, tenants }));
  const tokens = ["first-token-123456", "second-token-123456"];
  const tenant = (id: string, token: string) => ({ id, tokens: [token] });
  try {
    await write(tenant("one", tokens[0]));
    await withServer(["--config", path], async (server) => {
      const status = async (token: string) => {
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(`${server.address}/v1/models`, { headers });
        await response.body?.cancel();
        return response.status;
      };
      assert.deepEqual([await status(tokens[0]), await status(tokens[1])], [200, 401]);
      await write(tenant("one", tokens[0]), tenant("two", tokens[1]));
      process.kill(server.child.pid!, "SIGHUP");
      await server.line(/read .*serve.yaml again, tenants: 2"/);
      assert.equal(await status(tokens[1]), 200);
      await writeFile(path, "tenants: [{");
      await server.line(/the tenants stay as they were: .* as YAML or JSON/);
      assert.deepEqual([await status(tokens[0]), await status(tokens[1])], [200, 200]);
      await write(tenant("two", tokens[1]));
      await server.line(/read .*serve.yaml again, tenants: 1"/);
      assert.deepEqual([await status(tokens[0]), await status(tokens[1])], [401, 200]);
      await server.line(/"tenant":"two"/);
      for (const token of tokens) assert.ok(!server.said().includes(token));
      for (const line of server.said().trimEnd().split("\n")) JSON.parse(line);
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
