/**
 * Readers of safetensors on npm beside ours: time for a whole file, and what they make of broken files.
 *
 * The others are installed in a folder of their own for the call. They are left out of quick runs, and where npm cannot
 * install them.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { parseSafetensors, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { file, malformed } from "../test/malformed_safetensors.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { median } from "./measurement.ts";

/** Reads every tensor of a file; throws, or rejects, for a file that it refuses. */
type Read = (bytes: Uint8Array) => unknown;

interface Reader {
  readonly name: string;
  readonly read: Read;
}

function readOwn(bytes: Uint8Array): void {
  const { tensors, read } = parseSafetensors(bytes);
  for (const name of tensors.keys()) read(name);
}

/** The packages, and how each is used as its documentation says. */
const packages: Readonly<Record<string, (module: unknown) => Read>> = {
  "safetensors@0.0.1": (module) => (bytes) => {
    const { SafeTensor } = module as {
      readonly SafeTensor: new (bytes: Uint8Array) => {
        readonly metadata: Map<string, unknown>;
        getTensor(name: string): Uint8Array;
      };
    };
    const read = new SafeTensor(bytes);
    for (const name of read.metadata.keys()) if (name !== "__metadata__") read.getTensor(name);
  },
  "@jax-js/loaders@0.1.1": (module) => (bytes) => {
    const { safetensors } = module as { readonly safetensors: { parse(bytes: Uint8Array): unknown } };
    safetensors.parse(bytes);
  },
  "@huggingface/hub@2.17.5": (module) => {
    const { parseSafetensorsMetadata } = module as {
      parseSafetensorsMetadata(options: Record<string, unknown>): Promise<unknown>;
    };
    return (bytes) =>
      parseSafetensorsMetadata({ repo: "org/name", path: "model.safetensors", fetch: served(bytes) });
  },
};

/** A hub of one file, answered by ranges as the hub does. */
function served(bytes: Uint8Array): typeof fetch {
  return (_input, init) => {
    const [, from = "0", to = `${bytes.length - 1}`] =
      /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range") ?? "") ?? [];
    const part = bytes.slice(Number(from), Number(to) + 1);
    const headers = {
      "content-range": `bytes ${from}-${to}/${bytes.length}`,
      "content-length": `${part.length}`,
      etag: '"a"',
    };
    return Promise.resolve(new Response(part, { status: 206, headers }));
  };
}

/** The other readers, installed in a folder. */
async function install(folder: string): Promise<Reader[]> {
  writeFileSync(join(folder, "package.json"), '{ "private": true }');
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
  execFileSync("npm", ["install", ...flags, ...Object.keys(packages)], { cwd: folder, stdio: "pipe" });
  return await Promise.all(
    Object.entries(packages).map(async ([spec, use], i) => {
      const contents = `export * from "${spec.slice(0, spec.lastIndexOf("@"))}";`,
        outfile = join(folder, `${i}.mjs`);
      // By Node's rules, which Deno follows for packages of its own manifest alone.
      await build({
        stdin: { contents, resolveDir: folder },
        bundle: true,
        format: "esm",
        platform: "node",
        mainFields: ["module", "main"],
        outfile,
      });
      return { name: spec, read: use(await import(pathToFileURL(outfile).href)) };
    }),
  );
}

const view = (name: string, elements: number): TensorView => ({
  name,
  dtype: "F32",
  shape: [elements],
  bytes: new Uint8Array(4 * elements),
});

const tensors = (count: number, elements: number): Uint8Array =>
  writeSafetensors(
    Array.from({ length: count }, (_, i) => view(`model.layers.${i}.self_attn.q_proj.weight`, elements)),
  );

/** Files that the format allows, and that some readers refuse. */
const allowed: readonly Uint8Array[] = [
  file("{}"),
  file("{}\r \t\n"),
  file('{"__metadata__":{"format":"pt"}}'),
  file('{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
  file('{"a":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]}}'),
  file('{"a":{"data_offsets":[0,2],"shape":[1],"dtype":"BF16"}}', 2),
  file('{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}', 3),
  file(
    '{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F32","shape":[1],"data_offsets":[3,7]}}',
    7,
  ),
  file('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
];

async function reads({ read }: Reader, bytes: Uint8Array): Promise<boolean> {
  try {
    // A copy each: a reader may keep the file's memory.
    await read(bytes.slice());
    return true;
  } catch {
    return false;
  }
}

async function countRead(reader: Reader, files: readonly Uint8Array[]): Promise<number> {
  let count = 0;
  for (const bytes of files) if (await reads(reader, bytes)) count++;
  return count;
}

/** Milliseconds that an attempt takes at least, and attempts. */
const attemptMs = 100, attempts = 15;

/** Microseconds of one attempt, and its runs. */
async function attempt(
  { read }: Reader,
  bytes: Uint8Array,
  leastMs: number,
): Promise<{ us: number; runs: number }> {
  const began = performance.now();
  for (let runs = 1;; runs++) {
    await read(bytes);
    const elapsed = performance.now() - began;
    if (elapsed >= leastMs) return { us: 1000 * elapsed / runs, runs };
  }
}

/** Times readers in turn, so that a busy machine is busy for all of them. */
async function* timeReaders(
  readers: readonly Reader[],
  { bytes, quick }: { readonly bytes: Uint8Array; readonly quick: boolean },
): AsyncGenerator<Pick<Measurement, "column" | "median" | "minimum" | "slowest" | "runs">> {
  const taken = readers.map(() => [] as { us: number; runs: number }[]);
  for (let round = 0; round < (quick ? 1 : attempts); round++) {
    for (const [i, reader] of readers.entries()) {
      taken[i].push(await attempt(reader, bytes, quick ? 1 : attemptMs));
    }
  }
  for (const [i, { name }] of readers.entries()) {
    const times = taken[i].map(({ us }) => us);
    yield {
      column: name,
      median: median(times),
      minimum: Math.min(...times),
      slowest: Math.max(...times),
      runs: taken[i].reduce((sum, { runs }) => sum + runs, 0),
    };
  }
}

const headerNote = "@huggingface/hub reads the header alone; the others give every tensor";

async function* measureReaders(
  readers: readonly Reader[],
  context: BenchContext,
): AsyncGenerator<Measurement> {
  const table = "safetensors",
    files = {
      "10 tensors of 4 KiB": tensors(10, 1024),
      "300 tensors of 64 KiB": tensors(300, 2 ** 14),
      "10,000 tensors of 4 bytes": tensors(10_000, 1),
    };
  for (const [row, bytes] of Object.entries(files)) {
    const able: Reader[] = [];
    for (const reader of readers) {
      if (await reads(reader, bytes)) able.push(reader);
      else context.log(`${reader.name} cannot read ${row}`);
    }
    for await (const times of timeReaders(able, { bytes, quick: context.quick })) {
      yield { table, row, unit: "us", note: headerNote, ...times };
    }
  }
}

async function* measure(context: BenchContext): AsyncGenerator<Measurement> {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-readers-"));
  try {
    const own = { name: "safetensors-ts", read: readOwn };
    const others = context.quick ? [] : await install(folder).catch((error: Error) => {
      context.log(`the readers of npm are left out: ${error.message.split("\n")[0]}`);
      return [];
    });
    const readers = [own, ...others];
    yield* measureReaders(readers, context);
    const broken = malformed.map(([, bytes]) => bytes), table = "safetensors-files";
    for (const reader of readers) {
      const row = reader.name;
      yield {
        table,
        row,
        column: `accepted of ${broken.length} malformed files`,
        unit: "",
        median: await countRead(reader, broken),
      };
      yield {
        table,
        row,
        column: `read of ${allowed.length} unusual files`,
        unit: "",
        median: await countRead(reader, allowed),
      };
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** See the module's documentation. */
export const safetensorsBench: Bench = {
  name: "safetensors",
  doc: "readers of safetensors on npm: time for a file, and malformed files that they accept",
  measure,
};
