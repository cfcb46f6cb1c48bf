/**
 * Lines that a user types or a pipe brings: by node:readline, which has keys, editing and history on a terminal.
 *
 * @module
 */
import { createInterface } from "node:readline";
import type { History } from "./history.ts";

/** Streams of a chat: the process's, or a test's. */
export interface Streams {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  /** Whether a user sits at both. */
  readonly terminal: boolean;
}

/** See the module's documentation. */
export interface Lines {
  /** The next line; undefined at the end. */
  next(): Promise<string | undefined>;
  close(): void;
}

/** How lines are read. */
export interface LinesOptions {
  readonly prompt: string;
  readonly history: History;
  /** Ctrl-C, with the line that is being typed; true ends the lines. */
  onInterrupt(typed: string): boolean;
}

/** Lines of streams. */
export function openLines({ input, output, terminal }: Streams, options: LinesOptions): Lines {
  const { prompt, history, onInterrupt } = options;
  const reader = createInterface({
    input,
    output: terminal ? output : undefined,
    terminal,
    prompt: terminal ? prompt : "",
    // Readline has the newest first.
    history: history.lines.toReversed(),
    historySize: 1000,
    removeHistoryDuplicates: true,
  });
  const waiting: string[] = [];
  let ended = false, wake: (() => void) | undefined;
  const awake = (): void => {
    wake?.();
    wake = undefined;
  };
  reader.on("line", (line) => {
    waiting.push(line);
    if (terminal && line.trim() !== "") history.add(line);
    awake();
  });
  reader.on("close", () => {
    ended = true;
    awake();
  });
  reader.on("SIGINT", () => {
    const typed = reader.line;
    if (onInterrupt(typed)) return reader.close();
    if (typed !== "") {
      // The line is given up: to its end, and cut from there.
      reader.write(null, { ctrl: true, name: "e" });
      reader.write(null, { ctrl: true, name: "u" });
    }
    if (wake) reader.prompt();
  });
  return {
    async next() {
      if (waiting.length === 0 && !ended) {
        if (terminal) reader.prompt();
        await new Promise<void>((resolve) => wake = resolve);
      }
      return waiting.shift();
    },
    close: () => reader.close(),
  };
}
