/**
 * The thread of the grammars: it compiles them, and follows each along many texts.
 *
 * @module
 */
import type { FromGrammars, ToGrammars } from "./messages.ts";
import type { GrammarSpec } from "./spec.ts";
import { type CompiledGrammar, EngineFault, type Grammar, type Matcher, XGrammar } from "./xgrammar.ts";

type Opening = Extract<ToGrammars, { kind: "open" }>;

/** See the module's documentation. */
class Grammars {
  readonly #engine: XGrammar;
  readonly #compiler: Promise<(grammar: Grammar) => Promise<CompiledGrammar>>;
  /** Reads what callers bring. It may give up, and another takes its place; the engine that others use has no part in it. */
  #reader: XGrammar | undefined;
  readonly #grammars = new Map<number, CompiledGrammar>();
  readonly #runs = new Map<number, Matcher>();

  constructor(private readonly opening: Opening) {
    const { source, mostBytes, tokens, stopTokenIds } = opening;
    this.#engine = new XGrammar(source, mostBytes);
    this.#compiler = this.#engine.compiler(tokens, stopTokenIds);
    this.#compiler.catch(() => {});
  }

  async compile(grammar: number, spec: GrammarSpec): Promise<FromGrammars> {
    this.#reader ??= new XGrammar(this.opening.source, this.opening.mostBytes);
    try {
      (await this.#reader.read(spec)).dispose();
    } catch (error) {
      this.#reader = undefined;
      return { kind: "fault", reason: (error as Error).message, isBroken: false };
    }
    const compile = await this.#compiler, read = await this.#engine.read(spec);
    this.#grammars.set(grammar, await compile(read));
    read.dispose();
    return { kind: "compiled" };
  }

  drop(grammar: number): void {
    this.#grammars.get(grammar)?.dispose();
    this.#grammars.delete(grammar);
  }

  async next(run: number, grammar: number, tokens: readonly number[]): Promise<FromGrammars> {
    let matcher = this.#runs.get(run);
    if (!matcher) {
      matcher = await this.#engine.matcher(this.#grammars.get(grammar)!);
      this.#runs.set(run, matcher);
    }
    const mask = await this.#engine.next(matcher, tokens);
    if (mask?.some((word) => word !== 0)) return { kind: "mask", mask };
    const reason = mask ? "no token may come next" : "a token came that may not";
    return { kind: "fault", reason, isBroken: false };
  }

  close(run: number): void {
    this.#runs.get(run)?.dispose();
    this.#runs.delete(run);
  }
}

/** Answers messages, one after the other; the first must be `open`. */
export function serveGrammars(answer: (message: FromGrammars) => void): (message: ToGrammars) => void {
  let grammars: Grammars | undefined;
  let last: Promise<void> = Promise.resolve();
  const work = async (message: ToGrammars): Promise<FromGrammars | undefined> => {
    if (message.kind === "open") grammars = new Grammars(message);
    else if (message.kind === "compile") return await grammars!.compile(message.grammar, message.spec);
    else if (message.kind === "next") {
      return await grammars!.next(message.run, message.grammar, message.tokens);
    } else if (message.kind === "drop") grammars!.drop(message.grammar);
    else grammars!.close(message.run);
  };
  const safely = async (message: ToGrammars): Promise<void> => {
    try {
      const told = await work(message);
      if (told) answer(told);
    } catch (error) {
      // What the engine says of a grammar is for whoever brought the grammar; anything else is a fault of ours.
      const reason = error instanceof EngineFault ? error.message : "the grammars' thread failed";
      answer({ kind: "fault", reason, isBroken: true });
    }
  };
  return (message) => void (last = last.then(() => safely(message)));
}
