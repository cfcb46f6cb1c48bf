/**
 * The errors of templates.
 *
 * @module
 */

/** A template that cannot be parsed or rendered: Jinja2 would refuse it too, or it needs what is not supported here. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/** Throws a {@linkcode TemplateError}. */
export function fail(message: string): never {
  throw new TemplateError(message);
}
