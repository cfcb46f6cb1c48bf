import process from "node:process";
import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdir, mkdtemp, open, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isPlainName } from "../src/folder.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { openFile, openFolder } from "../src/runtime/file.ts";
import { fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";

type Files = Readonly<Record<string, string | Uint8Array>>;

/** Runs `body` with the path of a folder of these files, and takes the folder away. */
async function withFiles(files: Files, body: (path: string) => Promise<void>): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), "fourierft-test-"));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
    await body(path);
  } finally {
    await rm(path, { recursive: true });
  }
}

/** A shard's bytes. */
function shard(tensors: Readonly<Record<string, HostTensor>>): Uint8Array {
  return writeSafetensors(Object.entries(tensors).map(([name, t]) => fromTensor(name, t)));
}

function index(weightMap: Readonly<Record<string, unknown>>): Files {
  return {
    "model.safetensors.index.json": JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }),
  };
}

const single = tensor(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]);
const half = tensor(new Uint16Array([0x3c00, 0xc000]), [2], { dtype: "float16" });
const brain = tensor(new Uint16Array([0x3f80]), [1, 1], { dtype: "bfloat16" });

/** As a family names its weights. */
const names = {
  prefix: "model.",
  parts: ["layers", "norm"],
  embedding: "model.embedding.weight",
  head: "head.weight",
};

/** `openCheckpoint` refuses the folder with a message of this kind. */
function refuses(files: Files, message: RegExp, name = "ConfigError"): Promise<void> {
  return withFiles(files, async (path) => {
    await assert.rejects(openCheckpoint(await openFolder(path), names), { name, message });
  });
}

test("openCheckpoint reads a single file, dtypes kept", () =>
  withFiles({ "model.safetensors": shard({ single, half, brain }) }, async (path) => {
    const checkpoint = await openCheckpoint(await openFolder(path));
    assert.deepEqual([...checkpoint.names].sort(), ["brain", "half", "single"]);
    assert.deepEqual(checkpoint.info("single").shape, [2, 3]);
    assert.equal(checkpoint.info("brain").dtype, "BF16");
    assert.deepEqual(await checkpoint.read("single"), single);
    assert.deepEqual(await checkpoint.read("half"), half);
    assert.deepEqual(await checkpoint.read("brain"), brain);
    await checkpoint.close();
  }));

test("openCheckpoint reads what the shards of an index hold, listed or not, by plain names and by ./names", () => {
  const files = {
    ...index({
      brain: "./b.safetensors",
      single: "a.safetensors",
      half: "././b.safetensors",
      // An index may still list a tied head.
      "lm_head.weight": "a.safetensors",
    }),
    "a.safetensors": shard({ single, extra: single }),
    "b.safetensors": shard({ half, brain }),
  };
  return withFiles(files, async (path) => {
    const checkpoint = await openCheckpoint(await openFolder(path));
    assert.deepEqual(checkpoint.names.toSorted(), ["brain", "extra", "half", "single"]);
    assert.deepEqual(await checkpoint.read("single"), single);
    assert.deepEqual(await checkpoint.read("half"), half);
    assert.deepEqual(await checkpoint.read("brain"), brain);
    assert.deepEqual(await checkpoint.read("extra"), single);
    const name = "lm_head.weight";
    assert.throws(() => checkpoint.info(name), { name: "ConfigError", message: /weight "lm_head.weight"/ });
    await assert.rejects(checkpoint.read(name), { name: "ConfigError", message: /weight "lm_head.weight"/ });
    await checkpoint.close();
  });
});

test("openCheckpoint prefers the single file to an index", () => {
  const files = { ...index({ half: "a.safetensors" }), "model.safetensors": shard({ single }) };
  return withFiles(files, async (path) => {
    const checkpoint = await openCheckpoint(await openFolder(path));
    assert.deepEqual(checkpoint.names, ["single"]);
    await checkpoint.close();
  });
});

test("openCheckpoint opens the demo's base model", async () => {
  const folder = await openFolder(fileURLToPath(new URL("../examples/demo/base/", import.meta.url)));
  const checkpoint = await openCheckpoint(folder);
  const name = "model.embed_tokens.weight";
  const { shape, data } = await checkpoint.read(name);
  assert.deepEqual(shape, checkpoint.info(name).shape);
  assert.equal(data.length, shape[0] * shape[1]);
  await checkpoint.close();
});

test("openCheckpoint refuses a folder without weights", () =>
  refuses({}, /no model.safetensors and no model.saf/));

for (const name of ["pytorch_model.bin", "pytorch_model.bin.index.json"]) {
  test(`openCheckpoint refuses ${name} and names the remedy`, () =>
    refuses({ [name]: "" }, new RegExp(`"${name}": a pickle .* safe_serialization=True`)));
}

test("openCheckpoint refuses a file that breaks the format, and names it", () =>
  refuses({ "model.safetensors": "{}" }, /"model.safetensors": Cannot read safetensors/, "SafetensorsError"));

test("openCheckpoint refuses a shard that breaks the format, and names it", () =>
  refuses(
    { ...index({ single: "a.safetensors" }), "a.safetensors": shard({ single }).subarray(1) },
    /"a.safetensors": Cannot read safetensors/,
    "SafetensorsError",
  ));

test("openCheckpoint refuses an index whose shard is missing", () =>
  refuses(
    { ...index({ single: "a.safetensors", half: "b.safetensors" }), "a.safetensors": shard({ single }) },
    /shard "b.safetensors": .* tensor "half"/,
  ));

test("openCheckpoint refuses a tensor that two shards have, and one that a file has under two names", async () => {
  await refuses(
    {
      ...index({ single: "a.safetensors", half: "b.safetensors" }),
      "a.safetensors": shard({ single }),
      "b.safetensors": shard({ half, single }),
    },
    /tensor "single": shards "a.safetensors" and "b.safetensors" both have it/,
  );
  await refuses(
    { "model.safetensors": shard({ "norm.weight": single, "model.norm.weight": single }) },
    /weight "(model\.)?norm\.weight": the file has "(model\.)?norm\.weight", too/,
  );
});

test("openCheckpoint gives tensors of a model without a head the names of one with it", () =>
  withFiles({ "model.safetensors": shard({ "norm.weight": single, "layers.0.x": half }) }, async (path) => {
    const checkpoint = await openCheckpoint(await openFolder(path), names);
    assert.deepEqual(checkpoint.names.toSorted(), ["model.layers.0.x", "model.norm.weight"]);
    assert.deepEqual(await checkpoint.read("model.norm.weight"), single);
    assert.equal(checkpoint.info("model.norm.weight").name, "model.norm.weight");
    await checkpoint.close();
  }));

test("openCheckpoint rounds float64 to float32, and refuses other dtypes by tensor and dtype", () => {
  const view = (name: string, dtype: "F64" | "I64", bytes: Uint8Array) => ({
    name,
    dtype,
    shape: [1],
    bytes,
  });
  const third = new Uint8Array(Float64Array.of(1 / 3).buffer);
  const file = writeSafetensors([view("wide", "F64", third), view("long", "I64", new Uint8Array(8))]);
  return withFiles({ "model.safetensors": file }, async (path) => {
    const checkpoint = await openCheckpoint(await openFolder(path));
    assert.deepEqual(await checkpoint.read("wide"), tensor(Float32Array.of(1 / 3), [1]));
    assert.equal(checkpoint.info("wide").dtype, "F32");
    assert.equal(checkpoint.bytes("wide"), 4);
    await assert.rejects(checkpoint.read("long"), {
      name: "ConfigError",
      message: /"long": its dtype is I64/,
    });
    await checkpoint.close();
  });
});

test("openCheckpoint refuses shard names that are paths, no text or another kind of file", async () => {
  const names = [
    "../a.safetensors",
    "/a.safetensors",
    "x/a.safetensors",
    "x\\a.safetensors",
    "a.bin",
    "",
    1,
    null,
    [],
  ];
  for (const name of names) await refuses(index({ single: name }), /tensor "single" the file .*plain name/);
});

test("openCheckpoint refuses an index that is no object of a weight map", async () => {
  const name = "model.safetensors.index.json";
  for (
    const text of ["{}", '{"weight_map":[]}', '{"weight_map":{}}', '{"weight_map":null}']
  ) {
    await refuses({ [name]: text }, /an object "weight_map"/);
  }
  for (const text of ["null", "[]", "1"]) await refuses({ [name]: text }, /it must be a JSON object/);
  await refuses({ [name]: "{" }, /as JSON/);
  await refuses({ [name]: new Uint8Array([0x22, 0xff, 0x22]) }, /not UTF-8/);
});

test("openFolder refuses what is no folder", () =>
  withFiles({ file: "" }, async (path) => {
    await assert.rejects(openFolder(join(path, "file")), {
      name: "ConfigError",
      message: /it is not a folder/,
    });
    await assert.rejects(openFolder(join(path, "none")), {
      name: "ConfigError",
      message: /it is not a folder/,
    });
  }));

test("openFolder reads ranges, texts up to a limit, and says which files exist", () =>
  withFiles({ a: "0123456789", "b.json": "\u00e9" }, async (path) => {
    await mkdir(join(path, "inner"));
    const folder = await openFolder(path);
    const source = await folder.open("a");
    assert.equal(source.sizeBytes, 10);
    assert.equal(new TextDecoder().decode(await source.read(3, 4)), "3456");
    assert.equal((await source.read(10, 0)).length, 0);
    await assert.rejects(source.read(8, 3), { name: "ConfigError", message: /"a": it ends at byte 10/ });
    await source.close?.();
    assert.equal(await folder.readText("b.json", { maxBytes: 2 }), "\u00e9");
    await assert.rejects(folder.readText("b.json", { maxBytes: 1 }), {
      name: "ConfigError",
      message: /limit is 1/,
    });
    const found = await Promise.all(["a", "b.json", "c", "inner"].map((name) => folder.exists(name)));
    assert.deepEqual(found, [true, true, false, false]);
    await assert.rejects(folder.open("c"), { name: "ConfigError", message: /"c": there is no such file/ });
    await assert.rejects(folder.open("inner"), {
      name: "ConfigError",
      message: /"inner": it is not a regular file/,
    });
  }));

test("openFolder refuses names that could lead elsewhere", () =>
  withFiles({ a: "" }, async (path) => {
    const names = ["", ".", "..", "../a", "x/../a", "/etc/hostname", "x\\a", "C:a", "a\0", "a".repeat(256)];
    for (const contained of [false, true]) {
      const folder = await openFolder(path, { contained });
      for (const name of names) {
        assert.equal(isPlainName(name), false, name);
        const message = { name: "ConfigError", message: /the rule is a plain name/ };
        await assert.rejects(folder.open(name), message, name);
        await assert.rejects(folder.exists(name), message, name);
        await assert.rejects(folder.readText(name), message, name);
      }
    }
  }));

test("openFolder follows links out of the folder unless told to contain", {
  skip: process.platform === "win32" && "needs rights to make links",
}, () =>
  withFiles({ secret: "s" }, async (path) => {
    const inner = join(path, "inner");
    await mkdir(inner);
    await writeFile(join(inner, "real"), "r");
    await symlink(join("..", "secret"), join(inner, "out"));
    await symlink("real", join(inner, "in"));
    // A folder whose path starts like the root's is not in it.
    await mkdir(`${inner}2`);
    await writeFile(join(`${inner}2`, "near"), "n");
    await symlink(join("..", "inner2", "near"), join(inner, "beside"));
    const free = await openFolder(inner);
    assert.equal(await free.readText("out"), "s");
    const contained = await openFolder(inner, { contained: true });
    assert.equal(await contained.readText("real"), "r");
    assert.equal(await contained.readText("in"), "r");
    for (const name of ["out", "beside"]) {
      await assert.rejects(contained.readText(name), {
        name: "ConfigError",
        message: /a link that leads out/,
      });
      await assert.rejects(contained.open(name), { name: "ConfigError", message: /a link that leads out/ });
    }
    await assert.rejects(contained.open("none"), { name: "ConfigError", message: /there is no such file/ });
    // A folder reached through a link is contained by where it really is.
    await symlink("inner", join(path, "link"));
    assert.equal(await (await openFolder(join(path, "link"), { contained: true })).readText("real"), "r");
  }));

test("openFile reads beyond 4 GiB", () =>
  withFiles({ big: "" }, async (path) => {
    const sizeBytes = 5 * 2 ** 30;
    const file = await open(join(path, "big"), "r+");
    // What is before is a hole, which takes no room on a disk.
    await file.write(new Uint8Array([7, 8, 9]), 0, 3, sizeBytes - 3);
    await file.close();
    const source = await openFile(join(path, "big"));
    assert.equal(source.sizeBytes, sizeBytes);
    assert.deepEqual(await source.read(sizeBytes - 3, 3), new Uint8Array([7, 8, 9]));
    await assert.rejects(source.read(sizeBytes - 3, 4), { name: "ConfigError" });
    await source.close?.();
  }));

test("openFile refuses a missing file and a folder", () =>
  withFiles({}, async (path) => {
    await assert.rejects(openFile(join(path, "none")), {
      name: "ConfigError",
      message: /there is no such file/,
    });
    await assert.rejects(openFile(path), { name: "ConfigError", message: /it is not a regular file/ });
  }));
