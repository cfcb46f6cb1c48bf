/**
 * Documents to tokens.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";
import { type Corpus, CorpusBuilder } from "./corpus.ts";
import type { TextDocument } from "./documents.ts";

/** What encoding needs of a tokenizer. */
export type Encoder = Pick<Tokenizer, "encode" | "decode" | "eosTokenIds">;

/** Text is encoded in pieces from this many characters on: an encoder's memory is some hundred bytes a character. */
const shortestPiece = 2 ** 16;

/** A piece ends here at the latest, white space or not. */
const longestPiece = 2 ** 20;

/** Characters before a seam that what follows is encoded with. */
const seamContext = 256;

const isLowSurrogate = (text: string, at: number): boolean => (text.charCodeAt(at) & 0xfc00) === 0xdc00;

/** Where the piece that begins at `begin` ends. */
function pieceEnd(text: string, begin: number): number {
  if (text.length - begin <= 2 * shortestPiece) return text.length;
  const from = begin + shortestPiece;
  const window = text.slice(from, begin + longestPiece);
  const line = window.search(/\S\n\S/);
  if (line >= 0) return from + line + 2;
  const space = window.search(/\S \S/);
  if (space >= 0) return from + space + 1;
  const end = Math.min(begin + longestPiece, text.length);
  return isLowSurrogate(text, end) ? end - 1 : end;
}

/**
 * A long text in pieces: cut behind a line break, else before a space, that stands alone between two words. There the
 * pre-tokenizers in use (GPT-2's, Llama 3's, Qwen's; SentencePiece's spaces) cut, too, so that nothing changes. Only
 * within more than 2^20 characters without any such place a token may be cut in two.
 */
export function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  for (let begin = 0; begin < text.length;) {
    const end = pieceEnd(text, begin);
    pieces.push(text.slice(begin, end));
    begin = end;
  }
  return pieces;
}

/** The last characters of a text. */
function tailOf(text: string): string {
  const begin = Math.max(0, text.length - seamContext);
  return text.slice(isLowSurrogate(text, begin) ? begin + 1 : begin);
}

/** The tokens that a tokenizer puts before every text: it frames one letter, and what stands before that is they. */
function tokensBefore(encoder: Encoder): readonly number[] {
  const letter = encoder.encode("a", { addSpecialTokens: false });
  const framed = encoder.encode("a");
  const at = framed.findIndex((_, begin) => letter.every((id, i) => framed[begin + i] === id));
  return framed.slice(0, Math.max(0, at));
}

/**
 * The tokens that `right` adds to `left`. Where a token would span the seam, `right` is encoded alone: a prompt is
 * encoded without its completion when a model is asked, too.
 */
function tokensAfter(encoder: Encoder, { left, right }: { left: string; right: string }): readonly number[] {
  const encode = (text: string): number[] => encoder.encode(text, { addSpecialTokens: false });
  if (left === "") return encode(right);
  const before = encode(left);
  const both = encode(left + right);
  return before.every((id, i) => both[i] === id) ? both.slice(before.length) : encode(right);
}

/** Whether nothing but white space follows an end token. */
function isEnded(encoder: Encoder, tokens: readonly number[]): boolean {
  for (let i = tokens.length - 1; i >= 0; i--) {
    if (encoder.eosTokenIds.includes(tokens[i])) return true;
    if (/\S/.test(encoder.decode([tokens[i]], { skipSpecialTokens: false }))) return false;
  }
  return false;
}

/**
 * Encodes documents: each begins with the tokens that the tokenizer puts before a text (a chat's template has done so),
 * and ends with the first of the model's end tokens, unless its text ends with one. The end token is learnt where the
 * document's last segment is.
 *
 * @throws ConfigError when the model names no end token.
 */
export async function encodeDocuments(
  documents: AsyncIterable<TextDocument>,
  encoder: Encoder,
): Promise<Corpus> {
  const [end] = encoder.eosTokenIds;
  if (end === undefined) {
    throw new ConfigError('Cannot end documents: the model\'s config.json has no "eos_token_id"');
  }
  const corpus = new CorpusBuilder();
  const start = tokensBefore(encoder);
  for await (const { segments, isTemplated } of documents) {
    if (!isTemplated) corpus.append(start, segments[0].isTarget);
    let left = "";
    let last: readonly number[] = [];
    for (const { text, isTarget } of segments) {
      for (const piece of piecesOf(text)) {
        last = tokensAfter(encoder, { left, right: piece });
        corpus.append(last, isTarget);
        left = tailOf(left + piece);
      }
    }
    corpus.endDocument(isEnded(encoder, last) ? [] : [end], segments[segments.length - 1].isTarget);
  }
  return corpus.finish();
}
