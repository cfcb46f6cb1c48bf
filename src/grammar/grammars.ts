/**
 * Grammars as constraints of sequences. The engine works on a thread of its own, which may end and be replaced: where a
 * text stands in its grammar follows from its tokens alone.
 *
 * @module
 */
import { orAborted } from "../abandon.ts";
import type { ModuleWorker } from "../device/worker.ts";
import type { ConstrainedRun, Constraint } from "../engine/constraint.ts";
import { GrammarError, OverloadedError } from "../errors.ts";
import { Line, LostThreadError } from "./line.ts";
import type { FromGrammars } from "./messages.ts";
import type { GrammarSpec } from "./spec.ts";

/** Bounds of grammars. */
export interface GrammarLimits {
  /** Characters of a grammar's text. Default 65536. */
  readonly maxCharacters?: number;
  /** Milliseconds for a grammar to be compiled. Default 10000. */
  readonly compileMs?: number;
  /** Milliseconds to find what may come next. Default 10000. */
  readonly nextMs?: number;
  /** Grammars that are kept; the least recently used leave. Default 64. */
  readonly maxKept?: number;
  /** Grammars that are in use, or waiting to be compiled, at once; more are refused. Default 256. */
  readonly maxInUse?: number;
  /** Bytes of the engine's memory. Default 1 GiB. */
  readonly mostBytes?: number;
}

/** What grammars need. */
export interface GrammarsOptions {
  /** Starts a thread that runs {@linkcode ./thread.ts}. */
  readonly start: () => Promise<ModuleWorker>;
  /** The script of the engine's package. */
  readonly source: () => Promise<string>;
  /** Tokens as {@linkcode ./vocabulary.ts} has them; asked for once, when the first grammar comes. */
  readonly vocabulary: () => Promise<readonly string[]>;
  readonly vocabSize: number;
  /** Tokens that end a text. */
  readonly stopTokenIds: readonly number[];
  readonly limits?: GrammarLimits;
}

/** Turns rules for texts into constraints. */
export interface GrammarService {
  /**
   * A constraint of a rule. Equal rules share their work.
   *
   * @param signal Who aborts waits no more; work that nobody waits for is not begun.
   * @throws GrammarError for a rule that cannot be followed; OverloadedError where too many are in use; the signal's reason.
   */
  compile(spec: GrammarSpec, signal?: AbortSignal): Promise<Constraint>;
}

/** Grammars with a thread of their own. */
export interface OpenGrammars extends GrammarService {
  /** Ends the thread; the next grammar starts another. */
  close(): Promise<void>;
}

/** A grammar, and on which thread it is compiled. */
interface Entry {
  readonly number: number;
  readonly key: string;
  readonly spec: GrammarSpec;
  /** Texts that follow it, and callers that wait for it. */
  users: number;
  line?: Line;
  compiled?: Promise<void>;
}

/** What a thread was asked, or why it cannot be done. */
function unlessFault(told: FromGrammars, line: Line): FromGrammars {
  if (told.kind !== "fault") return told;
  if (told.isBroken) line.end();
  throw new GrammarError(`Cannot follow the grammar: ${told.reason}`);
}

/** See the module's documentation. */
export class Grammars implements OpenGrammars {
  /** By their texts, the least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #limits: Required<GrammarLimits>;
  #line: Promise<Line> | undefined;
  #vocabulary: Promise<readonly string[]> | undefined;
  #source: Promise<string> | undefined;
  #compiling: Promise<void> = Promise.resolve();
  #last = 0;

  constructor(private readonly options: GrammarsOptions) {
    this.#limits = {
      ...{ maxCharacters: 65_536, compileMs: 10_000, nextMs: 10_000 },
      ...{ maxKept: 64, maxInUse: 256, mostBytes: 2 ** 30 },
      ...options.limits,
    };
  }

  async compile(spec: GrammarSpec, signal?: AbortSignal): Promise<Constraint> {
    signal?.throwIfAborted();
    const key = JSON.stringify(spec), { maxCharacters } = this.#limits;
    if (key.length > maxCharacters) {
      throw new GrammarError(
        `Cannot follow the grammar: it has ${key.length} characters, at most ${maxCharacters} are taken`,
      );
    }
    const entry = this.#entryOf(key, spec);
    entry.users++;
    try {
      await orAborted(this.#again(async (line) => await this.#compiled(entry, line)), signal);
    } catch (error) {
      // The rule of one who left may be right.
      if (!signal?.aborted && this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    } finally {
      this.#left(entry);
    }
    return { vocabSize: this.options.vocabSize, start: (signal) => this.#begin(entry, signal) };
  }

  async close(): Promise<void> {
    const line = await this.#line?.catch(() => undefined);
    line?.end();
  }

  #entryOf(key: string, spec: GrammarSpec): Entry {
    const known = this.#entries.get(key);
    const { maxInUse, maxKept } = this.#limits;
    const entry = known ?? { number: this.#last++, key, spec, users: 0 };
    const inUse = [...this.#entries.values()].filter(({ users }) => users > 0).length;
    if (!known && inUse >= maxInUse) {
      throw new OverloadedError(`Cannot take another grammar: ${inUse} are in use`);
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const [old, one] of this.#entries) {
      if (this.#entries.size <= maxKept) break;
      if (one.users > 0 || old === key) continue;
      this.#entries.delete(old);
      this.#drop(one);
    }
    return entry;
  }

  /** A constraint of it may begin all the same, and then it is compiled anew. */
  #drop(entry: Entry): void {
    entry.line?.tell({ kind: "drop", grammar: entry.number });
    entry.line = undefined;
  }

  /** Nobody will ask for it again once its last user is gone, where it is not kept. */
  #left(entry: Entry): void {
    if (--entry.users === 0 && this.#entries.get(entry.key) !== entry) this.#drop(entry);
  }

  /** Does work on a thread, and once more on the next where the thread ends by other work. */
  async #again<T>(work: (line: Line) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work(await this.#open());
      } catch (error) {
        if (!(error instanceof LostThreadError)) throw error;
      }
    }
  }

  /** The thread, a new one in place of one that ended. */
  async #open(): Promise<Line> {
    for (;;) {
      const opening = this.#line ??= this.#started();
      const forget = (): void => {
        if (this.#line === opening) this.#line = undefined;
      };
      const line = await opening.catch((error) => {
        forget();
        throw error;
      });
      if (!line.over) return line;
      forget();
    }
  }

  async #started(): Promise<Line> {
    const { start, source, vocabulary, stopTokenIds } = this.options;
    const [script, tokens] = await Promise.all([
      this.#source ??= source(),
      this.#vocabulary ??= vocabulary(),
    ]);
    const line = new Line(await start());
    line.tell({ kind: "open", source: script, tokens, stopTokenIds, mostBytes: this.#limits.mostBytes });
    return line;
  }

  /** Once for each thread, whoever asks. */
  async #compiled(entry: Entry, line: Line): Promise<void> {
    if (entry.line !== line) {
      entry.line = line;
      const { number: grammar, spec } = entry;
      const compile = async (): Promise<void> => {
        if (entry.users === 0) {
          entry.line = undefined;
          throw new GrammarError("Cannot follow the grammar: whoever asked for it has left");
        }
        unlessFault(await line.ask({ kind: "compile", grammar, spec }, this.#limits.compileMs), line);
      };
      // One at a time: between them the thread works for texts.
      entry.compiled = this.#compiling.then(compile);
      this.#compiling = entry.compiled.catch(() => {});
    }
    await entry.compiled;
  }

  async #begin(entry: Entry, signal?: AbortSignal): Promise<ConstrainedRun> {
    signal?.throwIfAborted();
    const run = new Run(entry, {
      next: (one) => this.#again((line) => this.#next(one, line)),
      left: () => this.#left(entry),
    });
    try {
      const first = await run.mask();
      signal?.throwIfAborted();
      return { first, accept: (token) => run.accept(token), end: () => run.end() };
    } catch (error) {
      run.end();
      throw error;
    }
  }

  /** What may come after a run's tokens; a thread that is new to the run is told all of them. */
  async #next(run: Run, line: Line): Promise<Uint32Array> {
    await this.#compiled(run.entry, line);
    const tokens = run.untold(line);
    const told = await line.ask(
      { kind: "next", run: run.number, grammar: run.entry.number, tokens },
      this.#limits.nextMs,
    );
    const found = unlessFault(told, line);
    if (found.kind !== "mask") {
      throw new GrammarError("Cannot follow the grammar: its thread answers out of turn");
    }
    return found.mask;
  }
}

let runs = 0;

/** A text along a grammar. */
class Run {
  readonly number = runs++;
  readonly #tokens: number[] = [];
  #line: Line | undefined;
  #told = 0;
  #ended = false;

  constructor(
    readonly entry: Entry,
    private readonly deps: {
      readonly next: (run: Run) => Promise<Uint32Array>;
      /** The run uses its grammar no more. */
      readonly left: () => void;
    },
  ) {
    entry.users++;
  }

  mask(): Promise<Uint32Array> {
    return this.deps.next(this);
  }

  accept(token: number): Promise<Uint32Array> {
    this.#tokens.push(token);
    return this.mask();
  }

  /** The tokens that a thread has not been told. */
  untold(line: Line): readonly number[] {
    if (this.#ended) throw new GrammarError("Cannot follow the grammar: the text has ended");
    if (this.#line !== line) this.#told = 0;
    this.#line = line;
    const tokens = this.#tokens.slice(this.#told);
    this.#told = this.#tokens.length;
    return tokens;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#line?.tell({ kind: "close", run: this.number });
    this.deps.left();
  }
}
