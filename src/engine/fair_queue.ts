/**
 * Which of those who wait is next: owners take turns by what they were given so far, over their weights (stride scheduling).
 *
 * Items of one owner stay in the order they came. An owner who was away starts level with those who wait: nothing is saved up
 * meanwhile, and nothing is owed for items that left without a turn.
 *
 * @module
 */
import type { Owner } from "./generate.ts";

/** One owner's items, and the work that the owner was given, over the weight. */
interface Line<Item> {
  readonly items: Item[];
  weight: number;
  pass: number;
}

/** What the queue asks of an item. */
export interface QueueRules<Item> {
  /** Absent: all such items have one owner. */
  readonly ownerOf: (item: Item) => Owner | undefined;
  /** Work that it is; above 0. */
  readonly costOf: (item: Item) => number;
}

const nobody: Owner = { id: "", weight: 1 };

/** See the module's documentation. */
export class FairQueue<Item> {
  /** Of owners who wait, and of those who are ahead of them. */
  readonly #lines = new Map<string, Line<Item>>();
  /** The pass of the last item that was taken. */
  #pass = 0;
  #length = 0;

  constructor(private readonly rules: QueueRules<Item>) {}

  get length(): number {
    return this.#length;
  }

  /** Every item, owner by owner. */
  get items(): readonly Item[] {
    return [...this.#lines.values()].flatMap(({ items }) => items);
  }

  push(item: Item): void {
    const { id, weight } = this.#ownerOf(item);
    let line = this.#lines.get(id);
    if (!line) {
      this.#forget();
      line = { items: [], weight, pass: this.#pass };
      this.#lines.set(id, line);
    }
    line.weight = weight;
    if (line.items.length === 0) line.pass = Math.max(line.pass, this.#pass);
    line.items.push(item);
    this.#length++;
  }

  /** Takes an item out without a turn, if it waits. */
  remove(item: Item): void {
    const { id } = this.#ownerOf(item), line = this.#lines.get(id);
    const at = line?.items.indexOf(item) ?? -1;
    if (!line || at < 0) return;
    line.items.splice(at, 1);
    this.#length--;
  }

  /** Forgets owners who would start level with the others anyway. */
  #forget(): void {
    for (const [id, { items, pass }] of this.#lines) {
      if (items.length === 0 && (this.#length === 0 || pass <= this.#pass)) this.#lines.delete(id);
    }
  }

  /** Takes an item out for its turn. */
  take(item: Item): void {
    const line = this.#lines.get(this.#ownerOf(item).id);
    if (!line) return;
    this.#pass = Math.max(this.#pass, line.pass);
    line.pass += this.rules.costOf(item) / line.weight;
    this.remove(item);
  }

  /**
   * Items in the order of their turns, as if each were taken. The queue may change meanwhile.
   *
   * @param passed Ids of owners whose further items are left out; it may grow meanwhile.
   */
  *inOrder(passed: ReadonlySet<string> = new Set()): Generator<Item, void, void> {
    const lines = [...this.#lines].map(([id, { items, weight, pass }]) => ({
      id,
      items: [...items],
      weight,
      pass,
      at: 0,
    }));
    for (;;) {
      let next: typeof lines[number] | undefined;
      for (const line of lines) {
        if (line.at >= line.items.length || passed.has(line.id)) continue;
        if (!next || line.pass < next.pass) next = line;
      }
      if (!next) return;
      const item = next.items[next.at++];
      next.pass += this.rules.costOf(item) / next.weight;
      yield item;
    }
  }

  #ownerOf(item: Item): Owner {
    return this.rules.ownerOf(item) ?? nobody;
  }
}

/** Places of a whole that an owner who runs already leaves free: one in so many, and at least one. */
const reservedPart = 8;

/**
 * Whether an owner may take one more of the free places. Some are kept for owners who have none, so that nobody's long work
 * fills them all.
 */
export function mayTake(
  owner: Owner | undefined,
  { free, total, taken }: {
    readonly free: number;
    readonly total: number;
    /** Places that the owner has. */
    readonly taken: number;
  },
): boolean {
  if (free < 1) return false;
  if (!owner || taken === 0) return true;
  return free > Math.min(total - 1, Math.max(1, Math.floor(total / reservedPart)));
}
