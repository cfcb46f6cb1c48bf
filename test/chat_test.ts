import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { fetchOf, openRemote } from "../src/cli/chat/client.ts";
import { chatCommands, followCommand, helpLines, samplingOf } from "../src/cli/chat/commands.ts";
import { converse } from "../src/cli/chat/converse.ts";
import { historyFile, openHistory } from "../src/cli/chat/history.ts";
import { Session } from "../src/cli/chat/session.ts";
import { shownText } from "../src/cli/words.ts";
import { createClient } from "../src/client/mod.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { createApp } from "../src/server/mod.ts";
import { root } from "./architecture.ts";
import { demoFolder, demoTokenizer } from "./demo_model.ts";
import { ended } from "./train_process.ts";
import { fakeAdapters, fakeEngine, type Script } from "./server_fakes.ts";
import { until } from "./until.ts";

const tokenizer = await demoTokenizer();
/** Tokens 65 and 66 of the demo's. */
const spoken = tokenizer.decode([65, 66]);
const withoutTemplate = await openTokenizer(demoFolder({ "chat_template.jinja": null }));

/** A session with a server of this process, and the bodies that it sends. */
async function setUp(script: Partial<Script> = {}, served = tokenizer) {
  const engine = fakeEngine({ reply: () => [65, 66], ...script });
  const app = createApp({
    model: { id: "org/m", createdUnixSeconds: 0, engine, tokenizer: served },
    adapters: fakeAdapters(),
  });
  const bodies: Record<string, unknown>[] = [], ask = fetchOf(app);
  const client = createClient({
    baseUrl: "http://localhost",
    fetch: (input, init) => {
      if (typeof init?.body === "string") bodies.push(JSON.parse(init.body));
      return ask(input, init);
    },
  });
  return { session: await Session.open(client), engine, bodies };
}

const quiet = { signal: new AbortController().signal, onText: () => {} };

/** A terminal with a user, or a pipe. */
function streamsOf({ terminal }: { readonly terminal: boolean }) {
  const input = new PassThrough(), output = new PassThrough();
  let text = "";
  output.on("data", (data) => text += data);
  return {
    streams: { input, output, terminal },
    type: (line: string) => input.write(line),
    end: () => input.end(),
    shown: () => text,
    /** Resolves once a text is shown that was not there before. */
    async until(wanted: string) {
      await until(() => text.includes(wanted));
      text = text.slice(text.indexOf(wanted) + wanted.length);
    },
  };
}

const noHistory = { lines: [], add: () => {} };

test("Session keeps what was said, and sends adapters, sums, the system message and sampling", async () => {
  const { session, bodies } = await setUp();
  const answer = await session.answer("Hello", quiet);
  assert.deepEqual([answer.text, answer.finishReason, answer.usage?.completion_tokens], [spoken, "stop", 2]);
  await followCommand(session, "/system Be  brief");
  await followCommand(session, "/adapter kjv");
  await followCommand(session, "/sampling temperature=0 max_tokens=5 stop=.");
  await session.answer("Again", quiet);
  const { messages, model, temperature, max_tokens, stop } = bodies[1];
  assert.deepEqual([model, temperature, max_tokens, stop], ["kjv", 0, 5, "."]);
  assert.deepEqual(messages, [
    { role: "system", content: "Be  brief" },
    { role: "user", content: "Hello" },
    { role: "assistant", content: spoken },
    { role: "user", content: "Again" },
  ]);
  await followCommand(session, "/mix kjv=0.5 lora-kjv=-1e-1");
  await followCommand(session, "/reset");
  await followCommand(session, "/system");
  await followCommand(session, "/sampling default");
  await session.answer("New", quiet);
  const { stream: _stream, stream_options: _options, ...last } = bodies[2];
  assert.deepEqual(last, {
    model: "org/m",
    adapters: [{ id: "kjv", scale: 0.5 }, { id: "lora-kjv", scale: -0.1 }],
    messages: [{ role: "user", content: "New" }],
  });
});

test("Session refuses adapters that the server has not, and keeps the voice and the messages of a failed line", async () => {
  const { session, bodies } = await setUp({ maxModelLen: 24 });
  await followCommand(session, "/adapter kjv");
  await assert.rejects(async () => await followCommand(session, "/adapter nobody"), /Cannot find/);
  await assert.rejects(async () => await followCommand(session, "/mix kjv nobody"), /Cannot find/);
  await assert.rejects(async () => await followCommand(session, "/adapter org/m"), /it is the base model/);
  await session.answer("Hi", quiet);
  await assert.rejects(session.answer("word ".repeat(50), quiet), /token/);
  assert.equal(bodies.at(-1)!.model, "kjv");
  assert.equal(session.messages.length, 2);
  const stopped = await session.answer("Hi", { ...quiet, signal: AbortSignal.abort() });
  assert.deepEqual([stopped.text, stopped.finishReason], ["", "aborted"]);
  assert.equal(session.messages.length, 2);
});

test("Session completes each line by itself where the model has no chat template, and takes no system message", async () => {
  const { session, bodies } = await setUp({}, withoutTemplate);
  assert.equal(session.mode, "unknown");
  assert.equal((await session.answer("The king", quiet)).text, spoken);
  assert.equal(session.mode, "completion");
  await session.answer("A dog", quiet);
  assert.deepEqual(bodies.map(({ prompt }) => prompt), [undefined, "The king", "A dog"]);
  assert.equal(bodies[1].max_tokens, 60);
  assert.throws(() => session.system = "x", /the model has no chat template/);
  const other = await setUp({}, withoutTemplate);
  other.session.system = "x";
  await assert.rejects(other.session.answer("The king", quiet), /Cannot follow a system message/);
});

test("openRemote refuses what is no address, and names a server that cannot be reached", async () => {
  assert.throws(() => openRemote("localhost:8000", {}), /Cannot read --url "localhost:8000"/);
  // Nobody listens on port 1.
  await assert.rejects(
    Session.open(openRemote("http://127.0.0.1:1", {}).client),
    /^Error: Cannot reach http:\/\/127\.0\.0\.1:1: ./,
  );
});

test("chatCommands: help lists every command, and a mistyped line is answered with the nearest", async () => {
  const { session } = await setUp();
  const help = helpLines();
  for (const name of Object.keys(chatCommands)) {
    assert.ok(help.some((line) => line.startsWith(`/${name}`)), name);
  }
  for (
    const [line, rule] of [
      ["/adaptr kjv", /Cannot follow \/adaptr: .*; did you mean \/adapter\?/],
      ["/", /Cannot follow \/: .*; \/help lists the commands/],
      ["/constructor", /Cannot follow \/constructor/],
      ["/mix", /Cannot mix nothing/],
      ["/mix kjv=loud", /Cannot mix "kjv=loud": a scale is a number from -1000 to 1000/],
      ["/mix kjv=2000", /a scale is a number/],
      ["/sampling temprature=1", /Cannot set "temprature": .*; did you mean temperature\?/],
      ["/sampling temperature=hot", /Cannot set temperature to "hot": it must be a number/],
      ["/sampling temperature", /a setting is NAME=VALUE/],
    ] as const
  ) await assert.rejects(async () => await followCommand(session, line), rule, line);
  assert.deepEqual(samplingOf(["top_k=3", "min_p=.5"]), { top_k: 3, min_p: 0.5 });
  assert.deepEqual((await followCommand(session, "/adapter")).lines, [
    "org/m answers",
    "adapters: kjv, lora-kjv",
  ]);
  assert.equal((await followCommand(session, " /quit ")).ends, true);
});

test("converse answers each line of a pipe, and ends at the first that it cannot follow", async () => {
  const { session, engine } = await setUp();
  const pipe = streamsOf({ terminal: false });
  pipe.type("Hello\n\n/adapter kjv\nAnd more");
  pipe.end();
  assert.deepEqual(await converse(session, { streams: pipe.streams, history: noHistory }), { turns: 2 });
  assert.equal(pipe.shown(), `${spoken}\n${spoken}\n`);
  assert.deepEqual(engine.requests.map(({ adapter }) => adapter), [undefined, "kjv"]);
  const other = streamsOf({ terminal: false });
  other.type("/adapter nobody\nnever\n");
  await assert.rejects(converse(session, { streams: other.streams, history: noHistory }), /Cannot find/);
  assert.equal(engine.requests.length, 2);
});

test("converse on a terminal: Ctrl-C stops an answer, then a line, and ends when it comes twice", async () => {
  const { session, engine } = await setUp({ hangs: true });
  const user = streamsOf({ terminal: true }), kept: string[] = [];
  const history = { lines: ["earlier"], add: (line: string) => void kept.push(line) };
  const over = converse(session, { streams: user.streams, history });
  await user.until("org/m answers; /help lists the commands");
  await user.until("> ");
  user.type("Hello\r");
  await user.until(spoken);
  await engine.until(() => engine.hanging === 1);
  user.type("\x03");
  await user.until("(stopped)");
  await engine.until(() => engine.ends.length === 1);
  assert.deepEqual(session.messages.at(-1), { role: "assistant", content: spoken });
  await user.until("> ");
  user.type("/nothing\r");
  await user.until("Cannot follow /nothing");
  // The line before the two of this chat, by its arrows.
  user.type("\x1b[A\x1b[A\x1b[A\r");
  await user.until(spoken);
  user.type("\x03");
  await user.until("(stopped)");
  assert.equal(session.messages.at(-2)?.content, "earlier");
  assert.deepEqual(kept, ["Hello", "/nothing", "earlier"]);
  user.type("/base\r");
  await user.until("org/m answers");
  user.type("given up\x03");
  user.type("/sampling\r");
  await user.until("sampling: the server's defaults");
  user.type("\x03");
  await user.until("(Ctrl-C again, or /quit, ends)");
  user.type("\x03");
  assert.deepEqual(await over, { turns: 2 });
});

test("converse on a terminal says what a server refuses and goes on, and shows no control characters of a text", async () => {
  const { session } = await setUp({ reply: () => [65, 66] });
  const user = streamsOf({ terminal: true });
  const over = converse(session, { streams: user.streams, history: noHistory, now: () => 0 });
  user.type("/sampling temperature=9\r");
  await user.until("temperature=9");
  user.type("Hello\r");
  await user.until('Cannot read "temperature"');
  user.type("/sampling temperature=1 max_tokens=2\r");
  await user.until("max_tokens=2");
  user.type("Hello\r");
  await user.until(`${spoken}`);
  await user.until("(cut off: max_tokens or the context ended)");
  user.type("/quit\r");
  assert.deepEqual(await over, { turns: 1 });
  assert.equal(shownText("a\x1b[2J\tb\nc\r\x9b\u00e9"), "a\ufffd[2J\tb\nc\ufffd\ufffd\u00e9");
});

test("historyFile is in the user's state folder, where there is one", () => {
  const of = (platform: string, env: Record<string, string>) => historyFile({ platform, env });
  assert.equal(of("linux", { HOME: "/home/a" }), "/home/a/.local/state/fourierft/chat_history");
  assert.equal(of("linux", { HOME: "/home/a", XDG_STATE_HOME: "/s" }), "/s/fourierft/chat_history");
  assert.equal(
    of("linux", { HOME: "/home/a", XDG_STATE_HOME: "s" }),
    "/home/a/.local/state/fourierft/chat_history",
  );
  assert.match(of("win32", { LOCALAPPDATA: "C:\\a" })!, /^C:\\a.fourierft.chat_history$/);
  assert.equal(of("linux", {}), undefined);
});

test("openHistory keeps the newest thousand lines, for their user alone, and tells once that it cannot", () => {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-test-"));
  try {
    const file = join(folder, "state", "chat_history"), told: string[] = [];
    const log = (line: string): void => void told.push(line);
    const first = openHistory(file, { log });
    for (let i = 0; i < 1003; i++) first.add(`line ${i}`);
    first.add("line 1002");
    first.add("x".repeat(5000));
    const again = openHistory(file, { log });
    assert.deepEqual([again.lines.length, again.lines[0], again.lines.at(-1)], [1000, "line 3", "line 1002"]);
    assert.equal(readFileSync(file, "utf8").split("\n").length, 1001);
    if (process.platform !== "win32") {
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal(statSync(join(folder, "state")).mode & 0o777, 0o700);
    }
    assert.deepEqual(told, []);
    writeFileSync(join(folder, "in the way"), "");
    const nowhere = openHistory(join(folder, "in the way", "chat_history"), { log });
    nowhere.add("a");
    nowhere.add("b");
    assert.equal(told.length, 1);
    assert.match(told[0], /^the history is not kept: /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("fourierft chat answers a pipe by a model of its own, in an adapter's voice", async () => {
  const words = [
    ...["chat", "--model", "examples/demo/base", "--adapter", "examples/demo/adapters/fourierft-kjv"],
    ...["--device", "cpu", "--sampling", "temperature=0,max_tokens=4", "--json"],
  ];
  const command = "Deno" in globalThis ? ["run", "-A", "--no-check", "src/cli/main.ts"] : ["src/cli/main.ts"];
  const child = spawn(process.execPath, [...command, ...words], { cwd: root });
  child.stdin.end("The king\n/base\nThe king\n");
  const { code, stdout, stderr } = await ended(child);
  assert.equal(code, 0, stderr);
  const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  const [voiced, plain] = events.filter(({ event }) => event === "answer");
  assert.equal(voiced.usage.completion_tokens, 4);
  assert.notEqual(voiced.text, plain.text);
  assert.deepEqual(events.at(-1), { event: "done", turns: 2 });
});
