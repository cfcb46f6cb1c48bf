/**
 * Examples of an encoder's training: a text, two, or an image, and a label.
 *
 * @module
 */
import type { Fields } from "./turns.ts";
import { kindOf } from "./turns.ts";
import { isJsonObject } from "../json.ts";
import { type ByteStream, linesOf } from "./lines.ts";
import type { Label } from "./labels.ts";

/** A text, or two that are read together. */
export interface TextExample {
  readonly text: string;
  readonly textPair?: string;
  readonly label: Label;
  /** Where it is from, for messages: `line 3`. */
  readonly place?: string;
}

/** An image of any size. */
export interface ImageExample {
  /** (height, width, 3), row-major bytes of red, green and blue. */
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly label: Label;
  /** Where it is from, for messages: its file. */
  readonly place?: string;
}

/** What an encoder is trained on. */
export type Example = TextExample | ImageExample;

const known = ["text", "text_pair", "label"];

/** Other tools' names, and ours. */
const remedies: Readonly<Record<string, string>> = {
  sentence: "text",
  sentence1: "text",
  sentence2: "text_pair",
  premise: "text",
  hypothesis: "text_pair",
  question: "text",
  labels: "label",
  class: "label",
  score: "label",
  target: "label",
};

function textOf(fields: Fields, name: string, place: string): string {
  const value = fields[name];
  if (typeof value === "string" && value !== "") return value;
  const found = value === "" ? "empty" : value === undefined ? "absent" : kindOf(value);
  throw new SyntaxError(`Cannot read "${name}" of ${place}: it must be a text, it is ${found}`);
}

function labelOf({ label }: Fields, place: string): Label {
  if (typeof label === "string" && label !== "") return label;
  if (typeof label === "number" && Number.isFinite(label)) return label;
  const found = label === "" ? "empty" : label === undefined ? "absent" : kindOf(label);
  throw new SyntaxError(`Cannot read "label" of ${place}: it must be a number or a name, it is ${found}`);
}

/**
 * An example of a record's fields.
 *
 * @param place Where it stands, for messages: `line 3`.
 * @throws SyntaxError that names the place and the field.
 */
export function exampleOf(fields: Fields, place: string): TextExample {
  for (const name of Object.keys(fields)) {
    if (!Object.hasOwn(remedies, name) || Object.hasOwn(fields, remedies[name])) continue;
    throw new SyntaxError(`Cannot read "${name}" of ${place}: call it "${remedies[name]}"`);
  }
  const pair = fields[known[1]];
  return {
    text: textOf(fields, "text", place),
    ...pair === undefined || pair === null ? {} : { textPair: textOf(fields, "text_pair", place) },
    label: labelOf(fields, place),
    place,
  };
}

/**
 * The examples of JSON lines: `{"text": ..., "text_pair": ..., "label": ...}`; other fields are not read.
 *
 * @throws SyntaxError that names the line and the field.
 */
export async function examplesOfJsonLines(bytes: ByteStream): Promise<TextExample[]> {
  const found: TextExample[] = [];
  let line = 0;
  for await (const text of linesOf(bytes)) {
    line++;
    if (text.trim() === "") continue;
    const place = `line ${line}`;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new SyntaxError(`Cannot read ${place} as JSON: ${(error as Error).message}`, { cause: error });
    }
    if (!isJsonObject(value)) {
      throw new SyntaxError(`Cannot read ${place}: it must be an object, it is ${kindOf(value)}`);
    }
    found.push(exampleOf(value, place));
  }
  return found;
}
