import assert from "node:assert/strict";
import { test } from "node:test";
import { kernels } from "../kernels/mod.ts";
import { wgslText } from "../src/cli/wgsl.ts";

test("wgsl prints every kernel's text, without a size given", () => {
  for (const { name, uniforms } of kernels) {
    const text = wgslText([name]);
    assert.ok(text.startsWith(`// ${name}: uniforms {`), name);
    assert.match(text, /fn main\(/, name);
    for (const word of Object.keys(uniforms)) assert.ok(text.includes(`"${word}":`), `${name}: ${word}`);
  }
});

test("wgsl takes sizes, element types and a way", () => {
  const usual = wgslText(["linear", "--uniform", "rows=1"]);
  const half = wgslText(["linear", "--uniform=rows=1", "--uniform", "in=30", "--dtype", "weight=float16"]);
  assert.match(usual, /"rows":1,"in":64,"out":64,"accumulate":0/);
  assert.match(half, /"rows":1,"in":30,.*"weight":"float16"/);
  assert.ok(half.includes("unpack2x16float") && !usual.includes("unpack2x16float"));
  const [, first, second] = /^\/\/ ways: "([^"]+)", "([^"]+)"/m.exec(usual)!;
  assert.ok(usual.includes(`this one is "${first}"`));
  const other = wgslText(["linear", "--uniform", "rows=1", "--way", second]);
  assert.ok(other.includes(`this one is "${second}"`));
  assert.notEqual(other.replaceAll(second, first), usual);
  assert.match(wgslText(["clip_factor", "--uniform", "maxNorm=0.5"]), /"maxNorm":0.5/);
});

test("wgsl refuses what no kernel has, and sizes that the kernel refuses", () => {
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /^UsageError: Cannot print 0 kernels, it must be 1: deno task wgsl NAME /],
    [["add", "copy"], /^UsageError: Cannot print 2 kernels/],
    [["ad"], /^UsageError: Cannot print kernel "ad": the kernels are .*\badd\b/],
    [["add", "--uniform", "rows=1"], /^UsageError: Cannot use --uniform rows=1: the kernel has "count"/],
    [["add", "--uniform", "count"], /^UsageError: Cannot use --uniform count: it must be NAME=VALUE/],
    [["add", "--uniform", "count=-1"], /^UsageError: .* a whole number of 0 to 4294967295/],
    [["add", "--uniform", "count="], /^UsageError: .* a whole number/],
    [["clip_factor", "--uniform", "maxNorm=x"], /^UsageError: .* it must be a number/],
    [["linear", "--dtype", "weight=int8"], /^UsageError: .* it may be float32, float16, bfloat16/],
    [["add", "--way", "fast"], /^UsageError: Cannot use --way fast: the ways of this call are one/],
    [["add", "--size", "1"], /^UsageError: .*--size/],
    [["rope", "--uniform", "headDim=3"], /^RangeError: Cannot rotate heads of 3/],
  ];
  for (const [args, message] of refusals) assert.throws(() => wgslText(args), message, args.join(" "));
});
