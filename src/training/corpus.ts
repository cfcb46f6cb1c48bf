/**
 * Tokens of many documents in a row.
 *
 * @module
 */

/** Documents' tokens, one document after the other. */
export interface Corpus {
  readonly tokens: Uint32Array;
  /** For each token 1 where the loss is on it, else 0. */
  readonly isTarget: Uint8Array;
  /** For each document the index after its last token, ascending. */
  readonly ends: readonly number[];
}

/** Collects tokens in arrays that double as they fill. */
export class CorpusBuilder {
  #tokens = new Uint32Array(1024);
  #isTarget = new Uint8Array(1024);
  #length = 0;
  readonly #ends: number[] = [];

  /** Appends to the document at the end. */
  append(tokens: ArrayLike<number>, isTarget: boolean | Uint8Array): void {
    const length = this.#length + tokens.length;
    if (length > this.#tokens.length) this.#grow(Math.max(length, 2 * this.#tokens.length));
    this.#tokens.set(tokens, this.#length);
    if (typeof isTarget === "boolean") this.#isTarget.fill(Number(isTarget), this.#length, length);
    else this.#isTarget.set(isTarget, this.#length);
    this.#length = length;
  }

  /** Appends the document's last tokens. */
  endDocument(tokens: ArrayLike<number> = [], isTarget = true): void {
    this.append(tokens, isTarget);
    this.#ends.push(this.#length);
  }

  /** What was collected. */
  finish(): Corpus {
    return {
      tokens: this.#tokens.slice(0, this.#length),
      isTarget: this.#isTarget.slice(0, this.#length),
      ends: this.#ends,
    };
  }

  #grow(capacity: number): void {
    const tokens = new Uint32Array(capacity);
    tokens.set(this.#tokens);
    this.#tokens = tokens;
    const isTarget = new Uint8Array(capacity);
    isTarget.set(this.#isTarget);
    this.#isTarget = isTarget;
  }
}

/** Where a document's tokens begin. */
export function startOf({ ends }: Corpus, document: number): number {
  return document === 0 ? 0 : ends[document - 1];
}

function copy(corpus: Corpus, ranges: Iterable<readonly [begin: number, end: number]>): Corpus {
  const copied = new CorpusBuilder();
  for (const [begin, end] of ranges) {
    copied.append(corpus.tokens.subarray(begin, end), corpus.isTarget.subarray(begin, end));
    copied.endDocument();
  }
  return copied.finish();
}

/** Some documents of a corpus, in the order given. */
export function selectDocuments(corpus: Corpus, documents: readonly number[]): Corpus {
  return copy(corpus, documents.map((document) => [startOf(corpus, document), corpus.ends[document]]));
}

/** Where one token both ends and begins documents, as GPT-2's does, one of it between two, not two. */
export function withSharedEnds(corpus: Corpus): Corpus {
  const { tokens, ends } = corpus;
  return copy(
    corpus,
    ends.map((end, document) => {
      const begin = startOf(corpus, document);
      const isRepeated = begin > 0 && begin + 1 < end && tokens[begin] === tokens[begin - 1];
      return [isRepeated ? begin + 1 : begin, end];
    }),
  );
}
