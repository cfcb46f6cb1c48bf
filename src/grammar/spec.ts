/**
 * Rules for a text, as data.
 *
 * @module
 */

/** A part of a structural tag, as xgrammar has them: JSON by a schema, a constant, a regular expression, and so on. */
export type TagFormat = Readonly<Record<string, unknown>> & { readonly type: string };

/** What a text must be. */
export type GrammarSpec =
  /** JSON that a schema allows; the schema as {@linkcode ./json_schema.ts} has it. */
  | { readonly kind: "json_schema"; readonly schema: unknown }
  /** A regular expression that the whole text matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** One of some texts. */
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** A grammar in xgrammar's EBNF, whose first rule is `root`. */
  | { readonly kind: "ebnf"; readonly text: string }
  /** Free text with parts that are not free, e.g. calls of tools. */
  | { readonly kind: "structural_tag"; readonly format: TagFormat };
