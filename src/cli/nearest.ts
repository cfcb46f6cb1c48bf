/**
 * The known name that a mistyped one most likely means.
 *
 * @module
 */

/** Levenshtein's distance: insertions, deletions and replacements that turn one text into the other. */
export function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(above[j] + 1, row[j - 1] + 1, replaced));
    }
    above = row;
  }
  return above[b.length];
}

/** Spellings of one name that differ in case and word marks only: `maxTokens`, `max_tokens`, `max-tokens`. */
const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, "");

/** No name is longer: the rest of a long text is not compared. */
const maxLength = 64;

/** The closest known name; undefined where none is close: beyond a third of its letters, and no whole beginning of it. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = plain(name.slice(0, maxLength));
  if (wanted === "") return undefined;
  const distances = known.map((one) => ({ one, distance: editDistance(wanted, plain(one)) }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = distances;
  if (best && best.distance <= Math.max(1, Math.ceil(wanted.length / 3))) return best.one;
  const beginning = distances.find(({ one }) => wanted.length >= 2 && plain(one).startsWith(wanted));
  return beginning?.one;
}

/** The few modules that a mistyped path most likely means, the likeliest first: those that end with the path, then by spelling. */
export function nearestPaths(path: string, known: readonly string[], count = 3): string[] {
  const wanted = path.slice(-maxLength);
  const distanceOf = (one: string): number => one.endsWith(wanted) ? 0 : editDistance(wanted, one);
  return known.map((one) => ({ one, distance: distanceOf(one) }))
    .toSorted((a, b) => a.distance - b.distance).slice(0, count).map(({ one }) => one);
}
