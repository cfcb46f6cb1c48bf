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

/** Some documents of a corpus, in the order given. */
export function selectDocuments(corpus: Corpus, documents: readonly number[]): Corpus {
  const selected = new CorpusBuilder();
  for (const document of documents) {
    const begin = document === 0 ? 0 : corpus.ends[document - 1];
    const end = corpus.ends[document];
    selected.append(corpus.tokens.subarray(begin, end), corpus.isTarget.subarray(begin, end));
    selected.endDocument();
  }
  return selected.finish();
}
