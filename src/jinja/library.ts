/**
 * Every filter and test.
 *
 * @module
 */
import type { Library, Operation } from "./arguments.ts";
import { fail } from "./errors.ts";
import { listFilters } from "./list_filters.ts";
import { numberFilters } from "./number_filters.ts";
import { selectFilters } from "./select_filters.ts";
import { tests } from "./tests.ts";
import { textFilters } from "./text_filters.ts";

/** Filters of Jinja2 that no prompt needs, or that give another result each time. */
const unsupported = ["pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"];

const refuse = (name: string): Operation => () => fail(`the filter "${name}" is not supported`);

/** The filters and tests of transformers' environment; those that are not supported throw when they are used. */
export const library: Library = {
  filters: new Map(Object.entries({
    ...textFilters,
    ...numberFilters,
    ...listFilters,
    ...selectFilters,
    ...Object.fromEntries(unsupported.map((name) => [name, refuse(name)])),
  })),
  tests,
};
