/**
 * The site's pages keep the documents' links, and dead links are found.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { deadLinks } from "../site/links.ts";
import { documentsOf, writePages } from "../site/pages.ts";
import { root } from "./architecture.ts";
import { linksOf } from "./prose.ts";

function inFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-site-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("deadLinks names pages and anchors that are not there, and no others", () => {
  inFolder((folder) => {
    const write = (path: string, html: string): void => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), html);
    };
    write(
      "index.html",
      '<a href="/base/docs/a.html#here">a</a> <a href="./docs/a">a</a> <a href="docs/">none</a> ' +
        '<a href="https://example.com/x">other</a> <a href="mailto:a@example.com">mail</a> ' +
        '<img src="/base/pictures/p.svg"> <a href="/elsewhere/">out</a> <a href="#own">own</a> <h1 id="own"></h1>',
    );
    write(
      "docs/a.html",
      '<h1 id="here"></h1> <a href="../">home</a> <a href="#gone">x</a> <a href="b.html?q=1#z">b</a>',
    );
    write("docs/b.html", '<h1 id="a&amp;b"></h1> <a href="/base/">home</a> <a href="#a%26b">self</a>');
    write("pictures/q.svg", "<svg/>");
    assert.deepEqual(deadLinks(folder, "/base/"), [
      'docs/a.html links to #gone: docs/a.html has no anchor "gone"',
      'docs/a.html links to b.html?q=1#z: docs/b.html has no anchor "z"',
      "index.html links to docs/: there is no such page",
      "index.html links to /elsewhere/: is not under /base/",
      "index.html links to /base/pictures/p.svg: there is no such page",
    ]);
  });
});

test("writePages gives every link of the documents a page, and pictures of two forms a class each", () => {
  inFolder((folder) => {
    const { documents, sources } = writePages(root, folder);
    assert.equal(documents, documentsOf(root).length);
    assert.ok(sources > 20, `${sources} sources`);
    for (const path of documentsOf(root)) {
      const text = readFileSync(join(folder, path), "utf8");
      for (const link of linksOf(text).filter((link) => !/^(?:[a-z]+:|#)/.test(link))) {
        const target = join(folder, normalize(join(dirname(path), link.split("#")[0])));
        assert.ok(existsSync(target), `${path} links to ${link}`);
      }
    }
    const text = readFileSync(join(folder, "docs/architecture.md"), "utf8");
    assert.match(
      text,
      /<img class="only-light" alt="[^"]+" src="\.\/pictures\/request-light\.svg"><img class="only-dark"/,
    );
    assert.ok(existsSync(join(folder, "docs/pictures/request-dark.svg")));
    const source = readFileSync(join(folder, "source/kernels/add.ts.md"), "utf8");
    assert.ok(source.includes(readFileSync(join(root, "kernels/add.ts"), "utf8").trimEnd()));
  });
});
