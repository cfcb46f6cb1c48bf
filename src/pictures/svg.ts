/**
 * What pictures need of a document: a page's `document`, or any other that makes elements.
 *
 * @module
 */

/** An element of a picture. */
export interface SvgElement {
  readonly children: ArrayLike<SvgElement>;
  readonly tagName: string;
  readonly outerHTML: string;
  textContent: string | null;
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
  append(...children: SvgElement[]): void;
  prepend(...children: SvgElement[]): void;
}

/** A document that makes elements. */
export interface SvgDocument {
  createElementNS(namespace: "http://www.w3.org/2000/svg", name: string): SvgElement;
}

/** Attributes by name; numbers are rounded to a hundredth of a pixel. */
export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An SVG element with its attributes, and its children or its text. */
export function element(
  document: SvgDocument,
  name: string,
  attributes: Attributes,
  content: readonly SvgElement[] | string = [],
): SvgElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    made.setAttribute(key, typeof value === "number" ? String(Math.round(100 * value) / 100) : value);
  }
  if (typeof content === "string") made.textContent = content;
  else made.append(...content);
  return made;
}
