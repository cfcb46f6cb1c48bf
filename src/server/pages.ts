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

/**
 * The page that a request asks for. An entry of `after` that is gone is no fault: ids are sorted.
 *
 * @param sorted Entries; all but the first `fixed` are sorted by id.
 */
export function page<Entry extends { readonly id: string }>(
  c: ServerContext,
  sorted: readonly Entry[],
  fixed = 0,
): List<Entry> {
  const after = c.req.query("after"), limitText = c.req.query("limit");
  if (after === undefined && limitText === undefined) return { object: "list", data: sorted };
  const limit = limitText === undefined ? mostEntries : Number(limitText);
  if (!/^[1-9][0-9]*$/.test(limitText ?? "1") || limit > mostEntries) {
    throw refusal("limit", `it must be an integer in 1..${mostEntries}`);
  }
  const begin = after === undefined ? 0 : beginAfter(sorted, after, fixed);
  return {
    object: "list",
    data: sorted.slice(begin, begin + limit),
    has_more: begin + limit < sorted.length,
  };
}

function beginAfter(sorted: readonly { readonly id: string }[], after: string, fixed: number): number {
  const among = sorted.slice(0, fixed).findIndex(({ id }) => id === after);
  if (among >= 0) return among + 1;
  const next = sorted.findIndex(({ id }, at) => at >= fixed && id > after);
  return next < 0 ? sorted.length : next;
}
