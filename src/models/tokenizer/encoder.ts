/**
 * A tokenizer.json at work: texts to ids and back.
 *
 * @module
 */
import { type AddedToken, AddedTokens, type NewToken, newToken, TokenFinder } from "./added_tokens.ts";
import { asEscapes, asText, type ByteWriting, type Decoder, decoderOf, unescaped } from "./decoders.ts";
import { type Fields, object, objects } from "./fields.ts";
import { type Model, modelOf } from "./model.ts";
import { type Normalizer, normalizerOf, type Piece } from "./normalizers.ts";
import { plain, type PostProcessor, postProcessorOf, type TypedTokens } from "./post_processors.ts";
import { type PreTokenizer, preTokenizerOf } from "./pre_tokenizers.ts";
import { finish, type Steps, stepSize } from "./steps.ts";

/** Words of this length at most are remembered with their tokens, so many of them. */
const rememberedLength = 64;
const rememberedWords = 1 << 14;

/** How many tokens of two texts are kept: the longer one loses first, as in the library `tokenizers`. */
function longestFirst(a: number, b: number, most: number): readonly [number, number] {
  if (a + b <= most) return [a, b];
  const short = Math.min(a, b);
  let kept: readonly [number, number] = [short, short > most ? short : Math.max(short, most - short)];
  if (kept[0] + kept[1] > most) kept = [Math.floor(most / 2), Math.ceil(most / 2)];
  return a <= b ? kept : [kept[1], kept[0]];
}

/** Words and tokens of a step, about. */
const wordsAtOnce = 128;

/** The part that a nullable field describes. */
function part<T>(fields: Fields, name: string, make: (fields: Fields) => T): T | undefined {
  return (fields[name] ?? undefined) === undefined ? undefined : make(object(fields, name));
}

/** What is not in tokenizer.json. */
export interface EncoderOptions {
  /** Tokens of other files, which are added after those of tokenizer.json, or in their place. */
  readonly added?: readonly NewToken[];
  /** Leave special tokens in a text to the model. */
  readonly splitSpecialTokens?: boolean;
}

/**
 * Encodes as the Python library `tokenizers` does. `truncation` and `padding` of the file are not followed: transformers
 * switches both off unless a call asks for them.
 */
export class Encoder {
  readonly added: AddedTokens;
  /** Whether a token's bytes are the same wherever it stands. */
  readonly decodesEachAlone: boolean;
  readonly #model: Model;
  readonly #normalizer: Normalizer | undefined;
  readonly #preTokenizer: PreTokenizer | undefined;
  readonly #postProcessor: PostProcessor;
  readonly #decoder: Decoder | undefined;
  readonly #tokens = new Map<number, string>();
  readonly #remembered = new Map<string, readonly number[]>();
  readonly #plain: TokenFinder;
  readonly #normalized: TokenFinder;
  /** UTF-16 units of a text that a token stands for at most. */
  readonly #unitsOfToken: number;

  /** @throws ConfigError that names the field and the rule it breaks. */
  constructor(fields: Fields, { added = [], splitSpecialTokens = false }: EncoderOptions = {}) {
    this.#model = modelOf(object(fields, "model"));
    this.#normalizer = part(fields, "normalizer", normalizerOf);
    this.#preTokenizer = part(fields, "pre_tokenizer", preTokenizerOf);
    this.#postProcessor = part(fields, "post_processor", postProcessorOf) ?? plain;
    this.#decoder = part(fields, "decoder", decoderOf);
    this.decodesEachAlone = part(fields, "decoder", ({ type }) => type === "ByteLevel") ?? false;
    this.added = new AddedTokens(this.#model.vocabulary);
    for (const one of objects(fields, "added_tokens", [])) this.added.add(newToken(one));
    for (const one of added) this.added.add(one);
    for (const [token, id] of this.#model.vocabulary) this.#tokens.set(id, token);
    for (const one of this.added.all()) this.#tokens.set(one.id, this.#textOf(one));
    const found = this.added.all().filter(({ special }) => !(special && splitSpecialTokens));
    this.#plain = new TokenFinder(found.filter((one) => !one.normalized).map((one) => [one.content, one]));
    this.#normalized = new TokenFinder(
      found.filter((one) => one.normalized).map((one) => [this.#textOf(one), one]),
    );
    this.#unitsOfToken = this.#longestToken(fields);
  }

  /** The text that a token is found by, and decoded to. */
  #textOf({ content, normalized }: AddedToken): string {
    return normalized ? finish(this.#normalize({ text: content, first: true })).text : content;
  }

  *#normalize(piece: Piece): Steps<Piece> {
    return this.#normalizer ? yield* this.#normalizer.steps(piece) : piece;
  }

  /** The ids of a text, and of what surrounds it with `addSpecialTokens`. */
  *steps(text: string, addSpecialTokens: boolean): Steps<number[]> {
    return this.#postProcessor.single(yield* this.#textIds(text), addSpecialTokens) as number[];
  }

  /**
   * The ids of a text, or of two, with what surrounds them, and the type of each.
   *
   * @param maxLength Ids at most: the longer text is cut first, as in transformers' "longest_first".
   */
  *typedSteps(
    [first, second]: readonly [string, string?],
    { maxLength = Infinity, keepEnd = false }: { readonly maxLength?: number; readonly keepEnd?: boolean },
  ): Steps<TypedTokens> {
    const a = yield* this.#textIds(first),
      b = second === undefined ? undefined : yield* this.#textIds(second);
    const around = this.#postProcessor.typed([], b && []).tokenIds.length;
    if (maxLength < around) {
      throw new RangeError(
        `Cannot cut texts to ${maxLength} tokens: what surrounds them has ${around} alone`,
      );
    }
    const [keepA, keepB] = longestFirst(a.length, b?.length ?? 0, maxLength - around);
    const cut = (ids: readonly number[], keep: number): readonly number[] =>
      keepEnd ? ids.slice(ids.length - keep) : ids.slice(0, keep);
    return this.#postProcessor.typed(cut(a, keepA), b && cut(b, keepB));
  }

  *#textIds(text: string): Steps<number[]> {
    const ids: number[] = [];
    for (const found of this.#plain.parts(text)) {
      if (!found) yield;
      else if (found.token) ids.push(found.token.id);
      else {
        const { start, end } = found;
        const piece = { text: text.slice(start, end), first: start === 0 };
        yield* this.#encodeNormalized(yield* this.#normalize(piece), ids);
      }
    }
    return ids;
  }

  *#encodeNormalized({ text, first }: Piece, ids: number[]): Steps<void> {
    for (const found of this.#normalized.parts(text)) {
      if (!found) yield;
      else if (found.token) ids.push(found.token.id);
      else {
        const { start, end } = found;
        yield* this.#encodeWords({ text: text.slice(start, end), first: first && start === 0 }, ids);
      }
    }
  }

  *#encodeWords(piece: Piece, ids: number[]): Steps<void> {
    let words = 0;
    for (const word of this.#preTokenizer?.words(piece) ?? [piece]) {
      if (!word || ++words % wordsAtOnce === 0) yield;
      if (!word) continue;
      const found = yield* this.#encodeWord(word.text);
      for (let i = 0; i < found.length; i++) {
        ids.push(found[i]);
        if (i % stepSize === stepSize - 1) yield;
      }
    }
  }

  *#encodeWord(word: string): Steps<readonly number[]> {
    // A long word is not looked up: that alone would read all of it.
    if (word.length > rememberedLength) return yield* this.#model.steps(word);
    const known = this.#remembered.get(word);
    if (known) return known;
    const ids = yield* this.#model.steps(word);
    if (this.#remembered.size >= rememberedWords) this.#remembered.clear();
    this.#remembered.set(word, ids);
    return ids;
  }

  /** The text of a token as the vocabulary has it. */
  tokenOf(id: number): string | undefined {
    return this.#tokens.get(id);
  }

  #decode(ids: readonly number[], skipSpecialTokens: boolean, bytes: ByteWriting): string {
    const tokens = ids.map((id) => this.tokenOf(id)).filter((token): token is string =>
      // A model's embeddings may have padding rows: such ids have no text.
      token !== undefined && !(skipSpecialTokens && this.added.isSpecial(token))
    );
    return this.#decoder ? this.#decoder(tokens, bytes).join("") : tokens.join(" ");
  }

  decode(ids: readonly number[], skipSpecialTokens: boolean): string {
    return this.#decode(ids, skipSpecialTokens, asText);
  }

  decodeBytes(ids: readonly number[], skipSpecialTokens: boolean): Uint8Array {
    return unescaped(this.#decode(ids, skipSpecialTokens, asEscapes));
  }

  /** A lower bound of a text's tokens, by its length. */
  fewestTokens(text: string): number {
    return Math.ceil(text.length / this.#unitsOfToken);
  }

  /** Infinite where any stretch of text may be one token, or none. */
  #longestToken(fields: Fields): number {
    const byteLevel = /"type":"ByteLevel"/.test(JSON.stringify([fields.normalizer, fields.pre_tokenizer]));
    const { covers, vocabulary } = this.#model;
    const sure = covers === "all" || (covers === "bytes" && byteLevel);
    const all = this.added.all();
    const strips = all.some(({ lstrip, rstrip }) => lstrip || rstrip);
    if (!sure || strips || this.#preTokenizer?.drops) return Infinity;
    let longest = 1;
    for (const token of vocabulary.keys()) longest = Math.max(longest, token.length);
    for (const one of all) {
      longest = Math.max(longest, one.content.length, this.#textOf(one).length);
    }
    // An unknown character is one token, and up to two units.
    return Math.max(2, longest) * (this.#normalizer?.shrinks ?? 1);
  }
}
