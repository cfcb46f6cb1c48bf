import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readConfigFile } from "../src/cli/config_file.ts";
import { limitsOf, serveSettings } from "../src/cli/serve_settings.ts";
import { describeSettings, environmentOf, flagsOf, type SettingSource, settle } from "../src/cli/settings.ts";
import { defaultLimits, limitsOf as checkedLimits } from "../src/server/limits.ts";

const fileOf = (values: Readonly<Record<string, unknown>>): SettingSource => ({
  name: "file",
  label: (name) => `"${name}" of it.yaml`,
  values,
});
const flags = (...args: string[]) => flagsOf(serveSettings, args);
const environment = (values: Record<string, string>) => environmentOf(serveSettings, values);
const valuesOf = (...sources: SettingSource[]) => settle(serveSettings, sources).values;

test("settle takes flags before the environment, and the environment before the file", () => {
  const file = fileOf({ port: 1, host: "a", "max-waiting": 3, cors: ["https://a.example"] });
  const { values, sources } = settle(serveSettings, [
    file,
    environment({ FOURIERFT_PORT: "2", FOURIERFT_MAX_WAITING: "4", FOURIERFT_NAME: "", OTHER: "x" }),
    flags(
      "--port=3",
      "--no-follow-links",
      "--cors=https://b.example",
      "--cors=https://c.example,*",
      "--",
      "--host=x",
    ),
  ]);
  assert.deepEqual(values, {
    ...{ port: 3, host: "a", "max-waiting": 4, "follow-links": false },
    cors: ["https://b.example", "https://c.example", "*"],
  });
  assert.deepEqual([...sources].sort(), [
    ["cors", "flag"],
    ["follow-links", "flag"],
    ["host", "file"],
    ["max-waiting", "environment"],
    ["port", "flag"],
  ]);
});

test("settle refuses a value by its place and its rule, and a name that is no setting", () => {
  const refused: [SettingSource, RegExp][] = [
    [
      flags("--port=99999"),
      /^UsageError: Cannot read --port "99999": it must be a whole number from 0 to 65535$/,
    ],
    [flags("--max-waiting=0"), /Cannot read --max-waiting "0": it must be a whole number of 1 or more$/],
    [
      environment({ FOURIERFT_BODY_SECONDS: "0" }),
      /Cannot read FOURIERFT_BODY_SECONDS "0": it must be a number above 0$/,
    ],
    [environment({ FOURIERFT_DEVICE: "gpu" }), /FOURIERFT_DEVICE "gpu": it must be auto, webgpu or cpu$/],
    [environment({ FOURIERFT_ACCESS_LOG: "yes" }), /FOURIERFT_ACCESS_LOG "yes": it must be true or false$/],
    [fileOf({ port: "x" }), /Cannot read "port" of it.yaml "x"/],
    [fileOf({ port: 1.5 }), /Cannot read "port" of it.yaml 1.5/],
    [fileOf({ cors: [""] }), /Cannot read "cors" of it.yaml \[""\]: it must be a list of texts/],
    [fileOf({ model: " " }), /Cannot read "model" of it.yaml " ": it must be a text that is not empty$/],
    [fileOf({ model: null }), /Cannot read "model" of it.yaml null/],
    [fileOf({ prot: 1 }), /^UsageError: Cannot read "prot" of it.yaml: there is no such setting$/],
    [fileOf(JSON.parse('{"__proto__": 1}')), /Cannot read "__proto__" of it.yaml: there is no such setting$/],
    [fileOf({ constructor: 1 }), /there is no such setting/],
  ];
  for (const [source, message] of refused) assert.throws(() => valuesOf(source), message);
});

test("settle and describeSettings tell no token", () => {
  const secret = "very-secret-token-123";
  assert.throws(
    () => valuesOf(fileOf({ "operator-token": { a: secret } })),
    (error: Error) =>
      /Cannot read "operator-token" of it.yaml:/.test(error.message) && !error.message.includes(secret),
  );
  const settled = settle(serveSettings, [environment({ FOURIERFT_OPERATOR_TOKEN: secret })]);
  assert.deepEqual(settled.values["operator-token"], [secret]);
  assert.deepEqual(describeSettings(serveSettings, settled), {
    "operator-token": { value: "***", source: "environment" },
  });
});

test("limitsOf has an option for every limit of the server, each of its own", () => {
  const names = Object.keys(defaultLimits);
  assert.deepEqual(Object.keys(limitsOf({})).sort(), [...names].sort());
  assert.deepEqual(checkedLimits(limitsOf({})), defaultLimits);
  const options = Object.keys(serveSettings);
  const given = Object.fromEntries(options.map((name, i) => [name, 1000 + i]));
  const limits = Object.values(limitsOf(given as never));
  assert.equal(new Set(limits).size, names.length);
  assert.ok(limits.every((limit) => limit !== undefined));
});

async function withFile(text: string, body: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-config-"));
  try {
    await writeFile(join(folder, "it.yaml"), text);
    await body(join(folder, "it.yaml"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("readConfigFile reads YAML and JSON: settings, and tenants by their names", async () => {
  const tenant = {
    ...{ id: "acme", tokens: ["token-of-acme-123"], "adapter-prefixes": ["a-"], weight: 2 },
    ...{
      "requests-per-minute": 60,
      "tokens-per-minute": 1000,
      "max-concurrent": 4,
      "token-sha256": ["0".repeat(64)],
    },
  };
  const expected = {
    ...{ id: "acme", tokens: ["token-of-acme-123"], adapterPrefixes: ["a-"], weight: 2 },
    ...{ requestsPerMinute: 60, tokensPerMinute: 1000, maxConcurrent: 4, tokenSha256: ["0".repeat(64)] },
  };
  await withFile(JSON.stringify({ port: 1, tenants: [tenant] }), async (path) => {
    assert.deepEqual(await readConfigFile(path), { settings: { port: 1 }, tenants: [expected] });
  });
  const yaml = "port: 1\n# a comment\ntenants:\n  - id: acme\n    tokens: [token-of-acme-123]\n";
  await withFile(yaml, async (path) => {
    const { settings, tenants } = await readConfigFile(path);
    assert.deepEqual([settings, tenants![0].id, tenants![0].tokens], [{ port: 1 }, "acme", [
      "token-of-acme-123",
    ]]);
  });
  await withFile(
    "",
    async (path) => assert.deepEqual(await readConfigFile(path), { settings: {}, tenants: undefined }),
  );
});

test("readConfigFile refuses what it cannot follow, by place, and tells no token", async () => {
  const secret = "secret-of-acme-123";
  const bad: [string, RegExp][] = [
    [`tenants: [{id: a, tokens: [${secret}]`, /as YAML or JSON: \w+ in line 1, column \d+$/],
    [`port: 1\nport: 2\n${secret}: 3`, /as YAML or JSON: DUPLICATE_KEY in line 2, column 1$/],
    ["[1, 2]", /Cannot read .*it.yaml: it must have settings by their names, e.g. port: 8000$/],
    ["port", /Cannot read .*it.yaml: it must have settings by their names/],
    [`tenants: [{tokens: [${secret}]}]`, /Cannot read "tenants\[0\]\.id" of .*: it is missing$/],
    [
      `tenants: [{id: a, tokens: ${secret}}]`,
      /Cannot read "tenants\[0\]\.tokens" of .*: it must be a list$/,
    ],
    ["tenants: [{id: a, quota: 3}]", /Cannot read "tenants\[0\]\.quota" of .*: there is no such field$/],
    [`tenants: [{id: a, tokens: [${secret}]}, {id: b, tokens: [${secret}]}]`, /Cannot use a token twice/],
    [
      "tenants: [{id: a, tokens: [short]}]",
      /Cannot use the tenants of .*it.yaml: Cannot use a token of tenant "a"/,
    ],
    ["tenants: [{id: a}]", /Cannot use tenant "a": it has neither tokens nor tokenSha256/],
    ["tenants: [{id: a, weight: -1}]", /Cannot use weight -1 of tenant "a"/],
  ];
  for (const [text, message] of bad) {
    await withFile(text, (path) =>
      assert.rejects(readConfigFile(path), (error: Error) => {
        assert.match(error.message, message);
        assert.equal(error.name, "UsageError");
        assert.ok(!error.message.includes(secret), error.message);
        return true;
      }));
  }
  await assert.rejects(readConfigFile("/nowhere/it.yaml"), /Cannot read --config \/nowhere\/it.yaml: /);
});
