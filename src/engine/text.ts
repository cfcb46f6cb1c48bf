/**
 * From an engine's tokens to pieces of text: whole characters only, cut at stop strings.
 *
 * @module
 */
import { Detokenizer, type TokenDecoder } from "./detokenizer.ts";
import { burstsOf } from "./bursts.ts";
import type { Engine, GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import { StopFinder } from "./stop_finder.ts";

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
  /**
   * The token's own text, decoded after the tokens before it; the texts joined make the text. A token that ends amid a
   * character has none, and the one that finishes the character has all of theirs. Special tokens that the text leaves
   * out have their own, and so has a stop token.
   */
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
  readonly tokenizer: TokenDecoder;
  /** Texts that end the sequence; they are not part of its text. None may be empty. */
  readonly stop?: readonly string[];
  /** Leave special tokens out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /**
   * End the text with the stop string or stop token that ended the sequence, with the model's own end token, too. A
   * special token has text only with `skipSpecialTokens` false. Default false.
   */
  readonly includeStop?: boolean;
  /** Report the prompt first; with log-probabilities if the request asks for the prompt's. */
  readonly echo?: boolean;
}

function countCharacters(text: string): number {
  let count = text.length;
  for (let i = 1; i < text.length; i++) {
    const isPair = (text.charCodeAt(i - 1) & 0xfc00) === 0xd800 && (text.charCodeAt(i) & 0xfc00) === 0xdc00;
    if (isPair) count--;
  }
  return count;
}

function listOf(bytes: Uint8Array): number[] {
  const list = new Array<number>(bytes.length);
  for (let i = 0; i < bytes.length; i++) list[i] = bytes[i];
  return list;
}

/** Tokens on their way to text. */
class TextWriter {
  #tokens: TextToken[] = [];
  #offset = 0;
  #pushed = false;

  constructor(private readonly tokenizer: TokenDecoder, private readonly detokenizer: Detokenizer) {}

  /** Takes a token of the text. */
  push(tokenId: number, logprobs?: TokenLogprobs | null): string {
    // Those beside the token stand where it stands: after the tokens before it.
    const beside = this.#logprobs(logprobs);
    const { text, bytes } = this.detokenizer.push(tokenId);
    this.#pushed = true;
    this.#take({ tokenId, text, bytes }, beside);
    this.#offset += countCharacters(text);
    return text;
  }

  /** Takes a token that is not part of the text. */
  note(tokenId: number, logprobs?: TokenLogprobs | null): void {
    this.#take({ tokenId, ...this.detokenizer.peek(tokenId) }, this.#logprobs(logprobs));
  }

  #take(token: Named, logprobs?: TextLogprobs | null): void {
    const { tokenId, text, bytes } = this.#named(token), offset = this.#offset;
    this.#tokens.push(
      logprobs === undefined ? { tokenId, text, bytes, offset } : { tokenId, text, bytes, offset, logprobs },
    );
  }

  #logprobs(logprobs?: TokenLogprobs | null): TextLogprobs | null | undefined {
    if (!logprobs) return logprobs;
    const top = logprobs.top.map(({ tokenId, logprob }) => ({
      ...this.#named({ tokenId, ...this.detokenizer.peek(tokenId) }),
      logprob,
    }));
    return { logprob: logprobs.logprob, top };
  }

  /** A token with its text; a special one that the text leaves out is called by its name. */
  #named({ tokenId, text, bytes }: Named): Pick<TextToken, "tokenId" | "text" | "bytes"> {
    if (bytes.length > 0) return { tokenId, text, bytes: listOf(bytes) };
    const name = this.tokenizer.decode([tokenId], { skipSpecialTokens: false });
    const special = name !== "" && this.tokenizer.decode([tokenId]) === "";
    return special
      ? { tokenId, text: name, bytes: [...new TextEncoder().encode(name)] }
      : { tokenId, text, bytes: [] };
  }

  /** Tokens since the last call. */
  take(): readonly TextToken[] {
    const tokens = this.#tokens;
    this.#tokens = [];
    return tokens;
  }

  /** The text of a character that stays unfinished; it is the last token's. */
  end(): string {
    const text = this.#pushed ? this.detokenizer.end() : "";
    const last = this.#tokens.at(-1);
    if (text !== "" && last) this.#tokens.splice(-1, 1, { ...last, text });
    return text;
  }
}

interface Named {
  readonly tokenId: number;
  readonly text: string;
  readonly bytes: Uint8Array;
}

type EndEvent = Extract<GenerateEvent, { kind: "end" }>;
type Piece = Extract<TextEvent, { kind: "piece" }>;
type End = Extract<TextEvent, { kind: "end" }>;

/** One sequence's text. */
class Sequence {
  readonly #writer: TextWriter;
  readonly #finder: StopFinder;
  readonly #includeStop: boolean;
  readonly #showsSpecial: boolean;
  #newTokens = 0;

  constructor(private readonly request: GenerateRequest, options: TextOptions) {
    const { tokenizer, stop = [], skipSpecialTokens = true, includeStop = false, echo = false } = options;
    const context = echo ? [] : request.promptTokenIds;
    this.#writer = new TextWriter(tokenizer, new Detokenizer(tokenizer, { context, skipSpecialTokens }));
    this.#finder = new StopFinder(stop);
    this.#includeStop = includeStop;
    this.#showsSpecial = includeStop && !skipSpecialTokens;
  }

  prompt(logprobs?: readonly (TokenLogprobs | null)[]): TextEvent {
    const text = this.request.promptTokenIds.map((id, i) => this.#writer.push(id, logprobs?.[i])).join("");
    return { kind: "prompt", text, tokens: this.#writer.take() };
  }

  /** The text's event of an engine's; none of a prompt, and while a token's text is held back. */
  take(event: GenerateEvent): Piece | End | undefined {
    if (event.kind === "prompt") return undefined;
    return event.kind === "token" ? this.#token(event.tokenId, event.logprobs) : this.#end(event);
  }

  #token(tokenId: number, logprobs?: TokenLogprobs): Piece | End | undefined {
    // vLLM's rule: what the first `minTokens` tokens complete does not stop.
    const mayStop = ++this.#newTokens > (this.request.minTokens ?? 0);
    const { text, stop } = this.#finder.push(this.#writer.push(tokenId, logprobs), mayStop);
    if (stop !== undefined) return this.#stopped(text, stop);
    return text === "" ? undefined : { kind: "piece", text, tokens: this.#writer.take() };
  }

  #stopped(text: string, stop: string): End {
    return {
      kind: "end",
      text: this.#includeStop ? text + stop : text,
      tokens: this.#writer.take(),
      finishReason: "stop",
      stopReason: stop,
    };
  }

  #end({ finishReason, stopToken }: EndEvent): End {
    const asked = stopToken && this.request.stopTokenIds?.includes(stopToken.tokenId);
    // The model's own end token is not reported, unless the text shows it.
    if (stopToken && (asked || this.#showsSpecial)) {
      return this.#endAt(stopToken, asked ? { stopReason: stopToken.tokenId } : {});
    }
    const { text, stop } = this.#finder.push(this.#writer.end());
    if (stop !== undefined) return this.#stopped(text, stop);
    return { kind: "end", text: text + this.#finder.end(), tokens: this.#writer.take(), finishReason };
  }

  #endAt(
    { tokenId, logprobs }: NonNullable<EndEvent["stopToken"]>,
    reason: { readonly stopReason?: number },
  ): End {
    const shown = this.#includeStop ? this.#writer.push(tokenId, logprobs) : "";
    const last = shown + this.#writer.end();
    if (!this.#includeStop) this.#writer.note(tokenId, logprobs);
    // A stop token ends the text: what it completes is no stop string any more.
    const { text } = this.#finder.push(last, false);
    return {
      kind: "end",
      text: text + this.#finder.end(),
      tokens: this.#writer.take(),
      finishReason: "stop",
      ...reason,
    };
  }
}

/** Pieces that are there at once, as one. A slow asker has as many as tokens: each of them is taken once. */
function joined(pieces: readonly Piece[]): Piece {
  if (pieces.length === 1) return pieces[0];
  const text = pieces.map(({ text }) => text).join("");
  return { kind: "piece", text, tokens: pieces.flatMap(({ tokens }) => tokens) };
}

/**
 * Starts a sequence and reports its text. Tokens that the engine tells together are one piece.
 *
 * Ending the iteration, a stop string or the request's signal ends the engine's sequence, too. The token among
 * `stopTokenIds` that ended the sequence is one of its tokens, though the text is without it; the model's own end token
 * is not, unless `includeStop` and `skipSpecialTokens: false` show it.
 *
 * @throws RangeError when a stop string is empty; and what the engine throws.
 */
export async function* generateText(
  engine: Pick<Engine, "generate" | "bursts">,
  request: GenerateRequest,
  options: TextOptions,
): AsyncGenerator<TextEvent, void, void> {
  if (options.stop?.includes("")) throw new RangeError('Cannot use stop string "": it must not be empty');
  const sequence = new Sequence(request, options);
  let toEcho = options.echo ?? false;
  // A stop string ends the sequence at its last token: the engine must not run far ahead of it.
  const asked = options.stop?.length ? { ...request, eager: true } : request;
  for await (const events of burstsOf(engine, asked)) {
    // Not before the engine's first event: a request that it refuses has no text.
    if (toEcho) {
      const [first] = events;
      yield sequence.prompt(first.kind === "prompt" ? first.logprobs : undefined);
      toEcho = false;
    }
    const pieces: Piece[] = [];
    let end: End | undefined;
    for (const event of events) {
      const told = sequence.take(event);
      if (told?.kind === "piece") pieces.push(told);
      if (told?.kind === "end") {
        end = told;
        break;
      }
    }
    if (pieces.length > 0) yield joined(pieces);
    if (end) {
      yield end;
      return;
    }
  }
}
