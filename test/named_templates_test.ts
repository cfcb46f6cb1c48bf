/**
 * Chat templates of the folder `additional_chat_templates`, as transformers 5 reads them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { WritableFolder } from "../src/folder.ts";
import { openTokenizer, type TextFolder } from "../src/models/tokenizer.ts";
import { quantizeFolder } from "../src/quantize.ts";
import { openFolder } from "../src/runtime/file.ts";
import { createFolder } from "../src/runtime/output.ts";
import { demo, demoFolder } from "./demo_model.ts";

const tools = [{ name: "f" }];

/** The demo's folder with a folder of templates in it. */
function withNamed(
  named: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string | null>> = {},
): TextFolder {
  const folder = (name: string): Promise<TextFolder | undefined> => {
    assert.equal(name, "additional_chat_templates");
    return Promise.resolve({
      readText: (file) => Promise.resolve(named[file]),
      exists: (file) => Promise.resolve(Object.hasOwn(named, file)),
    });
  };
  return { ...demoFolder({ "chat_template.jinja": "plain", ...files }), folder };
}

test("openTokenizer() takes tool_use.jinja for chats with tools, and chat_template.jinja for others", async () => {
  const { chatPrompt } = await openTokenizer(
    withNamed({ "tool_use.jinja": "with tools", "rag.jinja": "no" }),
  );
  assert.equal(chatPrompt([]), "plain");
  assert.equal(chatPrompt([], { tools }), "with tools");
});

test("openTokenizer() takes a named default before chat_template.jinja, and files before tokenizer_config.json", async () => {
  const first = await openTokenizer(withNamed({ "default.jinja": "named" }));
  assert.equal(first.chatPrompt([], { tools }), "named");
  const config = JSON.stringify({ chat_template: "config" });
  const files = { "chat_template.jinja": null, "tokenizer_config.json": config };
  const { chatPrompt } = await openTokenizer(withNamed({ "tool_use.jinja": "with tools" }, files));
  assert.equal(chatPrompt([], { tools }), "with tools");
  assert.throws(() => chatPrompt([]), /Cannot write a chat prompt: .* for tools, and no "default"/);
  assert.equal((await openTokenizer(withNamed({}, files))).chatPrompt([]), "config");
});

test("openTokenizer() names a git-lfs pointer in a named template's place", () =>
  assert.rejects(
    openTokenizer(withNamed({ "tool_use.jinja": "version https://git-lfs.github.com/spec/v1\noid" })),
    /Cannot read tool_use\.jinja as a template: it is a git-lfs pointer/,
  ));

test("quantizeFolder() copies named templates, and refuses to leave them out", async () => {
  const at = await mkdtemp(join(tmpdir(), "fourierft-test-"));
  try {
    await cp(fileURLToPath(new URL("base/", demo)), join(at, "model"), { recursive: true });
    await mkdir(join(at, "model/additional_chat_templates"));
    await writeFile(join(at, "model/additional_chat_templates/tool_use.jinja"), "with tools");
    const model = await openFolder(join(at, "model"));
    await quantizeFolder({ model, to: "int8", out: await createFolder(join(at, "out")) });
    const { chatPrompt } = await openTokenizer(await openFolder(join(at, "out")));
    assert.equal(chatPrompt([], { tools }), "with tools");
    const filesAlone: WritableFolder = {
      async write(_, parts) {
        for await (const _ of parts);
      },
    };
    await assert.rejects(
      quantizeFolder({ model, to: "int8", out: filesAlone }),
      /Cannot copy additional_chat_templates\/tool_use\.jinja: the output has no folders/,
    );
  } finally {
    await rm(at, { recursive: true });
  }
});
