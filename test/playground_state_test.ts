/**
 * The playground's state without a page: what columns ask and show, and the messages to a worker.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReadableFolder } from "../mod.ts";
import type { AdapterInfo, Backend, Job, Piece } from "../playground/backend/backend.ts";
import { Caller } from "../playground/backend/caller.ts";
import { Comparison } from "../playground/state/comparison.ts";
import { adapterName, droppedFiles, grouped, isAdapter, isModel } from "../playground/state/files.ts";
import { Lane, type Question } from "../playground/state/lane.ts";
import { Session } from "../playground/state/session.ts";
import { openSource } from "../playground/worker/folders.ts";
import type { Answer, Request } from "../playground/worker/protocol.ts";
import { PageStore } from "../playground/worker/store.ts";
import { turn } from "./until.ts";

// Frames, which a page has: here each is a turn.
Object.assign(globalThis, {
  requestAnimationFrame: (show: () => void) => setTimeout(show, 0),
  cancelAnimationFrame: (frame: ReturnType<typeof setTimeout>) => clearTimeout(frame),
});

/** A question that was asked of the backend; the test gives its pieces. */
interface Asked {
  readonly job: Job;
  readonly signal: AbortSignal;
  give(text: string, finishReason?: Piece["finishReason"]): void;
  fail(message: string): void;
}

/** A backend whose answers the test writes. */
function fakeBackend(adapters: readonly AdapterInfo[] = []): { backend: Backend; asked: Asked[] } {
  const asked: Asked[] = [];
  async function* generate(job: Job, signal: AbortSignal): AsyncGenerator<Piece> {
    const waiting: (Piece | Error)[] = [];
    let wake = (): void => {}, tokens = 0;
    const push = (item: Piece | Error): void => {
      waiting.push(item);
      wake();
    };
    asked.push({
      ...{ job, signal },
      give: (text, finishReason = null) => push({ text, tokens: ++tokens, finishReason }),
      fail: (message) => push(new Error(message)),
    });
    signal.addEventListener("abort", () => wake());
    for (;;) {
      signal.throwIfAborted();
      const item = waiting.shift();
      if (item instanceof Error) throw item;
      if (item) {
        yield item;
        if (item.finishReason) return;
      } else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const backend = {
    way: "server",
    model: { id: "base", maxModelLen: 64 },
    adapters: () => Promise.resolve(adapters),
    generate,
    memory: () => Promise.resolve([]),
    addAdapter: () => Promise.reject(new Error("no")),
    close() {},
  } as unknown as Backend;
  return { backend, asked };
}

const question: Question = {
  mode: "completion",
  text: "The king",
  system: "",
  maxTokens: 8,
  stop: [],
  sampling: { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 1 },
};

const last = (lane: Lane) => lane.exchanges.value[lane.exchanges.value.length - 1];

test("Lane: a text grows, ends, and says what it took", async () => {
  const { backend, asked } = fakeBackend(), lane = new Lane([{ id: "a", scale: 0.5 }]);
  const ended = lane.ask(backend, question);
  await turn();
  assert.equal(last(lane).status, "waiting");
  assert.deepEqual(asked[0].job.input, { prompt: "The king" });
  assert.deepEqual(asked[0].job.terms, [{ id: "a", scale: 0.5 }]);
  asked[0].give(" of");
  await turn();
  await turn();
  assert.deepEqual([last(lane).status, last(lane).answer], ["writing", " of"]);
  asked[0].give(" Israel", "length");
  await ended;
  const { status, answer, reason, figures } = last(lane);
  assert.deepEqual([status, answer, reason, figures?.tokens], ["done", " of Israel", "length", 2]);
});

test("Lane: what is stopped keeps its words, and what failed says why", async () => {
  const { backend, asked } = fakeBackend(), lane = new Lane([]);
  const stopped = lane.ask(backend, question);
  await turn();
  asked[0].give(" of");
  await turn();
  lane.stop();
  await stopped;
  assert.deepEqual([last(lane).status, last(lane).answer], ["stopped", " of"]);
  assert.ok(asked[0].signal.aborted);
  const failed = lane.ask(backend, question);
  await turn();
  asked[1].fail("Cannot scale DoRA");
  await failed;
  assert.deepEqual([last(lane).status, last(lane).reason], ["failed", "Cannot scale DoRA"]);
});

test("Lane: a text that is asked again takes the place of the one that runs", async () => {
  const { backend, asked } = fakeBackend(), lane = new Lane([]);
  const first = lane.ask(backend, question);
  await turn();
  asked[0].give(" old");
  await turn();
  lane.setTerms([{ id: "a", scale: 2 }]);
  const second = lane.askAgain(backend);
  await first;
  assert.equal(last(lane).status, "waiting", "what ended late shows nothing any more");
  await turn();
  assert.ok(asked[0].signal.aborted);
  assert.deepEqual(asked[1].job.terms, [{ id: "a", scale: 2 }]);
  asked[1].give(" new", "stop");
  await second;
  assert.deepEqual(lane.exchanges.value.map(({ answer }) => answer), [" new"]);
});

test("Lane: a chat goes on, and its last question is asked again with what was said before", async () => {
  const { backend, asked } = fakeBackend(), lane = new Lane([]);
  const say = async (text: string, answer: string): Promise<void> => {
    const ended = lane.ask(backend, { ...question, mode: "chat", system: "Be short", text });
    await turn();
    asked[asked.length - 1].give(answer, "stop");
    await ended;
  };
  await say("Who?", "David");
  await say("Where?", "Zion");
  const messages = [
    { role: "system", content: "Be short" },
    { role: "user", content: "Who?" },
    { role: "assistant", content: "David" },
    { role: "user", content: "Where?" },
  ];
  assert.deepEqual(asked[1].job.input, { messages });
  const again = lane.askAgain(backend);
  await turn();
  assert.deepEqual(asked[2].job.input, { messages });
  asked[2].give("Hebron", "stop");
  await again;
  assert.deepEqual(lane.exchanges.value.map(({ answer }) => answer), ["David", "Hebron"]);
  // A completion begins anew.
  const other = lane.ask(backend, question);
  await turn();
  lane.clear();
  await other;
  assert.deepEqual(lane.exchanges.value, []);
});

test("Lane: a chat remembers no question that failed, and what was stopped by the next one stops to be written", async () => {
  const { backend, asked } = fakeBackend(), lane = new Lane([]);
  const say = (text: string): Promise<void> => lane.ask(backend, { ...question, mode: "chat", text });
  const failed = say("Who?");
  await turn();
  asked[0].give("Da");
  asked[0].fail("Cannot reach the server");
  await failed;
  const silent = say("When?");
  await turn();
  const stopped = say("Where?");
  await silent;
  await turn();
  asked[2].give("Zion");
  await turn();
  await turn();
  const ended = say("Why?");
  await stopped;
  await turn();
  asked[3].give("So", "stop");
  await ended;
  assert.deepEqual(lane.exchanges.value.map(({ status }) => status), [
    "failed",
    "stopped",
    "stopped",
    "done",
  ]);
  assert.deepEqual(asked[3].job.input, {
    messages: [
      { role: "user", content: "Where?" },
      { role: "assistant", content: "Zion" },
      { role: "user", content: "Why?" },
    ],
  });
});

/** A session whose server is this backend. */
async function sessionOf(backend: Backend): Promise<Session> {
  const session = new Session({ models: [] });
  await session.open(() => Promise.resolve(backend));
  return session;
}

const info = (id: string, peftType: string): AdapterInfo => ({ id, peftType, sizeBytes: 1 });

test("Comparison: the first columns are the base and FourierFT's adapters, asked alike and all at once", async () => {
  const { backend, asked } = fakeBackend([info("l", "LORA"), info("f", "FOURIERFT"), info("g", "FOURIERFT")]);
  const session = await sessionOf(backend), comparison = new Comparison(session);
  assert.deepEqual(comparison.lanes.value.map((lane) => lane.terms.value.map(({ id }) => id)), [[], ["f"], [
    "g",
  ]]);
  comparison.set({ stop: "\n\n.\n", temperature: 1 });
  const ended = comparison.ask();
  await turn();
  assert.equal(asked.length, 3, "no column waits for another");
  assert.ok(comparison.isRunning.value);
  const [{ job }] = asked;
  assert.deepEqual([job.stop, job.sampling.temperature], [["."], 1]);
  for (const one of asked) assert.equal(one.job.sampling.seed, job.sampling.seed);
  comparison.stop();
  await ended;
  assert.equal(comparison.isRunning.value, false);
  assert.ok(asked.every(({ signal }) => signal.aborted));
});

test("Comparison: there are one to four columns", async () => {
  const comparison = new Comparison(await sessionOf(fakeBackend().backend));
  assert.equal(comparison.lanes.value.length, 1);
  for (let i = 0; i < 6; i++) comparison.addLane();
  assert.equal(comparison.lanes.value.length, 4);
  comparison.removeLane(comparison.lanes.value[0]);
  assert.equal(comparison.lanes.value.length, 3);
});

test("Comparison: the adapter that was chosen last is known, whatever becomes of scales and columns", async () => {
  const { backend } = fakeBackend([info("f", "FOURIERFT"), info("g", "FOURIERFT"), info("l", "LORA")]);
  const comparison = new Comparison(await sessionOf(backend));
  assert.equal(comparison.lastChosen.value, undefined, "the first columns are nobody's choice");
  const [base, lane] = comparison.lanes.value;
  const chosen = (...ids: string[]) => ids.map((id) => ({ id, scale: 1 }));
  comparison.setTerms(lane, chosen("l"));
  assert.equal(comparison.lastChosen.value, "l");
  comparison.setTerms(base, chosen("f", "g"));
  assert.equal(comparison.lastChosen.value, "f");
  comparison.setTerms(lane, [{ id: "l", scale: 2 }]);
  assert.equal(comparison.lastChosen.value, "f");
  comparison.setTerms(base, chosen("f"));
  assert.equal(comparison.lastChosen.value, "f");
  comparison.addLane();
  assert.equal(comparison.lastChosen.value, "f", "a new column of the base chooses none");
  comparison.removeLane(lane);
  comparison.addLane(chosen("g"));
  assert.equal(comparison.lastChosen.value, "g");
});

/** A worker whose answers the test gives. */
function fakeWorker() {
  const sent: Request[] = [];
  let hear: (event: { data?: Answer; message?: string }) => void = () => {};
  let fail: (event: { data?: Answer; message?: string }) => void = () => {};
  let ended = false;
  const caller = new Caller({
    postMessage: (message) => void sent.push(message),
    addEventListener: (type, listener) => type === "message" ? hear = listener : fail = listener,
    terminate: () => void (ended = true),
  });
  return {
    caller,
    sent,
    answer: (data: Answer) => hear({ data }),
    fail: (message: string) => fail({ message }),
    isEnded: () => ended,
  };
}

test("Caller: answers and events go to their calls, and an aborted call hears nothing more", async () => {
  const { caller, sent, answer } = fakeWorker();
  const seen: unknown[] = [], stop = new AbortController();
  const options = { onEvent: (event: unknown) => seen.push(event), signal: stop.signal };
  const first = caller.call("adapters", undefined), second = caller.call("generate", {} as Job, options);
  answer({ kind: "event", id: 2, event: "some" });
  answer({ kind: "done", id: 1, output: [] });
  assert.deepEqual([await first, seen], [[], ["some"]]);
  stop.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  answer({ kind: "event", id: 2, event: "late" });
  answer({ kind: "failed", id: 2, message: "late" });
  assert.deepEqual(seen, ["some"]);
  assert.deepEqual(sent.map(({ kind, id }) => [kind, id]), [["call", 1], ["call", 2], ["abort", 2]]);
  const third = caller.call("memory", undefined);
  answer({ kind: "failed", id: 3, message: "Cannot do this yet: no model is open" });
  await assert.rejects(third, /no model is open/);
});

test("Caller: with the worker all calls end, and later ones do not begin", async () => {
  const { caller, fail, isEnded, sent } = fakeWorker();
  const open = caller.call("adapters", undefined);
  fail("out of memory");
  await assert.rejects(open, /the page's worker failed: out of memory/);
  assert.ok(isEnded());
  await assert.rejects(caller.call("adapters", undefined), /worker failed/);
  assert.equal(sent.length, 1);
});

test("files: those of each folder are a group, and a folder's name becomes an adapter's", () => {
  const file = new File([], "x");
  const groups = grouped([
    { path: "adapters/one/adapter_config.json", file },
    { path: "adapters/one/adapter_model.safetensors", file },
    { path: "adapters/two/adapter_config.json", file },
    { path: "adapters/README.md", file },
    { path: "model.GGUF", file },
  ]);
  assert.deepEqual(groups.map(({ name, files }) => [name, files.map(({ path }) => path)]), [
    ["one", ["adapter_config.json", "adapter_model.safetensors"]],
    ["two", ["adapter_config.json"]],
    ["adapters", ["README.md"]],
    ["", ["model.GGUF"]],
  ]);
  assert.deepEqual(groups.map(isAdapter), [true, true, false, false]);
  assert.deepEqual(groups.map(isModel), [false, false, false, true]);
  const named = (name: string) => adapterName({ name, files: [] });
  assert.deepEqual([named("mine-v2"), named(".hidden"), named("a:b\\c"), named("")], [
    "mine-v2",
    "hidden",
    "a-b-c",
    "dropped-adapter",
  ]);
});

/** A drop of folders without files, as a browser shows them: at most a hundred entries at a time. */
function dropOf(folders: number): DataTransfer {
  const folder = (fullPath: string, inner: FileSystemEntry[]) => ({
    fullPath,
    isFile: false,
    createReader: () => ({
      readEntries: (take: (entries: FileSystemEntry[]) => void) => take(inner.splice(0, 100)),
    }),
  } as unknown as FileSystemEntry);
  const inner = Array.from({ length: folders }, (_, i) => folder(`/all/${i}`, []));
  const entry = folder("/all", inner);
  const items = [{ kind: "file", webkitGetAsEntry: () => entry, getAsFile: () => null }];
  return { items } as unknown as DataTransfer;
}

test("files: more than are looked at are refused, folders among them, and none is left out in silence", async () => {
  assert.deepEqual(await droppedFiles(dropOf(4999)), []);
  await assert.rejects(droppedFiles(dropOf(5000)), /more than 5000 files and folders/);
  await assert.rejects(droppedFiles(dropOf(6000)), /more than 5000 files and folders/);
  const file = new File([], "x"), files = Array.from({ length: 5001 }, (_, i) => ({ path: `a/${i}`, file }));
  assert.throws(() => grouped(files), /Cannot take these files: there are more than 5000/);
  assert.equal(grouped(files.slice(1)).length, 1);
});

test("PageStore: an adapter that is taken back leaves the newer one of its name", async () => {
  const store = new PageStore(), folder = () => ({}) as ReadableFolder;
  const [old, broken, newer] = [folder(), folder(), folder()];
  store.add("a", old);
  const takeBack = store.add("a", broken);
  takeBack();
  assert.equal((await store.open("a"))?.folder, old);
  const late = store.add("a", broken);
  store.add("a", newer);
  late();
  assert.equal((await store.open("a"))?.folder, newer);
});

test("openSource names a URL whose name cannot be decoded", async () => {
  const source = { kind: "url", url: "https://example.com/models/%zz/" } as const;
  await assert.rejects(openSource(source, () => {}), /Cannot open "https:\/\/example\.com\/models\/%zz\/"/);
});
