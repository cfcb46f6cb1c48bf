/**
 * Reads the project's own sources: which room of the house a file stands in, and what it imports.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** One import or re-export of a file. */
export interface Import {
  /** A path from the project's folder for a file of the project, else the specifier as written. */
  readonly target: string;
  readonly local: boolean;
  /** Whether nothing of it is left when types are stripped. */
  readonly typeOnly: boolean;
}

/** A source file, with the paths from the project's folder. */
export interface Source {
  readonly path: string;
  /** The text without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const importFrom = /^[ \t]*(?:import|export)\s+(type\s)?([^;"'`()]*?)\bfrom\s*["']([^"']+)["']/gm;
const importOther = /^[ \t]*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;

/** Blanks comments; WGSL, which stands in templates, holds none that look like imports. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function onlyTypes(typeKeyword: string | undefined, names: string): boolean {
  if (typeKeyword) return true;
  const braces = /^\{([\s\S]*)\}\s*$/.exec(names.trim());
  return braces !== null &&
    braces[1].split(",").map((name) => name.trim()).filter(Boolean).every((name) => name.startsWith("type "));
}

/** The imports in a file's text (comments removed), as written at `path`. */
export function importsOf(path: string, code: string): Import[] {
  const resolved = (specifier: string, typeOnly: boolean): Import => {
    const local = specifier.startsWith(".");
    return { target: local ? normalize(join(dirname(path), specifier)) : specifier, local, typeOnly };
  };
  return [
    ...[...code.matchAll(importFrom)].map(([, type, names, from]) => resolved(from, onlyTypes(type, names))),
    ...[...code.matchAll(importOther)].map(([, plain, dynamic]) => resolved(plain ?? dynamic, false)),
  ];
}

/** A TypeScript file by its path from the project's folder. */
export function sourceAt(path: string): Source {
  const code = withoutComments(readFileSync(join(root, path), "utf8"));
  return { path, code, imports: importsOf(path, code) };
}

/** Every TypeScript file under a folder of the project. */
export function sourcesUnder(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort()
    .map(sourceAt);
}
