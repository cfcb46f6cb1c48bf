/**
 * The layout of a usage text: tables whose second column fits a terminal, however long the names of the first are.
 *
 * @module
 */
import { stripVTControlCharacters } from "node:util";

/** Where descriptions begin, and the columns that they have at least. */
const indent = 30, leastWidth = 30;

const widthOf = (text: string): number => stripVTControlCharacters(text).length;

/** Words in lines of at most `width` columns; a longer word has a line of its own. */
function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && widthOf(longer) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

/** A row of a table: its name, then its description beside it, or below a long name. */
function rowOf(name: string, description: string, columns: number): string {
  const lines = wrapped(description, Math.max(leastWidth, columns - indent));
  const begin = `  ${name}`, room = indent - 2 - widthOf(begin);
  const rest = (from: number) => lines.slice(from).map((line) => " ".repeat(indent) + line);
  if (description === "") return begin;
  if (room < 0) return [begin, ...rest(0)].join("\n");
  return [begin + " ".repeat(room + 2) + lines[0], ...rest(1)].join("\n");
}

/**
 * A usage text of citty's, laid out anew. Citty aligns names to the right of the longest, and wraps nothing.
 *
 * @param columns Of the terminal.
 */
export function laidOut(usage: string, columns: number): string {
  return usage.split("\n").map((line) => {
    const [, name, description] = /^ {2,}(\S.*?) {4}(.*)$/.exec(line) ?? [];
    return name === undefined ? line : rowOf(name, description.trim(), columns);
  }).join("\n");
}
