import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { parsePrometheus, Snapshot } from "../src/cli/prometheus.ts";
import { quantile, topLines } from "../src/cli/top_text.ts";
import { Counter, Histogram, prometheusText } from "../src/server/metrics.ts";

test("parsePrometheus reads what the server writes, whatever stands in a label, and leaves out the rest", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.nat()), { maxLength: 8 }),
    (values) => {
      // The server keeps labels apart by \0.
      const kept = new Map(values.map(([label, value]) => [label.replaceAll("\0", ""), value]));
      const counter = new Counter({ name: "a:b_total", help: "h", labels: ["x", "y"] });
      for (const [label, value] of kept) counter.add([label, "const"], value);
      const read = parsePrometheus(prometheusText([counter]));
      assert.deepEqual(
        read.map(({ labels: { x, y }, value }) => [x, y, value]),
        [...kept].map(([label, value]) => [label, "const", value]),
      );
    },
  ));
  const text = '# HELP a b\n\nnot a sample\na 1\na{x="1"} +Inf\nb NaN 123\nc{x="\\""} -2.5e-3\n{} 1\n';
  assert.deepEqual(parsePrometheus(text), [
    { name: "a", labels: {}, value: 1 },
    { name: "a", labels: { x: "1" }, value: Infinity },
    { name: "b", labels: {}, value: NaN },
    { name: "c", labels: { x: '"' }, value: -0.0025 },
  ]);
});

test("quantile is the bound of the observations between two looks", () => {
  const histogram = new Histogram({ name: "h", help: "h", labels: ["m"], bounds: [1, 2, 3] });
  histogram.observe(["a"], 0.5, 100);
  const before = new Snapshot(prometheusText([histogram]), 0);
  assert.equal(quantile("h", 0.5, before, before), undefined);
  histogram.observe(["a"], 1.5, 9);
  histogram.observe(["b"], 9);
  const after = new Snapshot(prometheusText([histogram]), 1000);
  assert.equal(quantile("h", 0.5, before, after), 2);
  assert.equal(quantile("h", 0.95, before, after), Infinity);
  assert.equal(quantile("none", 0.5, before, after), undefined);
});

test("topLines says rates by the time between the looks, and counts anew after a new start", () => {
  const looks = [[10, 100], [30, 500], [5, 5]].map(([requests, tokens], i) =>
    new Snapshot(
      [
        'vllm:num_requests_running{model_name="m"} 3',
        'vllm:kv_cache_usage_perc{model_name="m"} 0.125',
        `vllm:generation_tokens_total{model_name="m"} ${tokens}`,
        `fourierft:http_requests_total{route="a",method="GET",status="200"} ${requests}`,
        `fourierft:http_requests_total{route="a",method="GET",status="503"} ${requests / 10}`,
        `fourierft:tenant_requests_total{tenant="acme",status="200"} ${requests}`,
        `fourierft:tenant_tokens_total{tenant="acme",kind="prompt"} ${tokens}`,
        'adapter_loaded{adapter="a",level="pinned"} 1',
        "adapter_cache_hits_total 3",
        "adapter_cache_misses_total 1",
      ].join("\n"),
      2000 * i,
    )
  );
  const lines = topLines(looks[0], looks[1]);
  assert.equal(lines[0], "sequences  running 3 of -  waiting -  cache 12.5 %");
  assert.equal(lines[1], "requests   open -  ended 11/s  failed 1.0/s  bodies 0.0 MiB");
  assert.equal(lines[2], "tokens     prompts -/s  new 200/s");
  assert.equal(lines[3], "first token     p50 -  p95 -  p99 -");
  assert.equal(lines[5], "adapters   on the device 1  pinned 1  hits 75.0 %  taken off -/s");
  assert.match(lines.at(-1)!, /^acme +10 +200 +0\.0$/);
  assert.match(topLines(looks[1], looks[2])[2], /new 2\.5\/s/);
});

test("fourierft top refuses addresses that are none, and says that nobody listens", () => {
  const main = "src/cli/main.ts";
  const command = "Deno" in globalThis ? ["run", "-A", "--no-check", main] : [main];
  const top = (...args: string[]) =>
    spawnSync(process.execPath, [...command, "top", ...args], {
      cwd: dirname(dirname(fileURLToPath(import.meta.url))),
      encoding: "utf8",
    });
  const none = top("--url", "nowhere");
  assert.equal(none.status, 2);
  assert.match(none.stderr, /Cannot read --url "nowhere": it must be like http/);
  assert.equal(top("--url", "file:///etc/passwd").status, 2);
  const silent = top("--url", "http://127.0.0.1:1");
  assert.equal(silent.status, 1);
  assert.match(silent.stderr, /Cannot read http:\/\/127\.0\.0\.1:1\/metrics: ./);
});
