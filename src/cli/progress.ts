/**
 * How far a piece of work is: a bar on a terminal, now and then a line in a pipe, events with `--json`.
 *
 * @module
 */
import process from "node:process";
import { canDraw, emit, log, setLiveBar, tellsEvents } from "./log.ts";
import { clockText, rateText } from "./words.ts";

/** Shows how far a piece of work is. */
export interface Progress {
  /** @param facts What else is known, e.g. a loss. */
  update(done: number, total: number, facts?: string): void;
  /** The work is over, or has failed. */
  stop(): void;
}

/** How a piece of work is called and counted. */
export interface ProgressOptions {
  /** The noun of what is counted, as `weights` or `MB`. */
  readonly unit: string;
  /** The name of the thing that is worked on. */
  readonly name?: string;
  /** A count as people read it; by default the number. */
  readonly shown?: (count: number) => string;
  /** Milliseconds; by default the process's clock. */
  readonly now?: () => number;
}

/** Milliseconds between two lines of a pipe. */
const lineEveryMs = 10_000;

/** Rate and time left since the first count; empty while nothing was done. */
class Pace {
  readonly #beganMs: number;
  readonly #first: number;
  readonly #options: ProgressOptions;

  constructor(first: number, options: ProgressOptions) {
    this.#first = first;
    this.#options = options;
    this.#beganMs = nowOf(options);
  }

  text(done: number, total: number): string {
    const seconds = (nowOf(this.#options) - this.#beganMs) / 1000, since = done - this.#first;
    if (seconds <= 0 || since <= 0) return "";
    const rate = since / seconds, { shown = rateText, unit } = this.#options;
    const left = done < total ? `, ${clockText((total - done) / rate)} left` : "";
    return `, ${shown(rate)} ${unit}/s${left}`;
  }
}

const nowOf = ({ now }: ProgressOptions): number => now?.() ?? performance.now();

/** `40/80 weights, 12.5 weights/s, 3s left`, with the name in front and the facts behind. */
function lineOf(
  { unit, name, shown = String }: ProgressOptions,
  { done, total, pace, facts }: {
    readonly done: number;
    readonly total: number;
    readonly pace: string;
    readonly facts?: string;
  },
): string {
  const named = name === undefined ? "" : `${name} `;
  return `${named}${shown(done)}/${shown(total)} ${unit}${facts === undefined ? "" : `, ${facts}`}${pace}`;
}

/** Characters of a bar, and milliseconds between two drawings. */
const barCells = 24, drawEveryMs = 100;

/** A bar of one line; longer lines would wrap, and could not be drawn over. */
function barLine(fraction: number, text: string, columns: number): string {
  const full = Math.max(0, Math.min(barCells, Math.round(barCells * fraction)));
  return `${"\u2588".repeat(full)}${"\u2591".repeat(barCells - full)} ${text}`.slice(
    0,
    Math.max(1, columns - 1),
  );
}

/** The terminal that a bar is drawn on. */
export interface Terminal {
  readonly columns?: number;
  write(text: string): unknown;
}

/** A bar in the last line of a terminal. Lines of the log go above it. */
export function drawnProgress(options: ProgressOptions, terminal: Terminal = process.stderr): Progress {
  let pace: Pace | undefined, line = "", lastMs = 0;
  const draw = (): unknown => terminal.write(`\r${line}\x1b[K`);
  return {
    update(done, total, facts) {
      const now = nowOf(options), began = pace === undefined;
      pace ??= new Pace(done, options);
      const text = lineOf(options, { done, total, facts, pace: pace.text(done, total) });
      line = barLine(total > 0 ? done / total : 1, text, terminal.columns ?? 80);
      if (began) setLiveBar({ clear: () => void terminal.write("\r\x1b[K"), draw });
      if (!began && done < total && now - lastMs < drawEveryMs) return;
      lastMs = now;
      draw();
    },
    stop() {
      if (pace === undefined) return;
      pace = undefined;
      setLiveBar();
      draw();
      terminal.write("\n");
    },
  };
}

/** A line every ten seconds: work that is short tells nothing. */
export function toldProgress(options: ProgressOptions): Progress {
  let pace: Pace | undefined, lastMs = 0;
  return {
    update(done, total, facts) {
      const now = nowOf(options);
      if (pace === undefined) lastMs = now;
      pace ??= new Pace(done, options);
      if (now - lastMs < lineEveryMs) return;
      lastMs = now;
      const line = lineOf(options, { done, total, facts, pace: pace.text(done, total) });
      log(line, { event: "progress", unit: options.unit, name: options.name, done, total });
    },
    stop() {
      pace = undefined;
    },
  };
}

/** An event for each whole percent. */
function emittedProgress({ unit, name }: ProgressOptions): Progress {
  let percent = -1;
  return {
    update(done, total) {
      const reached = total > 0 ? Math.floor(100 * done / total) : 100;
      if (reached === percent) return;
      percent = reached;
      emit("progress", { unit, name, done, total });
    },
    stop() {
      percent = -1;
    },
  };
}

/** Progress as who reads it needs it. */
export function progress(options: ProgressOptions): Progress {
  if (tellsEvents()) return emittedProgress(options);
  return canDraw() ? drawnProgress(options) : toldProgress(options);
}
