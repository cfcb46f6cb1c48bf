/**
 * Work on many things, on a few at a time.
 *
 * @module
 */

/** Calls `work` for each item, with at most `atOnce` calls under way. Rejects with the first failure. */
export async function forEachAtMost<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
