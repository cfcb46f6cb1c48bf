/**
 * From an engine's tokens to pieces of text: whole characters only, cut at stop strings.
 *
 * @module
 */
import type { Tokenizer } from "../models/tokenizer_types.ts";
import type { Engine, GenerateRequest, TokenLogprobs } from "./generate.ts";

/** What a decoder puts in place of bytes that are no character, or not yet one. */
const replacement = "\ufffd";

/** Tokens decoded at once at most while no character is complete; a character has at most four bytes. */
const maxWindow = 32;
const keptWindow = 8;

/**
 * Tokens to text, one token at a time.
 *
 * The pieces joined are the text of all tokens: bytes of an unfinished character wait for the rest of it. Each decode sees
 * only the last few tokens, and starts at a character's first byte, so that a decoder treats the new ones as it would
 * within the whole text.
 */
export class Detokenizer {
  #window: number[] = [];
  /** UTF-16 units of the window's text that were given out. */
  #given = 0;
  /** Tokens of the window up to the last end of a character. */
  #settled = 0;

  /** @param context Tokens before the first; their text is not given out, except a character that they leave unfinished. */
  constructor(private readonly tokenizer: Pick<Tokenizer, "decode">, context: readonly number[] = []) {
    for (const id of context) this.push(id);
  }

  /** The text that a token adds; empty while a character is unfinished. */
  push(tokenId: number): string {
    this.#window.push(tokenId);
    const text = this.tokenizer.decode(this.#window);
    // An unfinished character at the end decodes to one replacement; earlier ones stand for bytes that stay wrong.
    const stable = text.endsWith(replacement) ? text.length - 1 : text.length;
    const piece = text.slice(this.#given, stable);
    this.#given = stable;
    if (stable === text.length) this.#settle();
    else if (this.#window.length > maxWindow) this.#shorten();
    return piece;
  }

  /** What is left when no token follows: a replacement for an unfinished character, or nothing. */
  end(): string {
    return this.tokenizer.decode(this.#window).slice(this.#given);
  }

  /** At the end of a character: the tokens since the last such end are context enough, when they have any text. */
  #settle(): void {
    const recent = this.#window.slice(this.#settled);
    const text = this.tokenizer.decode(recent);
    if (text === "") return;
    this.#window = recent;
    this.#settled = recent.length;
    this.#given = text.length;
  }

  /** Amid many wrong bytes: UTF-8 finds its way again after a few. */
  #shorten(): void {
    this.#window = this.#window.slice(-keptWindow);
    this.#settled = 0;
    this.#given = this.tokenizer.decode(this.#window).length - 1;
  }
}

/** Length of the longest end of `text` that begins `stop` and is shorter than it. */
function heldBy(stop: string, text: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}

/**
 * Text up to the stop string that is completed first, however the text is cut into pieces.
 *
 * Text that may be the beginning of a stop string is held back. Of stop strings completed by the same character the
 * longest counts.
 */
export class StopFinder {
  #held = "";

  /** @param stops None of them empty. */
  constructor(private readonly stops: readonly string[]) {}

  /** The text that can be given out, and whether a stop string follows it: then nothing may be pushed any more. */
  push(piece: string): { readonly text: string; readonly stopped: boolean } {
    const text = this.#held + piece;
    let first: { at: number; end: number } | undefined;
    for (const stop of this.stops) {
      const at = text.indexOf(stop);
      const end = at + stop.length;
      if (at < 0) continue;
      if (!first || end < first.end || (end === first.end && at < first.at)) first = { at, end };
    }
    if (first) return { text: text.slice(0, first.at), stopped: true };
    const held = Math.max(0, ...this.stops.map((stop) => heldBy(stop, text)));
    this.#held = text.slice(text.length - held);
    return { text: text.slice(0, text.length - held), stopped: false };
  }

  /** What was held back, when no text follows. */
  end(): string {
    return this.#held;
  }
}

/** A token's log-probabilities; each of the most likely ones with its text and bytes in the same place. */
export interface TextLogprobs {
  readonly logprob: number;
  /** Most likely first. */
  readonly top: readonly {
    readonly tokenId: number;
    readonly text: string;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
}

/** A token within a text. */
export interface TextToken {
  readonly tokenId: number;
  /** Characters (code points) of the text before the token; of the prompt's text, too, where that is echoed. */
  readonly offset: number;
  /** The token's own text, decoded after the tokens before it; the texts joined make the text. */
  readonly text: string;
  /** UTF-8 bytes that the token stands for; of a part of a character, that part's. */
  readonly bytes: readonly number[];
  /** Null for a prompt's first token; absent when not asked for. */
  readonly logprobs?: TextLogprobs | null;
}

/**
 * What {@linkcode generateText} reports, in order: `prompt` once where it is echoed, any number of `piece`s with text, and
 * one `end` with what text is left.
 *
 * Every token that the engine reported is in one of them, those of a stop string, too; it comes with or before its text.
 */
export type TextEvent =
  | { readonly kind: "prompt"; readonly text: string; readonly tokens: readonly TextToken[] }
  | { readonly kind: "piece"; readonly text: string; readonly tokens: readonly TextToken[] }
  | {
    readonly kind: "end";
    readonly text: string;
    readonly tokens: readonly TextToken[];
    /** `stop` at a stop string or the end-of-text token. */
    readonly finishReason: "stop" | "length";
    /** The stop string, or the id among the request's `stopTokenIds`, that ended the sequence; absent otherwise. */
    readonly stopReason?: string | number;
  };

/** What is asked of {@linkcode generateText} besides tokens. */
export interface TextOptions {
  readonly tokenizer: Pick<Tokenizer, "decode">;
  /** Texts that end the sequence; they are not part of its text. None may be empty. */
  readonly stop?: readonly string[];
  /** Leave special tokens out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /** End the text with the stop string or stop token that ended the sequence. Default false. */
  readonly includeStop?: boolean;
  /** Report the prompt first; with log-probabilities if the request asks for the prompt's. */
  readonly echo?: boolean;
}

/** Prompt tokens that a new text is decoded after, when the prompt itself is not reported. */
const contextTokens = 4;

function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Tokens on their way to text. */
class TextWriter {
  #tokens: TextToken[] = [];
  #offset = 0;
  #pushed = false;

  constructor(
    private readonly detokenizer: Detokenizer,
    private readonly tokenizer: Pick<Tokenizer, "decode">,
  ) {}

  push(tokenId: number, logprobs?: TokenLogprobs | null): string {
    this.#tokens.push({
      ...this.#piece(tokenId),
      offset: this.#offset,
      ...(logprobs === undefined ? {} : {
        logprobs: logprobs && {
          logprob: logprobs.logprob,
          top: logprobs.top.map((one) => ({ ...this.#piece(one.tokenId), logprob: one.logprob })),
        },
      }),
    });
    this.#pushed = true;
    const piece = this.detokenizer.push(tokenId);
    this.#offset += countCharacters(piece);
    return piece;
  }

  #piece(tokenId: number): Pick<TextToken, "tokenId" | "text" | "bytes"> {
    const text = this.tokenizer.decode([tokenId], { skipSpecialTokens: false });
    return { tokenId, text, bytes: [...new TextEncoder().encode(text)] };
  }

  /** Tokens since the last call. */
  take(): readonly TextToken[] {
    const tokens = this.#tokens;
    this.#tokens = [];
    return tokens;
  }

  end(): string {
    return this.#pushed ? this.detokenizer.end() : "";
  }
}

/**
 * Starts a sequence and reports its text.
 *
 * Ending the iteration, a stop string or the request's signal ends the engine's sequence, too.
 *
 * @throws what the engine throws.
 */
export async function* generateText(
  engine: Pick<Engine, "generate">,
  request: GenerateRequest,
  { tokenizer, stop = [], echo = false }: TextOptions,
): AsyncGenerator<TextEvent, void, void> {
  const { promptTokenIds } = request;
  const context = echo ? [] : promptTokenIds.slice(-contextTokens);
  const writer = new TextWriter(new Detokenizer(tokenizer, context), tokenizer);
  const finder = new StopFinder(stop);
  let toEcho = echo;
  for await (const event of engine.generate(request)) {
    // Not before the engine's first event: a request that it refuses has no text.
    if (toEcho) {
      const logprobs = event.kind === "prompt" ? event.logprobs : undefined;
      const text = promptTokenIds.map((id, i) => writer.push(id, logprobs?.[i])).join("");
      yield { kind: "prompt", text, tokens: writer.take() };
      toEcho = false;
    }
    if (event.kind === "token") {
      const { text, stopped } = finder.push(writer.push(event.tokenId, event.logprobs));
      if (stopped) {
        yield { kind: "end", text, tokens: writer.take(), finishReason: "stop" };
        return;
      }
      if (text !== "") yield { kind: "piece", text, tokens: writer.take() };
    } else if (event.kind === "end") {
      const { text, stopped } = finder.push(writer.end());
      yield {
        kind: "end",
        text: stopped ? text : text + finder.end(),
        tokens: writer.take(),
        finishReason: stopped ? "stop" : event.finishReason,
      };
      return;
    }
  }
}
