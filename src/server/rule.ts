/**
 * What a value must be, for the issues of its schema: the rule after "Cannot read X:".
 *
 * @module
 */
import type * as z from "zod";

type Issue = z.core.$ZodRawIssue;

const kinds: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a finite number",
  int: "an integer",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

/** How many of a text or a list there must be; undefined where a number itself is bounded. */
function unitOf(origin: string): string | undefined {
  return origin === "string" ? "characters" : origin === "array" ? "entries" : undefined;
}

function leastRule({ origin, minimum, inclusive }: Issue & { readonly code: "too_small" }): string {
  const unit = unitOf(origin);
  if (unit !== undefined) {
    return minimum === 1 ? "it must not be empty" : `it must have at least ${minimum} ${unit}`;
  }
  return `it must be ${inclusive ? "at least" : "above"} ${minimum}`;
}

function mostRule({ origin, maximum, inclusive }: Issue & { readonly code: "too_big" }): string {
  const unit = unitOf(origin);
  if (unit !== undefined) return `it must have at most ${maximum} ${unit}`;
  return `it must be ${inclusive ? "at most" : "below"} ${maximum}`;
}

/** The rule that a value breaks, where its schema has no words of its own. For `error` of `safeParse`. */
export function ruleOf(issue: Issue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined
        ? "it is missing"
        : `it must be ${kinds[issue.expected] ?? issue.expected}`;
    case "too_small":
      return leastRule(issue);
    case "too_big":
      return mostRule(issue);
    default:
      return undefined;
  }
}
