/**
 * Texts that are one word of millions of characters: refused before a regular expression holds the server's thread.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { finderOf } from "../src/models/tokenizer/patterns.ts";
import { hasLongRun, longestRun } from "../src/server/long_runs.ts";

const long = longestRun + 2 ** 16;

test("hasLongRun() finds runs of every kind, wherever they begin", async () => {
  const units = ["a", "漢", "e\u0301", "\u0301", "\u0301.", "7", " ", "\n", ".", "😀", "𐌰", "aé漢𐌰"];
  for (const unit of units) {
    const run = unit.repeat(Math.ceil(long / unit.length));
    for (const before of ["", "x1 ", "one two, "]) {
      assert.equal(await hasLongRun(before + run + " end"), true, JSON.stringify(before + unit));
    }
  }
});

test("hasLongRun() takes long texts of words, and runs as long as they may be", async () => {
  assert.equal(await hasLongRun("a".repeat(longestRun)), false);
  assert.equal(await hasLongRun(`${"a".repeat(longestRun)} `.repeat(3)), false);
  assert.equal(await hasLongRun("In the beginning, ".repeat(200_000)), false);
  assert.equal(await hasLongRun("天地玄黃，宇宙洪荒。".repeat(200_000)), false);
  assert.equal(await hasLongRun("ab12".repeat(500_000)), false);
});

test("finderOf() says of a word that overflows the runtime's stack that it is too long", () => {
  const overflowing = /a/g;
  overflowing.exec = () => {
    throw new RangeError("Maximum call stack size exceeded");
  };
  assert.throws(() => finderOf(overflowing)("aaa", 0), {
    name: "RangeError",
    message: /^Cannot encode a text of 3 characters: it has a word that is too long .*\(Maximum call stack/,
  });
});
