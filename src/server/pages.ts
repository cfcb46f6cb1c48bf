/**
 * Pages of long lists, by OpenAI's `limit` and `after`.
 *
 * @module
 */
import type { ServerContext } from "./exchange.ts";
import { refusal } from "./fields.ts";
import type { Parameter } from "./route.ts";

/** Entries of a page at most. */
const mostEntries = 10_000;

/** The query of a list. */
export const pageParameters: readonly Parameter[] = [
  {
    name: "limit",
    in: "query",
    description: `entries at most, 1 to ${mostEntries}; by default all`,
    pattern: "^[1-9][0-9]{0,4}$",
  },
  { name: "after", in: "query", description: "the id after which the page begins" },
];

/** OpenAI's list; with `has_more` where pages are asked for. */
export interface List<Entry> {
  readonly object: "list";
  readonly data: readonly Entry[];
  readonly has_more?: boolean;
}

/** What a request asks for. */
export interface AskedPage {
  readonly limit: number;
  /** The id after which the page begins. */
  readonly after?: string;
}

/** The page that a request asks for; undefined for a whole list. */
export function askedPage(c: ServerContext): AskedPage | undefined {
  const after = c.req.query("after"), limitText = c.req.query("limit");
  if (after === undefined && limitText === undefined) return undefined;
  const limit = limitText === undefined ? mostEntries : Number(limitText);
  if (!/^[1-9][0-9]*$/.test(limitText ?? "1") || limit > mostEntries) {
    throw refusal("limit", `it must be an integer in 1..${mostEntries}`);
  }
  return { limit, ...(after === undefined ? {} : { after }) };
}

/**
 * A page of a list. An entry of `after` that is gone is no fault: ids are sorted.
 *
 * @param sorted Entries, sorted by id.
 */
export function pageOf<Entry extends { readonly id: string }>(
  sorted: readonly Entry[],
  { limit, after }: AskedPage,
): List<Entry> {
  const next = after === undefined ? 0 : sorted.findIndex(({ id }) => id > after);
  const begin = next < 0 ? sorted.length : next;
  return {
    object: "list",
    data: sorted.slice(begin, begin + limit),
    has_more: begin + limit < sorted.length,
  };
}
