/**
 * Lines of earlier chats, in a file of the user's state folder.
 *
 * @module
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Lines that are kept, and characters of a line: longer ones are pasted, not typed. */
const mostLines = 1000, mostCharacters = 4096;

/** A process's surroundings, as far as they say where state is. */
export interface Surroundings {
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The file; undefined where no folder of the user's can be told. */
export function historyFile({ platform, env }: Surroundings): string | undefined {
  if (platform === "win32") return env.LOCALAPPDATA && join(env.LOCALAPPDATA, "fourierft", "chat_history");
  // The standard has a relative path ignored.
  const state = env.XDG_STATE_HOME?.startsWith("/")
    ? env.XDG_STATE_HOME
    : env.HOME && `${env.HOME}/.local/state`;
  return state && join(state, "fourierft", "chat_history");
}

/** See the module's documentation. */
export interface History {
  /** Newest last. */
  readonly lines: readonly string[];
  /** Adds a line, before it is answered; the first line that cannot be kept is told. */
  add(line: string): void;
}

function linesIn(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean);
  } catch {
    // A first chat; where the file cannot be read, it cannot be written either, which is told.
    return [];
  }
}

/** Opens the history in a file, cut down to its newest lines. */
export function openHistory(
  file: string | undefined,
  { log }: { readonly log: (line: string) => void },
): History {
  if (file === undefined) return { lines: [], add: () => {} };
  const all = linesIn(file), lines = all.slice(-mostLines);
  let failed = false, last = lines.at(-1);
  function keep(work: () => void): void {
    if (failed) return;
    try {
      work();
    } catch (error) {
      failed = true;
      log(`the history is not kept: ${(error as Error).message}`);
    }
  }
  // What a user types is private.
  keep(() => mkdirSync(dirname(file), { recursive: true, mode: 0o700 }));
  if (all.length > mostLines) {
    keep(() => writeFileSync(file, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 }));
  }
  return {
    lines,
    add(line) {
      if (line === last || line.length > mostCharacters) return;
      last = line;
      keep(() => appendFileSync(file, `${line}\n`, { mode: 0o600 }));
    },
  };
}
