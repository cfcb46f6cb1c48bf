/**
 * Images as Pillow decodes and resizes them, see fixtures/images/README.md.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { resizedImage } from "../mod.ts";
import { decodeImage, imageExamples } from "../src/cli/examples.ts";

const pathOf = (name: string): string => fileURLToPath(new URL(`fixtures/images/${name}`, import.meta.url));
const jsonOf = <T>(name: string): T => JSON.parse(readFileSync(pathOf(name), "utf8"));

interface Bytes {
  readonly width: number;
  readonly height: number;
  /** Base64. */
  readonly rgb: string;
}

const bytesOf = ({ rgb }: Bytes): Uint8Array => new Uint8Array(Buffer.from(rgb, "base64"));

test("resizedImage gives Pillow's bytes by every filter, smaller and larger", () => {
  const golden = jsonOf<Bytes & { readonly cases: readonly (Bytes & { readonly resample: number })[] }>(
    "resized.json",
  );
  const image = { ...golden, rgb: bytesOf(golden) };
  for (const one of golden.cases) {
    const made = resizedImage(image, { ...one, resizes: true });
    assert.deepEqual(made, bytesOf(one), `filter ${one.resample}, ${one.width} x ${one.height}`);
  }
  assert.equal(new Set(golden.cases.map(({ resample }) => resample)).size, 6);
});

test("resizedImage refuses bytes of another size, and sizes where the model says not to resize", () => {
  const image = { rgb: new Uint8Array(12), width: 2, height: 2 }, to = { width: 4, height: 4, resample: 2 };
  assert.throws(() => resizedImage({ ...image, width: 3 }, { ...to, resizes: true }), /3 x 2 from 12 bytes/);
  assert.throws(
    () => resizedImage({ ...image, rgb: new Uint8Array(), width: 0 }, { ...to, resizes: true }),
    RangeError,
  );
  assert.throws(() => resizedImage(image, { ...to, resizes: false }), /takes 4 x 4.*do_resize false/);
  assert.equal(resizedImage(image, { ...to, width: 2, height: 2, resizes: false }), image.rgb);
});

test("decodeImage gives Pillow's bytes of PNG, and nearly those of JPEG", () => {
  for (const [name, golden] of Object.entries(jsonOf<Record<string, Bytes>>("decoded.json"))) {
    const { rgb, width, height } = decodeImage(new Uint8Array(readFileSync(pathOf(name))), name);
    assert.deepEqual([width, height], [golden.width, golden.height], name);
    const gap = Math.max(...bytesOf(golden).map((value, i) => Math.abs(value - rgb[i])));
    assert.ok(
      rgb.length === 3 * width * height && gap <= (name.endsWith(".jpg") ? 2 : 0),
      `${name}: off by ${gap}`,
    );
  }
});

test("decodeImage refuses what is no image, is cut off, or is too large", () => {
  const png = new Uint8Array(readFileSync(pathOf("rgb.png"))),
    jpg = new Uint8Array(readFileSync(pathOf("soft.jpg")));
  assert.throws(() => decodeImage(new Uint8Array(10), "a.png"), /"a.png": it is neither PNG nor JPEG/);
  assert.throws(() => decodeImage(png.subarray(0, 20), "a.png"), /"a.png": it ends within its header/);
  assert.throws(() => decodeImage(png.subarray(0, 200), "a.png"), /Cannot read image "a.png"/);
  assert.throws(() => decodeImage(jpg.subarray(0, 100), "a.jpg"), /Cannot read image "a.jpg"/);
  const vast = png.slice();
  new DataView(vast.buffer).setUint32(16, 1e6);
  new DataView(vast.buffer).setUint32(20, 1e6);
  assert.throws(() => decodeImage(vast, "a.png"), /1000000 x 1000000 pixels, at most/);
});

test("imageExamples reads a folder for each class, and refuses empty ones and what is beside them", async () => {
  const folder = await mkdtemp(join(tmpdir(), "images-"));
  const list = async () => {
    const found: string[] = [];
    for await (const { label, place, width } of imageExamples(folder)) {
      found.push(`${label} ${place} ${width}`);
    }
    return found;
  };
  try {
    await assert.rejects(list, /it is an empty folder/);
    await mkdir(join(folder, "cat"));
    await assert.rejects(list, /class "cat": its folder .* is empty/);
    await writeFile(join(folder, "cat", "1.png"), readFileSync(pathOf("rgb.png")));
    await mkdir(join(folder, "ant"));
    await writeFile(join(folder, "ant", "2.jpg"), readFileSync(pathOf("soft.jpg")));
    assert.deepEqual(await list(), [
      `ant ${join(folder, "ant", "2.jpg")} 24`,
      `cat ${join(folder, "cat", "1.png")} 23`,
    ]);
    await writeFile(join(folder, "cat", "notes.txt"), "");
    await assert.rejects(list, /notes.txt": images are .png, .jpg and .jpeg/);
    await rm(join(folder, "cat", "notes.txt"));
    await writeFile(join(folder, "zebra"), "");
    await assert.rejects(list, /zebra": beside the classes' folders/);
    await assert.rejects(
      async () => await imageExamples(join(folder, "none")).next(),
      /Cannot read the folder/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
