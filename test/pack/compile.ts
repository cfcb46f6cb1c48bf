/**
 * JavaScript and declarations of the package, by TypeScript's own compiler: what it cannot type it refuses, where a
 * faster tool would write `any`.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { root, sourcesUnder } from "../architecture.ts";
import { declareGlobals, globalTypes, globalTypesFile } from "./declarations.ts";

/** Sources that are for this repository only: files, and folders by their paths with a slash. */
export const unpublished: readonly string[] = ["src/cli/wgsl.ts", "kernels/cases/", "kernels/assembly/"];

/** Paths of the sources that are published. */
export function publishedSources(): readonly string[] {
  const all = [...sourcesUnder("kernels"), ...sourcesUnder("src")].map(({ path }) => path);
  return [
    "mod.ts",
    ...all.filter((path) =>
      !unpublished.some((own) => path === own || (own.endsWith("/") && path.startsWith(own)))
    ),
  ];
}

/** Comments that bundlers read: a file that has one keeps its comments. */
const forBundlers = /\/\* (?:@vite-ignore|webpackIgnore)/;

/**
 * Options of the compiler. Documentation stands in the declarations; code is published without comments.
 *
 * @param comments Whether to emit declarations, and code with its comments, in place of code alone.
 */
function options(out: string, comments: boolean): Record<string, unknown> {
  return {
    strict: true,
    noImplicitOverride: true,
    noEmitOnError: true,
    target: "es2023",
    module: "esnext",
    moduleResolution: "bundler",
    lib: ["esnext", "dom", "dom.iterable"],
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
    // Of packages, not ours: these are checked when the tarball is.
    skipLibCheck: true,
    rewriteRelativeImportExtensions: true,
    declaration: comments,
    removeComments: !comments,
    rootDir: root,
    outDir: out,
  };
}

/** Runs the compiler once with comments, then once without; see {@linkcode options}. */
function runCompiler(out: string, sources: readonly string[]): void {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-compile-"));
  try {
    const files = sources.map((path) => join(root, path));
    const compiler = join(root, "node_modules/typescript/lib/tsc.js");
    const run = (to: string, comments: boolean): void => {
      const config = join(folder, "tsconfig.json");
      writeFileSync(config, JSON.stringify({ compilerOptions: options(to, comments), files }));
      execFileSync(process.execPath, ["run", "-A", compiler, "-p", config], {
        stdio: ["ignore", "inherit", "inherit"],
      });
    };
    const plain = join(folder, "plain");
    run(out, true);
    run(plain, false);
    for (const path of filesUnder(out).filter((path) => path.endsWith(".js"))) {
      if (forBundlers.test(readFileSync(join(out, path), "utf8"))) continue;
      copyFileSync(join(plain, path), join(out, path));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Every file under a folder, by its path from there. */
function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

const relativeTs = /((?:\bfrom\s*|\bimport\s*\(?\s*|\bnew URL\(\s*)["']\.{1,2}\/[^"']+)\.ts(["'])/g;

/** What the compiler puts around the specifier of `import(variable)`: nothing of ours needs it, and bundlers would see it. */
const helper = /^var __rewriteRelativeImportExtension = [\s\S]*?\n};\n/m;
const helped = /__rewriteRelativeImportExtension\(([^()]*)\)/g;

/** JavaScript as it is published. */
function published(code: string): string {
  const text = code.replace(helper, "").replace(helped, "$1").replace(relativeTs, "$1.js$2");
  if (text.includes("__rewriteRelativeImportExtension") || /["']\.{1,2}\/[^"'\s]+\.ts["']/.test(text)) {
    throw new Error("Cannot publish a module: the name of a TypeScript file is left in it");
  }
  return text;
}

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");

function publishedDeclarations(path: string, code: string): string {
  const text = declareGlobals(path, code.replace(relativeTs, "$1.js$2"));
  if (/\bany\b/.test(withoutComments(text))) {
    throw new Error(`Cannot publish "${path}": a type is lost, it is any`);
  }
  return text;
}

function startedBy(path: string, code: string): string[] {
  return [...code.matchAll(/\bnew URL\("(\.{1,2}\/[^"]+\.js)",/g)].map(([, file]) =>
    join(dirname(path), file)
  );
}

/**
 * Compiles sources, and what they import, into a folder.
 *
 * @returns modules that are started by their URL: bundlers must not drop them.
 */
export function compile(out: string, sources: readonly string[] = publishedSources()): readonly string[] {
  runCompiler(out, sources);
  const started: string[] = [];
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(out, path)), { recursive: true });
    writeFileSync(join(out, path), text);
  };
  for (const path of filesUnder(out)) {
    const code = readFileSync(join(out, path), "utf8");
    const command = path.startsWith("src/cli/");
    if (path.endsWith(".js")) {
      const text = published(code);
      started.push(...startedBy(path, text));
      write(path, text);
    }
    if (path.endsWith(".d.ts") && command) rmSync(join(out, path));
    else if (path.endsWith(".d.ts")) write(path, publishedDeclarations(path, code));
  }
  write(globalTypesFile, globalTypes());
  return started;
}
