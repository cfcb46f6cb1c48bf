/**
 * Templates of prompts, rendered as transformers renders them: Jinja2 in its immutable sandbox, with `trim_blocks` and
 * `lstrip_blocks`. Templates have `break` and `continue`, `{% generation %}`, and transformers' own `tojson`,
 * `raise_exception` and `strftime_now`. Features of Jinja2 that are missing here are refused by name.
 *
 * @module
 */
import { toValue } from "./convert.ts";
import { TemplateError } from "./errors.ts";
import { globals } from "./globals.ts";
import { library } from "./library.ts";
import type { Body } from "./nodes.ts";
import { parse } from "./parser.ts";
import { renderBody, type Rendered } from "./render.ts";
import { Run } from "./run.ts";
import { type Scopes, scopesOf } from "./scopes.ts";
import type { Value } from "./values.ts";

export { Float, parseJson } from "./convert.ts";
export { TemplateError } from "./errors.ts";
export type { Rendered, Stretch } from "./render.ts";

/** A parsed template. */
export class Template {
  readonly #body: Body;
  readonly #scopes: Scopes;

  /** @throws TemplateError with the line, for what Jinja2 would not parse and for tags that are not supported. */
  constructor(source: string) {
    this.#body = parse(source);
    this.#scopes = scopesOf(this.#body, {
      filters: (name) => library.filters.has(name),
      tests: (name) => library.tests.has(name),
    });
  }

  /**
   * The text that the template makes of variables.
   *
   * @param variables Values of JSON; fields that are undefined are left out.
   * @throws TemplateError where Jinja2 would raise, for what is not supported, and for what takes too much.
   */
  render(variables: Readonly<Record<string, unknown>>, options: { now?: () => Date } = {}): string {
    return this.renderMarked(variables, options).text;
  }

  /** As {@linkcode Template.render}, with the stretches that `{% generation %}` blocks wrote. */
  renderMarked(
    variables: Readonly<Record<string, unknown>>,
    { now = () => new Date() }: { now?: () => Date } = {},
  ): Rendered {
    const all = new Map<string, Value>(globals);
    try {
      for (const [name, value] of Object.entries(variables)) {
        if (value !== undefined) all.set(name, toValue(value));
      }
      return renderBody(this.#body, { scopes: this.#scopes, variables: all, run: new Run(library, now) });
    } catch (error) {
      // The stack, or the longest text that there can be.
      if (error instanceof RangeError) {
        throw new TemplateError(`it is too deep or too long: ${error.message}`);
      }
      throw error;
    }
  }
}
