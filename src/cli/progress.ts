/**
 * How far a piece of work is: a bar on a terminal, now and then a line in a pipe, events with `--json`.
 *
 * @module
 */
import process from "node:process";
import { canDraw, emit, log, setLiveBar, tellsEvents } from "./log.ts";
import { clockText, rateText, shownText } from "./words.ts";

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
export const lineEveryMs = 10_000;

const nowOf = ({ now }: ProgressOptions): number => now?.() ?? performance.now();

/** What is known of a piece of work. */
interface State {
  readonly done: number;
  readonly total: number;
  readonly facts?: string;
}

/** Lines of a piece of work, with the pace since its first count. */
class Lines {
  readonly #beganMs: number;

  constructor(private readonly first: number, private readonly options: ProgressOptions) {
    this.#beganMs = nowOf(options);
  }

  /** `40/80 weights, 3s left, 12.5 weights/s`, with the name in front, and facts in place of the rate. */
  text({ done, total, facts }: State): string {
    const { unit, name, shown = String } = this.options;
    const count = `${name === undefined ? "" : `${name} `}${shown(done)}/${shown(total)} ${unit}`;
    const seconds = (nowOf(this.options) - this.#beganMs) / 1000, since = done - this.first;
    const rate = seconds > 0 && since > 0 ? since / seconds : undefined;
    const left = rate === undefined || done >= total ? [] : [`${clockText((total - done) / rate)} left`];
    const speed = rate === undefined ? [] : [`${(this.options.shown ?? rateText)(rate)} ${unit}/s`];
    return [count, ...left, ...facts === undefined ? speed : [facts]].join(", ");
  }
}

/** Characters of a bar, and milliseconds between two drawings. */
const barCells = 20, drawEveryMs = 100;

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
  let lines: Lines | undefined, line = "", lastMs = 0;
  const draw = (): unknown => terminal.write(`\r${line}\x1b[K`);
  return {
    update(done, total, facts) {
      const now = nowOf(options), began = lines === undefined;
      lines ??= new Lines(done, options);
      const text = lines.text({ done, total, facts });
      line = barLine(total > 0 ? done / total : 1, shownText(text), terminal.columns || 80);
      if (began) setLiveBar({ clear: () => void terminal.write("\r\x1b[K"), draw });
      if (!began && done < total && now - lastMs < drawEveryMs) return;
      lastMs = now;
      draw();
    },
    stop() {
      if (lines === undefined) return;
      lines = undefined;
      setLiveBar();
      draw();
      terminal.write("\n");
    },
  };
}

/** A line every ten seconds: work that is short tells nothing. */
export function toldProgress(options: ProgressOptions): Progress {
  let lines: Lines | undefined, lastMs = 0;
  return {
    update(done, total, facts) {
      const now = nowOf(options);
      if (lines === undefined) lastMs = now;
      lines ??= new Lines(done, options);
      if (now - lastMs < lineEveryMs) return;
      lastMs = now;
      log(lines.text({ done, total, facts }), {
        event: "progress",
        unit: options.unit,
        name: options.name,
        done,
        total,
      });
    },
    stop() {
      lines = undefined;
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
