/**
 * The grammar engine: xgrammar, compiled to WebAssembly, from the text of its npm package.
 *
 * The package's file is a script for pages that its package.json calls a module, so that no runtime but a page can import
 * it. Here it runs as in a page's worker, whatever the runtime: it reads no file and loads nothing.
 *
 * @module
 */
import type { GrammarSpec } from "./spec.ts";

interface Disposable {
  dispose(): void;
}

/** A grammar that was read, and one made for a vocabulary. */
export type Grammar = Disposable;
export type CompiledGrammar = Disposable;

/** A grammar along one text. */
export interface Matcher extends Disposable {
  acceptToken(tokenId: number): boolean;
  getNextTokenBitmask(): Promise<Int32Array>;
}

/** The used part of the package. */
interface Package {
  readonly Grammar: {
    fromEBNF(text: string, root?: string): Promise<Grammar>;
    fromJSONSchema(
      schema: string,
      anyWhitespace: boolean,
      indent: number | undefined,
      separators: undefined,
      strict: boolean,
      mostWhitespace?: number,
    ): Promise<Grammar>;
    fromStructuralTag(tag: Readonly<Record<string, unknown>>): Promise<Grammar>;
  };
  readonly TokenizerInfo: {
    createTokenizerInfo(
      tokens: readonly string[],
      kind: "byte_level",
      prependsSpace: boolean,
      vocabSize: number,
      stopTokenIds: readonly number[],
    ): Promise<Disposable>;
  };
  readonly GrammarCompiler: {
    createGrammarCompiler(info: Disposable, caches: boolean): Promise<
      Disposable & { compileGrammar(grammar: Grammar): Promise<CompiledGrammar> }
    >;
  };
  readonly GrammarMatcher: {
    createGrammarMatcher(grammar: CompiledGrammar): Promise<Matcher>;
  };
}

/** Blanks in a row that JSON may have where it may have any: a model must not go on with them for ever. */
const mostWhitespace = 20;

const pageBytes = 2 ** 16;

/** `WebAssembly`, whose memories do not grow beyond a size: the engine gives up then. */
function boundedWebAssembly(mostBytes: number): typeof WebAssembly {
  const bound = ({ instance, module }: WebAssembly.WebAssemblyInstantiatedSource) => {
    for (const value of Object.values(instance.exports)) {
      if (!(value instanceof WebAssembly.Memory)) continue;
      const grow = value.grow.bind(value);
      value.grow = (pages) => {
        if (value.buffer.byteLength + pages * pageBytes > mostBytes) {
          throw new RangeError(`Cannot grow the grammars' memory beyond ${mostBytes} bytes`);
        }
        return grow(pages);
      };
    }
    return { instance, module };
  };
  const instantiate = async (bytes: BufferSource, imports: WebAssembly.Imports) =>
    bound(await WebAssembly.instantiate(bytes, imports));
  return Object.assign(Object.create(WebAssembly), { instantiate });
}

/** The engine gave up; the instance is not to be used again. */
export class EngineFault extends Error {
  override readonly name = "EngineFault";
}

/** A structural tag whose JSON is written in one line, as models write calls. */
async function inOneLine(engine: Package, format: unknown): Promise<unknown> {
  if (Array.isArray(format)) return await Promise.all(format.map((one) => inOneLine(engine, one)));
  if (typeof format !== "object" || format === null) return format;
  const { type, json_schema } = format as { readonly type?: unknown; readonly json_schema?: unknown };
  if (type === "json_schema") {
    const schema = JSON.stringify(json_schema);
    const grammar = await engine.Grammar.fromJSONSchema(schema, false, -1, undefined, true);
    const text = String(grammar);
    grammar.dispose();
    return { type: "grammar", grammar: text };
  }
  const parts = await Promise.all(
    Object.entries(format).map(async ([name, value]) => [name, await inOneLine(engine, value)]),
  );
  return Object.fromEntries(parts);
}

/** The last thing that the engine told, without the place in its own source. */
function reasonOf(told: readonly string[]): string {
  const last = told.at(-1);
  // The runtime's word for an abort without a reason, as when no memory is left.
  const fatal = told.findLast((line) => /\[FATAL\]/.test(line)) ?? (last === "Aborted()" ? undefined : last);
  return fatal?.replace(/^.*\[FATAL\] [^ ]*: */s, "").replace(/^Check failed: \(.*?\) is false: /s, "")
    .trim() ||
    "it is too large, or nested too deep";
}

/** One instance of the engine. */
export class XGrammar {
  readonly #package: Package;
  readonly #told: string[] = [];

  /**
   * @param source The text of the package's script.
   * @param mostBytes Bytes of its memory at most.
   */
  constructor(source: string, mostBytes: number) {
    const tell = (...parts: unknown[]): void => void this.#told.push(parts.join(" "));
    const console = { log: tell, warn: tell, error: tell };
    const page = { location: { href: "file:///" } };
    const surroundings: Record<string, unknown> = {
      ...{ exports: {}, module: {}, process: undefined, document: undefined, window: undefined },
      ...{ self: page, location: page.location, importScripts: () => {} },
      ...{ console, WebAssembly: boundedWebAssembly(mostBytes) },
    };
    // The script is the package's own, of a pinned version.
    new Function(...Object.keys(surroundings), source)(...Object.values(surroundings));
    this.#package = surroundings.exports as Package;
  }

  /** Runs a call of the engine; an abort of it, or a trap, is an EngineFault. */
  async #run<T>(call: (engine: Package) => Promise<T>): Promise<T> {
    this.#told.length = 0;
    try {
      return await call(this.#package);
    } catch {
      throw new EngineFault(reasonOf(this.#told));
    }
  }

  /** Reads a grammar. */
  async read(spec: GrammarSpec): Promise<Grammar> {
    const tag = (format: unknown) => ({ type: "structural_tag", format });
    return await this.#run(async (engine) => {
      const { Grammar } = engine;
      if (spec.kind === "json_schema") {
        const schema = JSON.stringify(spec.schema);
        return await Grammar.fromJSONSchema(schema, true, undefined, undefined, true, mostWhitespace);
      }
      if (spec.kind === "ebnf") return await Grammar.fromEBNF(spec.text);
      if (spec.kind === "structural_tag") {
        return await Grammar.fromStructuralTag(tag(await inOneLine(engine, spec.format)));
      }
      const format = spec.kind === "regex" ? { type: "regex", pattern: spec.pattern } : {
        type: "or",
        elements: spec.choices.map((value) => ({ type: "const_string", value })),
      };
      return await Grammar.fromStructuralTag(tag(format));
    });
  }

  /**
   * What compiles grammars for a vocabulary.
   *
   * @param tokens Each token's bytes, as letters of GPT-2's alphabet; empty for tokens that no text has.
   */
  async compiler(
    tokens: readonly string[],
    stopTokenIds: readonly number[],
  ): Promise<(grammar: Grammar) => Promise<CompiledGrammar>> {
    const compiler = await this.#run(async ({ TokenizerInfo, GrammarCompiler }) => {
      const info = await TokenizerInfo.createTokenizerInfo(
        tokens,
        "byte_level",
        false,
        tokens.length,
        stopTokenIds,
      );
      return await GrammarCompiler.createGrammarCompiler(info, false);
    });
    return async (grammar) => await this.#run(() => compiler.compileGrammar(grammar));
  }

  async matcher(grammar: CompiledGrammar): Promise<Matcher> {
    return await this.#run(({ GrammarMatcher }) => GrammarMatcher.createGrammarMatcher(grammar));
  }

  /** Takes a token, and says what may come next; undefined where the token may not come. */
  async next(matcher: Matcher, tokens: readonly number[]): Promise<Uint32Array | undefined> {
    return await this.#run(async () => {
      for (const token of tokens) if (!matcher.acceptToken(token)) return undefined;
      const mask = await matcher.getNextTokenBitmask();
      return new Uint32Array(mask.slice().buffer);
    });
  }
}
