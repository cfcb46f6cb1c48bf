// The tutorial of serving, as a newcomer follows it: its commands, its program and its page's requests.
import assert from "node:assert/strict";
import { execSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";

const document = readFileSync("node_modules/fourierft/docs/tutorial-serve.md", "utf8");
const blocks = [...document.matchAll(/^```(\w+)(?: ignore)?(?: (\S+))?\n([\s\S]*?)^```/gm)].map((
  [, language, file, code],
) => ({ language, file, code }));
const commands = blocks.filter(({ language }) => language === "sh").map(({ code }) => code);
const commandOf = (pattern) => commands.find((code) => pattern.test(code));

/** What the process prints up to an address, or all of it where it ends before. */
async function addressOf(child) {
  let printed = "";
  for await (const chunk of child.stdout) {
    printed += chunk;
    const address = /http:\/\/127\.0\.0\.1:\d+\/$/m.exec(printed)?.[0];
    if (address) return address;
  }
  throw new Error(`The server ended: ${printed}`);
}

test("docs/tutorial-serve.md: its commands and its program do what it says", async () => {
  assert.deepEqual(commands.length, 6);
  const folder = mkdtempSync(join(tmpdir(), "fourierft-tutorial-"));
  let child;
  try {
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
    for (const { file, code } of blocks) if (file) writeFileSync(join(folder, file), code);
    const repository = dirname(dirname(process.env.DEMO));
    execSync(commandOf(/^cp /).replaceAll("REPOSITORY", repository), { cwd: folder });

    const inspected = execSync(commandOf(/inspect/), { cwd: folder, encoding: "utf8" });
    const shown = blocks.find(({ language }) => language === "text").code.trim().split("\n");
    assert.deepEqual(shown.filter((line) => !inspected.split("\n").includes(line)), []);
    assert.match(commandOf(/serve --/), /^npx fourierft serve --model model --adapters adapters$/m);

    const [, program, file] = /^(node) (serve\.mjs)$/m.exec(commandOf(/^node /));
    child = spawn(program, [file], {
      cwd: folder,
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const address = await addressOf(child);
    const page = await (await fetch(address)).text();
    assert.equal(page, blocks.find(({ file }) => file === "page.html").code);
    const { data } = await (await fetch(`${address}v1/models`)).json();
    assert.deepEqual(data.map(({ id }) => id), ["base", "kjv"]);

    const [, body] = /-d '([^']*)'/.exec(commandOf(/^curl/));
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${address}v1/completions`, { method: "POST", headers, body });
    const { choices } = await answer.json();
    assert.ok(document.includes(`\`${JSON.stringify(choices[0].text)}\``), choices[0].text);
  } finally {
    child?.kill();
    rmSync(folder, { recursive: true });
  }
});
