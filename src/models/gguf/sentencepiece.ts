/**
 * SentencePiece's vocabulary with scores as byte-pair merges, as Hugging Face converts it.
 *
 * @module
 */

/** A token that text may become, and its score: the higher, the earlier it is merged. */
export interface ScoredToken {
  readonly content: string;
  readonly id: number;
  readonly score: number;
}

interface Merge {
  readonly pair: readonly [string, string];
  readonly ids: readonly [number, number];
  readonly score: number;
  readonly order: number;
}

/**
 * Every pair of tokens whose texts together are a token: by the token's score, the highest first. Of equal scores the
 * longer first part comes first, then the longer second part, then the earlier token, then the lower ids.
 */
export function mergesOfScores(tokens: readonly ScoredToken[]): readonly (readonly [string, string])[] {
  const idOf = new Map(tokens.map(({ content, id }) => [content, id]));
  const merges: Merge[] = [];
  for (const { content, score } of tokens) {
    const own: Omit<Merge, "order">[] = [];
    let cut = 0;
    for (const character of content) {
      cut += character.length;
      if (cut === content.length) break;
      const pair = [content.slice(0, cut), content.slice(cut)] as const;
      const left = idOf.get(pair[0]), right = idOf.get(pair[1]);
      if (left !== undefined && right !== undefined) own.push({ pair, ids: [left, right], score });
    }
    own.sort((a, b) => a.ids[0] - b.ids[0] || a.ids[1] - b.ids[1]);
    for (const merge of own) merges.push({ ...merge, order: merges.length });
  }
  const lengths = merges.map(({ pair }) => pair.map((part) => [...part].length));
  merges.sort((a, b) =>
    b.score - a.score || lengths[b.order][0] - lengths[a.order][0] ||
    lengths[b.order][1] - lengths[a.order][1] || a.order - b.order
  );
  return merges.map(({ pair }) => pair);
}
