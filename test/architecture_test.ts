/**
 * The direction of imports, held as a table: arrows point toward data, and a new one has to be written here first.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { cacheFormats, formats, type Kernel, kernels } from "../kernels/mod.ts";
import { modelLinears, parseConfig } from "../src/models/families.ts";
import { importsOf, root, type Source, sourceAt, sourcesUnder } from "./architecture.ts";
import { publishedSources, unpublished } from "./pack/compile.ts";

interface Room {
  /** Rooms whose values and types it may import. */
  readonly uses: readonly string[];
  /** Rooms whose types alone it may import. */
  readonly types?: readonly string[];
  /** Packages it may import. */
  readonly packages?: readonly string[];
}

/** Rooms that stand on nothing but numbers, and that all may use. */
const ground = ["kernels", "tensor", "errors"];

/**
 * The rooms. `device` is the interface and `devices` its implementations: only what opens a device may know which one
 * it has.
 */
const rooms: Readonly<Record<string, Room>> = {
  kernels: { uses: [] },
  // For tests and benches alone: nothing of the library may use them.
  "kernels/cases": { uses: ["kernels"] },
  errors: { uses: [] },
  abandon: { uses: [] },
  breathe: { uses: [] },
  contest: { uses: [] },
  folder: { uses: ["errors"], types: ["safetensors"] },
  url: { uses: ["folder", "errors"], types: ["safetensors"] },
  // `safetensors` for the names of what is no JSON.
  json: { uses: ["errors", "safetensors"] },
  tensor: { uses: [], types: ["kernels"] },
  plan: { uses: ["tensor"], types: ["kernels"] },
  device: { uses: [], types: ["kernels", "tensor", "plan"] },
  devices: { uses: ["device", "plan", "breathe", "contest", ...ground] },
  safetensors: { uses: ground },
  gguf: { uses: ["errors"], types: ["safetensors"] },
  "adapters/methods": { uses: ["adapters", "plan", "breathe", ...ground] },
  adapters: {
    uses: ["adapters/methods", "safetensors", "folder", "json", "plan", "abandon", "breathe", ...ground],
    types: ["device"],
  },
  // Chat templates: a language of its own, which knows nothing of models.
  jinja: { uses: ["errors"] },
  models: {
    uses: ["safetensors", "gguf", "folder", "json", "plan", "breathe", "jinja", ...ground],
    types: ["adapters", "device"],
    packages: ["oniguruma-to-es"],
  },
  engine: { uses: ["models", "adapters", "plan", "breathe", "contest", ...ground], types: ["device"] },
  // `devices` for the look of a thread; the engine's package is a text that a runtime reads.
  grammar: { uses: ["abandon", "breathe", "errors", "json"], types: ["engine", "models", "devices"] },
  server: {
    // `device` for its error class: what went wrong becomes a status here.
    uses: ["engine", "grammar", "pictures", "breathe", "safetensors", "json", "device", ...ground],
    types: ["adapters", "models"],
    packages: ["hono", "zod", "@noble/hashes"],
  },
  // Beside the server, not on it: a page that asks has no use for what answers.
  client: { uses: ["safetensors", ...ground], packages: ["eventsource-parser"] },
  open: { uses: ["engine", "models", "adapters", "folder", ...ground], types: ["device"] },
  // On buffers of the caller's GPU: it makes the device that it needs of a GPUDevice.
  adapter_on: { uses: ["adapters", "devices", "plan", ...ground] },
  failover: { uses: ["abandon", "device", "engine", "errors"], types: ["adapters"] },
  // `training` for the files of an adapter, `adapters/methods` for the sums of factors.
  combine: { uses: ["training", "adapters", "adapters/methods", "tensor", "errors"], types: ["folder"] },
  merge: { uses: ["merge_own", "models", "adapters", "safetensors", "folder", ...ground], types: ["device"] },
  merge_own: { uses: ["models", "adapters", "folder", ...ground] },
  convert: {
    uses: ["training", "models", "adapters", "adapters/methods", "folder", ...ground],
  },
  training: {
    // `jinja` for how it reads the numbers of JSON.
    uses: ["engine", "models", "jinja", "safetensors", "folder", "json", "plan", ...ground],
    types: ["adapters", "device"],
  },
  train: {
    // `open` for what it reads of a model's config, `engine` for its random numbers and the rows of encoders.
    uses: ["training", "open", "engine", "models", "adapters", ...ground],
    types: ["device", "folder"],
  },
  // Numbers of pictures without packages; figures, which draw them, are loaded when they are shown.
  pictures: {
    uses: ["adapters", "breathe", "errors"],
    types: ["device"],
    packages: ["@observablehq/plot", "fast-png"],
  },
  quantize: { uses: ["models", "safetensors", "folder", ...ground] },
  perplexity: { uses: ["training", "open", "models", "adapters"], types: ["device", "folder"] },
  // For users' tests, too: nothing of the library may use it.
  testing: {
    uses: ["safetensors", "folder", ...ground],
    types: ["adapters", "training"],
    packages: ["fast-check"],
  },
  // `adapters` for the rule of what a name may be; of the rest what a disk must offer.
  runtime: {
    uses: ["devices", "device", "adapters", "folder", "grammar", "errors"],
    // `server` for the counts that servers share.
    types: ["safetensors", "models", "server"],
    packages: ["@huggingface/hub", "unstorage", "aws4fetch", "ioredis"],
  },
  // The playground stands on the package's doors, as any user's page does.
  "playground/worker": { uses: [], types: ["playground/backend"], packages: ["fourierft"] },
  // `fourierft` for types of what the worker sends, and for the GPU that is looked for before.
  "playground/backend": {
    uses: [],
    types: ["playground/worker"],
    packages: ["fourierft", "fourierft/client"],
  },
  "playground/state": {
    uses: ["playground/backend"],
    types: ["playground/worker"],
    packages: ["fourierft/pictures", "@preact/signals"],
  },
  "playground/parts": {
    uses: ["playground/state"],
    types: ["playground/backend", "playground/worker", "playground/views"],
    packages: ["fourierft/pictures", "preact", "@preact/signals"],
  },
  "playground/views": {
    uses: ["playground/parts", "playground/state"],
    types: ["playground/backend"],
    packages: ["fourierft/pictures", "preact", "@preact/signals"],
  },
};

/** Rooms at the rim, which may import every other: of the playground what opens the page, builds it and serves it. */
const rim = ["mod", "cli", "playground"];

/** Where a runtime may be named (`Deno.`, `Bun.`, `process.`, `node:`); tests, benches and examples may too. */
const knowsRuntime = ["runtime", "cli"];

function roomOf(path: string): string {
  if (path.startsWith("kernels/cases/")) return "kernels/cases";
  if (path.startsWith("kernels/")) return "kernels";
  if (path.startsWith("src/adapters/methods/")) return "adapters/methods";
  if (path === "src/device/device.ts") return "device";
  if (path.startsWith("src/device/")) return "devices";
  const [first, second, third] = path.replace(/\.tsx?$/, "").split("/");
  if (first === "playground" && third !== undefined) return `playground/${second}`;
  return first === "src" ? second : first;
}

/** Sentences about the imports of a file that the table does not have. */
function newArrows({ path, imports }: Source): string[] {
  const name = roomOf(path);
  if (rim.includes(name)) return [];
  const room = rooms[name];
  if (!room) return [`${path} stands in a room "${name}" that the table does not have`];
  return imports.flatMap(({ target, local, typeOnly }) => {
    if (!local) {
      const listed = room.packages?.some((known) => target === known || target.startsWith(`${known}/`));
      const runtimes = target.startsWith("node:") && knowsRuntime.includes(name);
      return listed || runtimes ? [] : [`${path} imports the package "${target}", which ${name} may not`];
    }
    const other = roomOf(target);
    if (other === name || room.uses.includes(other) || (typeOnly && room.types?.includes(other))) return [];
    const rule = room.types?.includes(other)
      ? `only types of ${other} may go to ${name}`
      : `${name} -> ${other}`;
    return [`${path} imports ${target}: a new arrow, ${rule}`];
  });
}

/** A way from a file back to itself by imports that stay when types are stripped; empty when there is none. */
function cycle(sources: readonly Source[]): string[] {
  const imports = new Map(
    sources.map((
      { path, imports },
    ) => [path, imports.filter((i) => i.local && !i.typeOnly).map((i) => i.target)]),
  );
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): string[] => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const next of imports.get(path) ?? []) {
      const found = visit(next, [...way, path]);
      if (found.length > 0) return found;
    }
    done.add(path);
    return [];
  };
  for (const { path } of sources) {
    const found = visit(path, []);
    if (found.length > 0) return found;
  }
  return [];
}

const library = [...sourcesUnder("kernels"), ...sourcesUnder("src")];
const everything = [...library, sourceAt("mod.ts")];
const playground = sourcesUnder("playground");

test("imports: every arrow between rooms is in the table", () => {
  assert.ok(library.length > 40, `only ${library.length} sources found`);
  assert.ok(playground.length > 10, `only ${playground.length} sources of the playground found`);
  assert.deepEqual([...everything, ...playground].flatMap(newArrows), []);
});

test("imports: no file comes back to itself", () => {
  assert.deepEqual(cycle([...everything, ...playground]), []);
});

test("imports: a file that comes back to itself is found, unless by types", () => {
  const file = (path: string, code: string): Source => ({ path, code, imports: importsOf(path, code) });
  const a = file("src/a.ts", 'import { b } from "./b.ts";');
  assert.deepEqual(cycle([a, file("src/b.ts", 'export { a } from "./a.ts";')]), [
    "src/a.ts",
    "src/b.ts",
    "src/a.ts",
  ]);
  assert.deepEqual(cycle([a, file("src/b.ts", 'import type { A } from "./a.ts";')]), []);
});

test("imports: the reader sees types, re-exports, packages, and dynamic imports", () => {
  const code = [
    'import type { A } from "../tensor.ts";',
    'import {\n  type B,\n  type C,\n} from "./b.ts";',
    'import { d, type E } from "./d.ts";',
    'export * from "./e.ts";',
    'import "hono";',
    'const f = await import("node:fs");',
  ].join("\n");
  const seen = importsOf("src/server/x.ts", code).map(({ target, typeOnly }) => `${target} ${typeOnly}`);
  assert.deepEqual(seen, [
    "src/tensor.ts true",
    "src/server/b.ts true",
    "src/server/d.ts false",
    "src/server/e.ts false",
    "hono false",
    "node:fs false",
  ]);
});

test("imports: an arrow that is not in the table is named with its file", () => {
  const wrong = (path: string, code: string): string[] =>
    newArrows({ path, code, imports: importsOf(path, code) });
  assert.deepEqual(wrong("kernels/add.ts", 'import { x } from "../src/tensor.ts";'), [
    "kernels/add.ts imports src/tensor.ts: a new arrow, kernels -> tensor",
  ]);
  assert.deepEqual(wrong("src/tensor.ts", 'import { x } from "../kernels/kernel.ts";'), [
    "src/tensor.ts imports kernels/kernel.ts: a new arrow, only types of kernels may go to tensor",
  ]);
  assert.deepEqual(wrong("src/engine/a.ts", 'import { cpuDevice } from "../device/cpu.ts";'), [
    "src/engine/a.ts imports src/device/cpu.ts: a new arrow, engine -> devices",
  ]);
  assert.equal(wrong("src/models/a.ts", 'import fs from "node:fs";').length, 1);
  assert.equal(wrong("src/attic/a.ts", "").length, 1);
});

/** GGUF calls kinds of tokenizers by models that have such. */
const namesTokenizers = ["src/models/gguf/tokenizer.ts", "src/models/gguf/pre_tokenizers.ts"];

/** Files that may name a family of models: its own folder, and the list. */
const knowsFamily = (path: string, folder: string): boolean =>
  path.startsWith(`src/models/${folder}/`) || path === "src/models/families.ts" ||
  namesTokenizers.includes(path);

/** Names that begin as a family's does: of a rotary scaling, and of parts of tokenizers. */
const otherNames = "3|Normalizer|PreTokenizer|Processing";

/** Sentences about files that name a family, as a word of a name, and should not; comments may. */
function namedFamilies(sources: readonly Source[], folders: readonly string[]): string[] {
  return folders.flatMap((folder) => {
    const capital = folder[0].toUpperCase() + folder.slice(1);
    const name = new RegExp(`((?<![a-z])(${folder}|${folder.toUpperCase()})|${capital})(?!${otherNames})`);
    return sources.flatMap(({ path, code }) => {
      const line = knowsFamily(path, folder) ? undefined : code.split("\n").find((text) => name.test(text));
      return line ? [`${path}: ${line.trim()}`] : [];
    });
  });
}

/** Folders of families: those with a forward. */
const familyFolders = library.flatMap(({ path }) =>
  /^src\/models\/(\w+)\/forward\.ts$/.exec(path)?.[1] ?? []
);

test("families: nothing but a family's folder and the list names it", () => {
  assert.ok(familyFolders.includes("llama"), `found ${familyFolders}`);
  assert.deepEqual(namedFamilies(everything, familyFolders), []);
});

test("families: a file that names one is found, unless in a comment or by a rotary scaling", () => {
  const file = (code: string): Source => ({ path: "src/engine/a.ts", code, imports: [] });
  assert.equal(namedFamilies([file("loadLlama();")], ["llama"]).length, 1);
  assert.equal(namedFamilies([file('case "llama3":')], ["llama"]).length, 0);
});

interface FamilyConfig {
  readonly config: string;
  readonly words?: number;
}

/** The last names of a family's linears, or the last two where the last are usual words, by a model of its fixtures. */
function linearNames({ config, words = 1 }: FamilyConfig): readonly string[] {
  const fields = JSON.parse(readFileSync(join(root, "test/fixtures", config), "utf8"));
  const names = modelLinears(parseConfig(fields)).map(({ path }) => path.split(".").slice(-words).join("."));
  return [...new Set(names)].filter((name) => name !== "lm_head");
}

/** Files outside a family's folder that name more than half of its linears: an example needs a few. */
function knowsLinears(sources: readonly Source[], folder: string, names: readonly string[]): string[] {
  return sources.flatMap(({ path, code }) => {
    const named = names.filter((name) => new RegExp(`\\b${name}\\b`).test(code));
    // Two families may call their linears alike.
    const ofFamily = familyFolders.some((other) => path.startsWith(`src/models/${other}/`));
    const mayKnow = knowsFamily(path, folder) || ofFamily || 2 * named.length <= names.length;
    return mayKnow ? [] : [`${path} names ${named}`];
  });
}

/** A model of each family, among the fixtures. */
const familyConfigs: Readonly<Record<string, FamilyConfig>> = {
  llama: { config: "methods/base/config.json" },
  gpt2: { config: "families/gpt2/base/config.json" },
  lfm2: { config: "families/variants/lfm2-old/base/config.json" },
  qwen3_5: { config: "families/variants/qwen3_5-interval/base/config.json" },
  bert: { config: "families/bert/base/config.json", words: 2 },
  vit: { config: "families/vit/base/config.json", words: 2 },
};

test("families: nothing but a family's folder knows the names of its linears", () => {
  assert.deepEqual(Object.keys(familyConfigs).sort(), [...familyFolders].sort());
  for (const [folder, config] of Object.entries(familyConfigs)) {
    const names = linearNames(config);
    assert.ok(names.length > 2, `${folder} has ${names}`);
    assert.deepEqual(knowsLinears(everything, folder, names), []);
  }
});

test("families: a file that knows the linears of one is found", () => {
  const file = (code: string): Source => ({ path: "src/adapters/methods/a.ts", code, imports: [] });
  const names = linearNames(familyConfigs.gpt2);
  assert.equal(knowsLinears([file('["attn.c_attn", "attn.c_proj", "mlp.c_fc"]')], "gpt2", names).length, 1);
  assert.equal(knowsLinears([file('"h.0.attn.c_attn"')], "gpt2", names).length, 0);
});

/** Doors that bundle for a page as they are: what they reach needs only what the web has. */
const webDoors = [
  "mod.ts",
  "kernels/mod.ts",
  "src/safetensors/mod.ts",
  "src/server/mod.ts",
  "src/client/mod.ts",
  "src/pictures/mod.ts",
  "src/testing/mod.ts",
];

/** Packages that run in a page. */
const webPackages = [
  "@noble/hashes",
  "@observablehq",
  "eventsource-parser",
  "fast-check",
  "fast-png",
  "hono",
  "oniguruma-to-es",
  "zod",
];

/** The ways by which a door reaches what a page has not, by imports that stay when types are stripped. */
function beyondTheWeb(door: string, sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const from = new Map<string, string | undefined>([[door, undefined]]);
  const way = (path: string): string => {
    const before = from.get(path);
    return before === undefined ? path : `${way(before)} -> ${path}`;
  };
  const found: string[] = [];
  for (const path of from.keys()) {
    for (const { target, local, typeOnly } of byPath.get(path)!.imports) {
      if (typeOnly) continue;
      const isOfTheWeb = local
        ? !knowsRuntime.includes(roomOf(target))
        : webPackages.some((name) => target === name || target.startsWith(`${name}/`));
      if (!isOfTheWeb) found.push(`${way(path)} -> ${target}`);
      else if (local && !from.has(target)) from.set(target, path);
    }
  }
  return found;
}

for (const door of webDoors) {
  test(`doors: ${door} reaches nothing that a page has not`, () => {
    assert.deepEqual(beyondTheWeb(door, everything), []);
  });
}

test("doors: a way to a runtime is found through other files, unless by types", () => {
  const file = (path: string, code: string): Source => ({ path, code, imports: importsOf(path, code) });
  const sources = [
    file("mod.ts", 'export { a } from "./src/open.ts";'),
    file("src/open.ts", 'import { f } from "./runtime/file.ts";\nimport type { G } from "./runtime/gpu.ts";'),
  ];
  assert.deepEqual(beyondTheWeb("mod.ts", sources), ["mod.ts -> src/open.ts -> src/runtime/file.ts"]);
  assert.deepEqual(beyondTheWeb("mod.ts", [file("mod.ts", 'import { open } from "node:fs";')]), [
    "mod.ts -> node:fs",
  ]);
});

test("runtimes: nothing outside runtime/ and cli/ names one, but what builds and serves the playground", () => {
  const named = /\b(?:Deno|Bun|process)\s*[.?[]|["']node:/;
  const offenders = [...everything, ...playground]
    .filter(({ path }) => ![...knowsRuntime, "playground"].includes(roomOf(path)))
    .flatMap(({ path, code }) => {
      const line = code.split("\n").find((text) => named.test(text));
      return line ? [`${path}: ${line.trim()}`] : [];
    });
  assert.deepEqual(offenders, []);
});

test("package: what is published imports no sizes of tests, nor anything else that is not", () => {
  const published = publishedSources();
  assert.ok(published.includes("kernels/linear.ts") && published.includes("src/cli/main.ts"));
  assert.deepEqual(published.filter((path) => path.startsWith("kernels/cases/")), []);
  const beyond = published.map(sourceAt).flatMap(({ path, imports }) =>
    imports.filter(({ target, local }) => local && !published.includes(target)).map(({ target }) =>
      `${path} imports ${target}`
    )
  );
  assert.deepEqual(beyond, []);
  for (const kernel of kernels) assert.ok(!("cases" in kernel || "benches" in kernel), kernel.name);
});

test("package: both publishers leave the same out", () => {
  const { publish: { exclude } } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  for (const path of unpublished) {
    assert.ok(exclude.includes(path.replace(/\/$/, "")), `deno.json publishes ${path}`);
  }
});

test("kernels: every kernel of a file in kernels/ is in mod.ts once, under its file's name", async () => {
  const files = readdirSync(join(root, "kernels")).filter((name) =>
    name.endsWith(".ts") && name !== "mod.ts"
  );
  const found: string[] = [];
  for (const file of files) {
    const exported: Record<string, unknown> = await import(`../kernels/${file}`);
    for (const value of Object.values(exported)) {
      if (typeof value !== "object" || value === null || !("launch" in value && "reference" in value)) {
        continue;
      }
      const kernel = kernels.find((listed) => listed === value);
      assert.ok(kernel, `kernels/${file} has a kernel that kernels/mod.ts does not list`);
      // An elementwise kernel's gradient may stand in its file.
      assert.equal(`${kernel.name.replace(/_backward$/, "")}.ts`, file.replace(/_backward\.ts$/, ".ts"));
      // A kernel that multiplies by a weight is there once for each format, and one of a cache for each of the cache's.
      const ofFormat = "of" in value
        ? (value as { readonly of: (format: unknown) => Kernel }).of
        : () => kernel;
      const inFormats = "keys" in kernel.buffers ? Object.values(cacheFormats) : formats;
      const all = "of" in value ? inFormats.map(ofFormat) : [kernel];
      found.push(...all.map(({ name }) => name));
    }
  }
  assert.deepEqual(kernels.map(({ name }) => name).sort(), found.sort());
});

test("tree: the top level has the folders that the architecture names, and no more", () => {
  const made = ["node_modules", "dist", ".git", ".cache", ".gpu-host"];
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !made.includes(entry.name)).map((entry) => entry.name);
  assert.deepEqual(folders.sort(), [
    ".ci",
    ".github",
    "bench",
    "deploy",
    "docs",
    "examples",
    "kernels",
    "playground",
    "site",
    "src",
    "test",
  ]);
});
