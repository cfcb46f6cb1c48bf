/**
 * A line of work for a thread that answers in order: each piece has a time, and who takes too long ends the thread.
 *
 * @module
 */
import type { ModuleWorker } from "../device/worker.ts";
import { GrammarError } from "../errors.ts";
import type { FromGrammars, ToGrammars } from "./messages.ts";

/** Its thread ended by somebody else's work: the work may be asked for again. */
export class LostThreadError extends Error {
  override readonly name = "LostThreadError";
}

interface Piece {
  readonly limitMs: number;
  readonly resolve: (message: FromGrammars) => void;
  readonly reject: (error: Error) => void;
}

/** See the module's documentation. */
export class Line {
  readonly #pieces: Piece[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(private readonly thread: ModuleWorker) {
    thread.onMessage((message) => this.#answered(message as FromGrammars));
    thread.onEnd((reason) => this.#lose(new GrammarError(`Cannot follow the grammar: ${reason}`)));
    this.#watch();
  }

  /** Whether nothing more is to be asked of it. */
  get over(): boolean {
    return this.#over;
  }

  /**
   * Asks for a piece of work; its time begins when the work before it is done.
   *
   * @throws GrammarError when the time is over, or the thread ends by this work; LostThreadError when it ends by other work.
   */
  ask(message: ToGrammars, limitMs: number): Promise<FromGrammars> {
    if (this.#over) return Promise.reject(new LostThreadError());
    return new Promise((resolve, reject) => {
      this.#pieces.push({ limitMs, resolve, reject });
      this.thread.post(message);
      if (this.#pieces.length === 1) this.#watch();
    });
  }

  /** Tells something that is not answered. */
  tell(message: ToGrammars): void {
    if (!this.#over) this.thread.post(message);
  }

  /** Ends the thread; what it has not answered is lost. */
  end(): void {
    this.#lose(new LostThreadError());
  }

  #answered(message: FromGrammars): void {
    const piece = this.#pieces.shift();
    this.#watch();
    piece?.resolve(message);
  }

  /** The thread keeps the process while it works, and the piece that it works on has its time. */
  #watch(): void {
    clearTimeout(this.#timer);
    const [first] = this.#pieces;
    this.thread.keepAlive(first !== undefined && !this.#over);
    if (!first) return;
    const late = (): void =>
      this.#lose(new GrammarError(`Cannot follow the grammar: it takes more than ${first.limitMs} ms`));
    this.#timer = setTimeout(late, first.limitMs);
  }

  /** The first piece was the thread's work: the others may be asked for elsewhere. */
  #lose(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const [guilty, ...others] = this.#pieces.splice(0);
    this.thread.end();
    guilty?.reject(error);
    for (const { reject } of others) reject(new LostThreadError());
  }
}
