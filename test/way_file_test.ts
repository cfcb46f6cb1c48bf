import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KnownWay } from "../src/device/known_ways.ts";
import { cacheFolder, keptTuning, openWayFile } from "../src/runtime/way_file.ts";

const gpu = "dawn, nvidia, H100, driver 1.2";
const known: KnownWay[] = [{ kernel: "linear", key: "8 rows", way: "tiled", programs: "0123abcd" }];

/** Opens the file of a GPU under a folder; the lines it logs. */
async function open(root: string, of = gpu) {
  const lines: string[] = [];
  const surroundings = { platform: "linux", env: { XDG_CACHE_HOME: root } };
  const file = await openWayFile(of, { log: (line) => lines.push(line), surroundings });
  return { file: file!, lines };
}

async function inFolder(act: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "ways-"));
  try {
    await act(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("openWayFile finds what was saved, for the same GPU and driver, and leaves nothing else behind", async () => {
  await inFolder(async (root) => {
    const { file, lines } = await open(root);
    assert.deepEqual(file.known, []);
    const path = join(root, "fourierft", "ways-dawn-nvidia-h100-driver-1-2.json");
    assert.equal(file.save([]), path);
    assert.equal(file.save(known), path);
    assert.deepEqual((await open(root)).file.known, known);
    assert.deepEqual((await open(root, "dawn, nvidia, H100, driver 1.3")).file.known, []);
    assert.deepEqual(lines, []);
    assert.deepEqual(readdirSync(join(root, "fourierft")), ["ways-dawn-nvidia-h100-driver-1-2.json"]);
  });
});

test("openWayFile saves what a process finds beside what another has saved since it was opened", async () => {
  await inFolder(async (root) => {
    const [one, other] = [(await open(root)).file, (await open(root)).file];
    const later = [{ ...known[0], key: "64 rows" }];
    one.save(known);
    other.save(later);
    assert.deepEqual((await open(root)).file.known, [...known, ...later]);
  });
});

test("openWayFile ignores a file that it cannot use, and says so in one line", async () => {
  await inFolder(async (root) => {
    const path = (await open(root)).file.save(known)!;
    const good = readFileSync(path, "utf8");
    for (
      const [text, why] of [
        [good.slice(0, -20), /it is not JSON$/],
        ["null", /its format is undefined, not 1/],
        [good.replace('"format": 1', '"format": 2'), /its format is 2, not 1/],
        [
          good.replace("driver 1.2", "driver-1.2"),
          /another GPU or driver, "dawn, nvidia, H100, driver-1.2"$/,
        ],
        [good.replace('"tiled"', "7"), /its ways are not ways/],
      ] as const
    ) {
      writeFileSync(path, text);
      const { file, lines } = await open(root);
      assert.deepEqual(file.known, []);
      assert.equal(lines.length, 1);
      assert.match(lines[0], why);
      assert.ok(lines[0].startsWith(`ignored ${path}: `));
    }
    (await open(root)).file.save(known);
    assert.deepEqual((await open(root)).file.known, known, "the next save mends it");
  });
});

test("openWayFile keeps nothing where the folder cannot be written or told, without an error", async () => {
  await inFolder(async (root) => {
    const occupied = join(root, "a-file");
    writeFileSync(occupied, "");
    const { file, lines } = await open(occupied);
    assert.deepEqual(file.known, []);
    assert.equal(file.save(known), undefined);
    assert.deepEqual(lines, []);
  });
  assert.equal(await openWayFile(gpu, { log: assert.fail, surroundings: { env: {} } }), undefined);
});

test("keptTuning logs what was timed, and knows it at the next start", async () => {
  await inFolder(async (root) => {
    const lines: string[] = [];
    const options = {
      log: (line: string) => void lines.push(line),
      surroundings: { env: { XDG_CACHE_HOME: root } },
    };
    const { known: before, onTuned } = await keptTuning(gpu, options);
    assert.deepEqual(before, []);
    onTuned!({ found: known, ms: 432 });
    const path = join(root, "fourierft", "ways-dawn-nvidia-h100-driver-1-2.json");
    assert.deepEqual(lines, [`tuned: kernels of 1 size classes timed in 0.4 s, kept in ${path}`]);
    assert.deepEqual((await keptTuning(gpu, options)).known, known);
    const homeless = await keptTuning(gpu, { ...options, surroundings: {} });
    homeless.onTuned!({ found: known, ms: 60 });
    assert.equal(lines[1], "tuned: kernels of 1 size classes timed in 0.1 s");
  });
});

test("cacheFolder is where each system keeps caches", () => {
  const env = { HOME: "/home/a", LOCALAPPDATA: "C:\\Users\\a\\AppData\\Local" };
  assert.equal(cacheFolder({ platform: "linux", env }), "/home/a/.cache/fourierft");
  assert.equal(cacheFolder({ platform: "linux", env: { ...env, XDG_CACHE_HOME: "/c" } }), "/c/fourierft");
  assert.equal(
    cacheFolder({ platform: "linux", env: { ...env, XDG_CACHE_HOME: "c" } }),
    "/home/a/.cache/fourierft",
  );
  assert.equal(cacheFolder({ platform: "darwin", env }), "/home/a/Library/Caches/fourierft");
  assert.equal(
    cacheFolder({ platform: "win32", env }),
    "C:\\Users\\a\\AppData\\Local\\fourierft\\cache",
  );
  assert.equal(cacheFolder({}), undefined);
});
