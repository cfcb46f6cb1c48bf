/**
 * Several async iterations as one.
 *
 * @module
 */

type Outcome<T> =
  | { readonly index: number; readonly result: IteratorResult<T> }
  | { readonly index: number; readonly error: unknown };

/**
 * The items of all sources, each with its source's index, in the order they come.
 *
 * At most one item of a source waits to be taken. Ending the iteration ends every source, as soon as its pending item is
 * there. The first source that fails ends all.
 */
export async function* merge<T>(
  sources: readonly AsyncIterable<T>[],
): AsyncGenerator<{ readonly index: number; readonly item: T }, void, void> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const outcomes: Outcome<T>[] = [];
  let wake = (): void => {};
  const pull = (index: number): void => {
    const report = (outcome: Outcome<T>): void => {
      outcomes.push(outcome);
      wake();
    };
    iterators[index].next().then(
      (result) => report({ index, result }),
      (error) => report({ index, error }),
    );
  };
  iterators.forEach((_, index) => pull(index));
  let open = iterators.length;
  try {
    while (open > 0) {
      if (outcomes.length === 0) await new Promise<void>((resolve) => wake = resolve);
      const outcome = outcomes.shift()!;
      if ("error" in outcome) throw outcome.error;
      if (outcome.result.done) {
        open--;
        continue;
      }
      yield { index: outcome.index, item: outcome.result.value };
      pull(outcome.index);
    }
  } finally {
    // Not awaited: a source that waits for its next item ends only when that comes.
    for (const iterator of iterators) iterator.return?.().catch(() => {});
  }
}

/**
 * The same items, after the first is there.
 *
 * @throws what the first item's production throws: a failure before anything was given out.
 */
export async function started<T>(
  items: AsyncGenerator<T, void, void>,
): Promise<AsyncIterableIterator<T, void, void>> {
  // No generator of its own: each item would pass through its promises, too.
  let first: IteratorResult<T, void> | undefined = await items.next();
  const all: AsyncIterableIterator<T, void, void> = {
    next() {
      if (!first) return items.next();
      const result = first;
      first = undefined;
      return Promise.resolve(result);
    },
    return() {
      first = undefined;
      return items.return();
    },
    [Symbol.asyncIterator]() {
      return all;
    },
  };
  return all;
}
