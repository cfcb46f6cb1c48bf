/**
 * Tokens that are found in a text before the model sees it: special ones, and others that were added.
 *
 * @module
 */
import { characterAt, characterBefore, spaceAtEnd, spaceAtStart, wordCharacter } from "./characters.ts";
import { type Fields, flag, text as textField } from "./fields.ts";
import { stepSize } from "./steps.ts";

/** A token as it is added, without its id. */
export interface NewToken {
  readonly content: string;
  /** Found only where no word's character stands beside it. */
  readonly singleWord: boolean;
  /** Takes the white space before it. */
  readonly lstrip: boolean;
  /** Takes the white space after it. */
  readonly rstrip: boolean;
  /** Found in the normalized text, by its own normalized content. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A token that was added to a model's vocabulary, or found in it. */
export interface AddedToken extends NewToken {
  readonly id: number;
}

/** A token of `added_tokens`, or of another file that names tokens. */
export function newToken(fields: Fields, special = false): NewToken {
  const isSpecial = flag(fields, "special", special);
  return {
    content: textField(fields, "content"),
    singleWord: flag(fields, "single_word", false),
    lstrip: flag(fields, "lstrip", false),
    rstrip: flag(fields, "rstrip", false),
    normalized: flag(fields, "normalized", !isSpecial),
    special: isSpecial,
  };
}

/** A vocabulary with the tokens added to it. */
export class AddedTokens {
  readonly #byContent = new Map<string, AddedToken>();
  #lastId = -1;

  /** @param vocabulary The model's own tokens. */
  constructor(private readonly vocabulary: ReadonlyMap<string, number>) {}

  /**
   * Adds a token. Its id is the model's own for its content, or else the next free one: the Python library does not
   * look at the id in the file, either.
   */
  add(token: NewToken): void {
    if (token.content === "") return;
    const id = this.idOf(token.content) ?? this.#nextId();
    const added = { ...token, special: token.special || this.isSpecial(token.content), id };
    this.#byContent.set(token.content, added);
    this.#lastId = Math.max(this.#lastId, id);
  }

  #nextId(): number {
    const size = this.vocabulary.size;
    return this.#lastId >= size ? this.#lastId + 1 : size;
  }

  idOf(content: string): number | undefined {
    return this.#byContent.get(content)?.id ?? this.vocabulary.get(content);
  }

  isSpecial(content: string): boolean {
    return this.#byContent.get(content)?.special ?? false;
  }

  /** All of them; special ones first, as the Python library looks for them. */
  all(): readonly AddedToken[] {
    const all = [...this.#byContent.values()];
    return [...all.filter(({ special }) => special), ...all.filter(({ special }) => !special)];
  }
}

/** A stretch of a text: a token that was found, or (without `token`) text. */
export interface Part {
  readonly start: number;
  readonly end: number;
  readonly token?: AddedToken;
}

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

/** Finds tokens in texts: the leftmost, of those the longest. */
export class TokenFinder {
  readonly #root: Node = { next: new Map() };

  /** @param tokens With the text that each is found by; of equal texts the first counts. */
  constructor(tokens: readonly (readonly [text: string, token: AddedToken])[]) {
    for (const [text, token] of tokens) {
      let node = this.#root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        let next = node.next.get(unit);
        if (!next) node.next.set(unit, next = { next: new Map() });
        node = next;
      }
      // An empty text ends at the root, whose token nothing finds.
      node.token ??= token;
    }
  }

  /** The stretches of a text in order, which may overlap as in the Python library; undefined where work may pause. */
  *parts(text: string): Generator<Part | undefined, void, void> {
    let done = 0;
    let pauseAt = stepSize;
    for (let at = 0; at < text.length;) {
      if (at >= pauseAt) {
        pauseAt = at + stepSize;
        yield undefined;
      }
      const found = this.#longestAt(text, at);
      if (!found) {
        at++;
        continue;
      }
      const { token, end } = found;
      if (!token.singleWord || standsAlone(text, { start: at, end })) {
        const start = token.lstrip ? Math.max(spaceAtEnd(text.slice(done, at)) + done, done) : at;
        const stop = token.rstrip ? end + spaceAtStart(text.slice(end)) : end;
        if (start > done) yield { start: done, end: start };
        yield { start, end: stop, token };
        done = stop;
      }
      at = end;
    }
    if (done !== text.length) yield { start: done, end: text.length };
  }

  #longestAt(text: string, at: number): { readonly token: AddedToken; readonly end: number } | undefined {
    let node = this.#root.next.get(text.charCodeAt(at));
    let found: { token: AddedToken; end: number } | undefined;
    for (let end = at + 1; node; node = node.next.get(text.charCodeAt(end++))) {
      if (node.token) found = { token: node.token, end };
    }
    return found;
  }
}

function standsAlone(
  text: string,
  { start, end }: { readonly start: number; readonly end: number },
): boolean {
  return !wordCharacter.test(characterBefore(text, start)) && !wordCharacter.test(characterAt(text, end));
}
