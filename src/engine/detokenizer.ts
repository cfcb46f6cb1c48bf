/**
 * From token ids to text, one at a time: each token's own text and bytes, after the tokens before it.
 *
 * @module
 */
import type { Tokenizer } from "../models/tokenizer_types.ts";

/** What decoding needs of a tokenizer. Without `decodeBytes` every token must be whole characters. */
export type TokenDecoder =
  & Pick<Tokenizer, "decode">
  & Partial<Pick<Tokenizer, "decodeBytes" | "decodesEachAlone">>;

/** Tokens that a new one is decoded after; decoders look at no more than what stands next to it, or at the start. */
const contextTokens = 4;
const maxWindow = 16;
/** Bytes that wait for the end of a character at most: a character's, and those of the token that begins it. */
const maxHeld = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes that a character's lead byte asks for; 1 for what is none. */
function lengthOf(lead: number): number {
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 1;
}

/** Whether two bytes can begin one character: lead bytes with a narrower range for the second are looked up. */
function goesOn(lead: number, second: number): boolean {
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

/** Bytes at the end that begin a character and do not finish it: up to three. */
function unfinished(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const lead = bytes[bytes.length - count];
    if (lead >= 0x80 && lead < 0xc0) continue;
    const begun = lengthOf(lead) > count && (count === 1 || goesOn(lead, bytes[bytes.length - count + 1]));
    return begun ? count : 0;
  }
  return 0;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Bytes of ASCII that are cheaper to read here than by a decoder. */
const shortText = 24;

/** The text of a few bytes that are all ASCII; undefined of others. */
function shortAscii(bytes: Uint8Array): string | undefined {
  if (bytes.length > shortText) return undefined;
  let text = "";
  for (const byte of bytes) {
    if (byte >= 0x80) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** The text that can be told of some bytes, and how many of them it takes: none while a character is unfinished. */
function told(bytes: Uint8Array): { readonly text: string; readonly count: number } {
  const ascii = shortAscii(bytes);
  if (ascii !== undefined) return { text: ascii, count: bytes.length };
  const open = unfinished(bytes);
  // Wrong bytes can follow each other for ever.
  const count = open === 0 ? bytes.length : bytes.length > maxHeld ? bytes.length - open : 0;
  return { text: decoder.decode(bytes.subarray(0, count)), count };
}

/** What a token adds to the text before it. */
export interface TokenText {
  /** Empty where the token ends amid a character; the one that finishes it has all of their text, as in vLLM. */
  readonly text: string;
  /** Of a part of a character, that part's. */
  readonly bytes: Uint8Array;
}

/** Tokens of a tokenizer whose text is kept at most. */
const mostKept = 2 ** 15;

/** Texts of tokens that are whole characters, of tokenizers that decode each token alone; with special tokens, and without. */
const kept = new WeakMap<TokenDecoder, readonly [Map<number, TokenText>, Map<number, TokenText>]>();

function keptOf(tokenizer: TokenDecoder, skipSpecialTokens: boolean): Map<number, TokenText> {
  const both = kept.get(tokenizer) ?? [new Map(), new Map()];
  kept.set(tokenizer, both);
  return both[Number(skipSpecialTokens)];
}

/** How special tokens are decoded. */
export interface DetokenizerOptions {
  /** Tokens before the first; their text is not given out, except a character that they leave unfinished. */
  readonly context?: readonly number[];
  /** Default true. */
  readonly skipSpecialTokens?: boolean;
}

/**
 * Tokens to text, one token at a time.
 *
 * The pieces joined are the text of all tokens: bytes of an unfinished character wait for the rest of it. Each decode sees
 * only the last few tokens, some of them with text, so that a decoder treats the new one as it would within the whole:
 * SentencePiece's drop the space of a text's first word only.
 */
export class Detokenizer {
  readonly #skipSpecialTokens: boolean;
  /** Whether a token is decoded without those before it. */
  readonly #alone: boolean;
  /** Texts of tokens that are whole characters, where each token is decoded alone. */
  readonly #whole: Map<number, TokenText> | undefined;
  #window: number[] = [];
  #windowBytes: Uint8Array = new Uint8Array();
  /** Bytes since the last end of a character that was also a token's. */
  #held: Uint8Array = new Uint8Array();

  constructor(
    private readonly tokenizer: TokenDecoder,
    { context = [], skipSpecialTokens = true }: DetokenizerOptions = {},
  ) {
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#alone = tokenizer.decodesEachAlone === true && tokenizer.decodeBytes !== undefined;
    this.#whole = this.#alone ? keptOf(tokenizer, skipSpecialTokens) : undefined;
    for (let count = contextTokens;; count *= 2) {
      this.#window = context.slice(-count);
      this.#windowBytes = this.#decode(this.#window);
      if (this.#windowBytes.length > 0 || count >= context.length) break;
    }
    this.#held = this.#windowBytes.subarray(this.#windowBytes.length - unfinished(this.#windowBytes));
  }

  #decode(ids: readonly number[]): Uint8Array {
    const options = { skipSpecialTokens: this.#skipSpecialTokens };
    if (ids.length === 0) return new Uint8Array();
    return this.tokenizer.decodeBytes?.(ids, options) ?? encoder.encode(this.tokenizer.decode(ids, options));
  }

  /** Bytes that an id adds, and what all decode to with it. */
  #add(tokenId: number): { readonly bytes: Uint8Array; readonly all: Uint8Array } {
    if (this.#alone) {
      const bytes = this.#decode([tokenId]);
      return { bytes, all: bytes };
    }
    const all = this.#decode([...this.#window, tokenId]);
    const before = this.#windowBytes;
    let same = 0;
    while (same < before.length && before[same] === all[same]) same++;
    return { bytes: all.subarray(same), all };
  }

  /** What a token would add here. */
  peek(tokenId: number): TokenText {
    const { bytes } = this.#add(tokenId);
    return { text: told(joined(this.#held, bytes)).text, bytes };
  }

  /** What a token adds. */
  push(tokenId: number): TokenText {
    const isOpen = this.#held.length > 0, known = isOpen ? undefined : this.#whole?.get(tokenId);
    if (known) return known;
    const { bytes, all } = this.#add(tokenId);
    const held = joined(this.#held, bytes);
    const { text, count } = told(held);
    this.#held = held.slice(count);
    if (this.#whole) {
      const token = { text, bytes }, isWhole = !isOpen && count === bytes.length;
      if (isWhole && this.#whole.size < mostKept) this.#whole.set(tokenId, token);
      return token;
    }
    this.#window.push(tokenId);
    this.#windowBytes = all;
    if (this.#window.length > maxWindow) this.#shorten();
    return { text, bytes };
  }

  /** What is left when no token follows: text that ends with a replacement for an unfinished character, or nothing. */
  end(): string {
    const text = decoder.decode(this.#held);
    this.#held = new Uint8Array();
    return text;
  }

  /** The last tokens that have text, without those of no text after them where they are many. */
  #shorten(): void {
    const last = this.#window.slice(-contextTokens);
    const bytes = this.#decode(last);
    if (bytes.length > 0) {
      this.#window = last;
      this.#windowBytes = bytes;
      return;
    }
    // Special tokens in a row: they add nothing, and what stands before them is still the context.
    this.#window = this.#window.slice(0, -contextTokens);
  }
}
