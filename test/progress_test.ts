import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { emit, log, print, setJsonEvents, tell } from "../src/cli/log.ts";
import { drawnProgress, progress, toldProgress } from "../src/cli/progress.ts";
import { reporter } from "../src/cli/train_run.ts";
import { clockText, counted, rateText } from "../src/cli/words.ts";

/** What a body writes on a stream of the process. */
function written(name: "stdout" | "stderr", body: () => void): string {
  const stream = process[name], write = stream.write;
  let text = "";
  stream.write = (part: string | Uint8Array): boolean => {
    text += part;
    return true;
  };
  try {
    body();
  } finally {
    stream.write = write;
  }
  return text;
}

/** A terminal of 60 columns, as it looks: each `\r` begins its last line anew. */
class Screen {
  readonly columns = 60;
  text = "";
  drawings = 0;

  write(text: string): void {
    if (text.includes("\u2588") || text.includes("\u2591")) this.drawings++;
    for (const part of text.split(/(?=\r)/)) {
      if (!part.startsWith("\r")) this.text += part;
      else {this.text = this.text.slice(0, this.text.lastIndexOf("\n") + 1) +
          part.slice(1).replaceAll("\x1b[K", "");}
    }
  }
}

test("drawnProgress draws count, rate and time left within the terminal's width, at most ten times a second", () => {
  const screen = new Screen();
  let now = 0;
  const bar = drawnProgress({ unit: "steps", now: () => now }, screen);
  bar.update(0, 200);
  assert.equal(screen.text, `${"\u2591".repeat(20)} 0/200 steps`);
  now = 2000;
  bar.update(50, 200, "loss 1.25");
  assert.equal(
    screen.text,
    `${"\u2588".repeat(5)}${"\u2591".repeat(15)} 50/200 steps, 6s left, loss 1.25`,
  );
  now = 2050;
  bar.update(60, 200);
  assert.equal(screen.drawings, 2);
  bar.update(200, 200);
  assert.match(screen.text, /^\u2588{20} 200\/200 steps, 97\.6 steps\/s$/);
  bar.stop();
  bar.stop();
  assert.match(screen.text, /steps\/s\n$/);
});

test("drawnProgress lets lines of the log go above the bar while it is drawn, and not after", () => {
  const screen = new Screen(), bar = drawnProgress({ unit: "files", now: () => 0 }, screen);
  const said = written("stderr", () => {
    bar.update(1, 2);
    const before = screen.text;
    log("between");
    assert.equal(screen.text, before);
    assert.equal(screen.drawings, 2);
    bar.stop();
    log("after");
  });
  assert.equal(said, "between\nafter\n");
  assert.equal(screen.drawings, 3);
});

test("toldProgress tells nothing of short work, and a line every ten seconds of long work", () => {
  let now = 0;
  const told = written("stderr", () => {
    const lines = toldProgress({
      unit: "MB",
      name: "model.safetensors",
      shown: (n) => `${n / 10}`,
      now: () => now,
    });
    for (; now <= 25_000; now += 1000) lines.update(now / 100, 1000);
    lines.stop();
  });
  assert.equal(
    told,
    "model.safetensors 10/100 MB, 1m30s left, 1 MB/s\nmodel.safetensors 20/100 MB, 1m20s left, 1 MB/s\n",
  );
});

test("training in a pipe tells of its first and last step, and of one every ten seconds between them", () => {
  let now = 0;
  const told = written("stderr", () => {
    const { onEvent } = reporter<object, object>(25, {
      ...{ unit: "tokens", started: () => [], evaluated: () => [""], now: () => now },
    });
    for (let step = 1; step <= 25; step++, now += 1000) {
      onEvent({ kind: "step", step, loss: 1, lr: 1, tokensPerSecond: 1, gradientNorm: 1 });
    }
  });
  assert.deepEqual([...told.matchAll(/step (\d+)\/25/g)].map(([, step]) => Number(step)), [1, 11, 21, 25]);
});

test("log and print show no control characters on a terminal; a pipe gets a command's result as it is", () => {
  const steering = "a\x1b[2Jb\tc\n", shown = "a\ufffd[2Jb\tc\n";
  assert.equal(written("stderr", () => log(steering)), `${shown}\n`);
  const isTTY = Object.getOwnPropertyDescriptor(process.stdout, "isTTY");
  const printedOn = (terminal: boolean): string => {
    Object.defineProperty(process.stdout, "isTTY", { value: terminal, configurable: true });
    return written("stdout", () => print(steering));
  };
  try {
    assert.deepEqual([printedOn(true), printedOn(false)], [shown, steering]);
  } finally {
    if (isTTY) Object.defineProperty(process.stdout, "isTTY", isTTY);
    else Reflect.deleteProperty(process.stdout, "isTTY");
  }
});

test("progress, emit and tell write events with --json alone, a line of JSON each", () => {
  assert.equal(written("stdout", () => emit("text", { text: "a" })), "");
  assert.equal(written("stderr", () => tell("done", "it is done", { out: "x" })), "it is done\n");
  setJsonEvents(true);
  try {
    const events = written("stdout", () => {
      const of = progress({ unit: "weights" });
      for (let i = 0; i <= 1000; i++) of.update(i, 1000);
      of.stop();
      tell("done", "it is done", { out: "a\nb" });
    }).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(events.length, 102);
    assert.deepEqual(events[1], { event: "progress", unit: "weights", done: 10, total: 1000 });
    assert.deepEqual(events.at(-1), { event: "done", out: "a\nb" });
  } finally {
    setJsonEvents(false);
  }
});

test("counted, clockText and rateText write numbers as people do", () => {
  assert.deepEqual([counted(0, "step"), counted(1, "step"), counted(2, "step")], [
    "0 steps",
    "1 step",
    "2 steps",
  ]);
  assert.deepEqual([0.4, 59.6, 125, 3599.7, 3780].map(clockText), ["0s", "1m00s", "2m05s", "1h00m", "1h03m"]);
  assert.deepEqual([0.012345, 12.34, 1234.5].map(rateText), ["0.0123", "12.3", "1235"]);
});
