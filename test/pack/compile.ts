/**
 * JavaScript and declarations of the package, by TypeScript's own compiler: what it cannot type it refuses, where a
 * faster tool would write `any`.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { root, sourcesUnder } from "../architecture.ts";
import { declareGlobals, globalTypes, globalTypesFile } from "./declarations.ts";

/** Sources that are for this repository only. */
const ours = ["src/cli/wgsl.ts"];

/** Packages without types, used by the command line alone. */
const untyped = ["cli-progress"];

function options(out: string): Record<string, unknown> {
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
    declaration: true,
    rootDir: root,
    outDir: out,
  };
}

function runCompiler(out: string): void {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-compile-"));
  try {
    writeFileSync(
      join(folder, "untyped.d.ts"),
      untyped.map((name) => `declare module "${name}";\n`).join(""),
    );
    const sources = [...sourcesUnder("kernels"), ...sourcesUnder("src")].map(({ path }) => path)
      .filter((path) => !path.startsWith("kernels/assembly/") && !ours.includes(path));
    const files = [join(folder, "untyped.d.ts"), ...["mod.ts", ...sources].map((path) => join(root, path))];
    const config = join(folder, "tsconfig.json");
    writeFileSync(config, JSON.stringify({ compilerOptions: options(out), files }));
    const compiler = join(root, "node_modules/typescript/lib/tsc.js");
    execFileSync(process.execPath, ["run", "-A", compiler, "-p", config], {
      stdio: ["ignore", "inherit", "inherit"],
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const relativeTs = /((?:\bfrom\s*|\bimport\s*\(?\s*|\bnew URL\(\s*)["']\.{1,2}\/[^"']+)\.ts(["'])/g;

/** What the compiler puts around the specifier of `import(variable)`: nothing of ours needs it, and bundlers would see it. */
const helper = /^var __rewriteRelativeImportExtension = [\s\S]*?\n};\n/m;
const helped = /__rewriteRelativeImportExtension\(([^()]*)\)/g;

/** How a module of the runtime is named inside the package: a name with conditions in its manifest. */
const runtimeName = (specifier: string): string => specifier.replace(/^node:/, "#node/");

const runtimeImport = /^((?:import|export)\s+(?:\{([^}]*)\}|[^;"'{}]*?)\s*from\s*)"(node:[^"]+)"/gm;

/** Names that modules import of the runtime's own modules. */
export type RuntimeImports = ReadonlyMap<string, ReadonlySet<string>>;

/** JavaScript as it is published; what it imports of the runtime's modules is noted. */
function published(code: string, noted?: Map<string, Set<string>>): string {
  const text = code.replace(helper, "").replace(helped, "$1").replace(relativeTs, "$1.js$2");
  if (text.includes("__rewriteRelativeImportExtension") || /["']\.{1,2}\/[^"'\s]+\.ts["']/.test(text)) {
    throw new Error("Cannot publish a module: the name of a TypeScript file is left in it");
  }
  if (!noted) return text;
  return text.replace(runtimeImport, (_, before: string, names: string | undefined, from: string) => {
    if (names === undefined) {
      throw new Error(`Cannot replace the import of "${from}": only names in braces can be`);
    }
    const known = noted.get(from) ?? new Set();
    for (const name of names.split(",")) known.add(name.trim().split(/\s+as\s+/)[0]);
    known.delete("");
    noted.set(from, known);
    return `${before}"${runtimeName(from)}"`;
  });
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

const fileOf = (specifier: string): string => `node/${specifier.slice("node:".length).replaceAll("/", "_")}`;

/** ENOSYS is what systems say of a function that they do not have. */
const refuse = (specifier: string): string =>
  `function refuse(name) {
  const error = new Error('Cannot call "' + name + '": this platform has no ${specifier}');
  throw Object.assign(error, { code: "ENOSYS" });
}
`;

/** The runtime's modules as files of the package: as they are, and in their place where there are none. */
function runtimeFiles(imports: RuntimeImports): Record<string, string> {
  return Object.fromEntries([...imports].flatMap(([specifier, all]) => {
    const names = [...all].sort();
    const refusals = names.map((name) => `export function ${name}() {\n  refuse("${name}");\n}\n`);
    return [
      [`${fileOf(specifier)}.js`, `export { ${names.join(", ")} } from "${specifier}";\n`],
      [`${fileOf(specifier)}.none.js`, refuse(specifier) + refusals.join("")],
    ];
  }));
}

/** `imports` of the manifest: the runtime's modules by platform. */
function conditions(imports: RuntimeImports): Record<string, unknown> {
  return Object.fromEntries(
    [...imports.keys()].sort().map((specifier) => {
      const none = `./${fileOf(specifier)}.none.js`;
      return [runtimeName(specifier), { workerd: none, browser: none, default: `./${fileOf(specifier)}.js` }];
    }),
  );
}

/** What the compiled package holds beside its files. */
export interface Compiled {
  /** For the manifest. */
  readonly imports: Record<string, unknown>;
  /** Modules that are started by their URL: bundlers must not drop them. */
  readonly started: readonly string[];
}

function startedBy(path: string, code: string): string[] {
  return [...code.matchAll(/\bnew URL\("(\.{1,2}\/[^"]+\.js)",/g)].map(([, file]) =>
    join(dirname(path), file)
  );
}

/** Compiles the package's sources into a folder. */
export function compile(out: string): Compiled {
  runCompiler(out);
  const noted = new Map<string, Set<string>>();
  const started: string[] = [];
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(out, path)), { recursive: true });
    writeFileSync(join(out, path), text);
  };
  const paths = readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map((entry) => relative(out, join(entry.parentPath, entry.name)));
  for (const path of paths) {
    const code = readFileSync(join(out, path), "utf8");
    const command = path.startsWith("src/cli/");
    if (path.endsWith(".js")) {
      const text = published(code, command ? undefined : noted);
      started.push(...startedBy(path, text));
      write(path, text);
    }
    if (path.endsWith(".d.ts") && command) rmSync(join(out, path));
    else if (path.endsWith(".d.ts")) write(path, publishedDeclarations(path, code));
  }
  for (const [path, text] of Object.entries(runtimeFiles(noted))) write(path, text);
  write(globalTypesFile, globalTypes());
  return { imports: conditions(noted), started };
}
