import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { root } from "./architecture.ts";
import { repositoryFields } from "./pack/manifest.ts";
import { checkPublishable } from "./pack/publish.ts";
import { newestRelease, notesOf, released, versionFiles, versionOf } from "./pack/release.ts";

const changelog = `# Changelog

All of it.

## Unreleased

### Added

- A door,
  of two lines.

## 1.2.0 - 2030-01-31

### Fixed

- A window.
`;

test("release: package.json, deno.json, the command line and CHANGELOG.md have one version", () => {
  const read = (file: string): string => readFileSync(join(root, file), "utf8");
  const [first, ...others] = versionFiles.map((file) => versionOf(read(file)));
  assert.match(first!, /^\d+\.\d+\.\d+/);
  assert.deepEqual(others, [first, first]);
  assert.equal(newestRelease(read("CHANGELOG.md"))?.version, first);
});

test("released gives the unreleased changes a version and a date, and leaves the rest as it is", () => {
  const text = released(changelog, { version: "1.3.0", date: "2030-02-01" });
  assert.equal(text.trim(), changelog.replace("## Unreleased", "## 1.3.0 - 2030-02-01").trim());
  assert.equal(notesOf(text), "### Added\n- A door,\n  of two lines.");
  assert.equal(newestRelease(changelog)?.version, "1.2.0");
});

test("released refuses versions that are none, or not above the newest, and a changelog without changes", () => {
  const refuses = (version: string, rule: RegExp, text = changelog): void =>
    assert.throws(() => released(text, { version, date: "2030-02-01" }), rule, version);
  refuses("1.2.0", /Cannot release 1\.2\.0: it must be above 1\.2\.0/);
  refuses("1.2.0-rc.1", /it must be above 1\.2\.0/);
  refuses("next", /Cannot release "next": it is no version of SemVer/);
  const done = released(changelog, { version: "1.3.0", date: "2030-02-01" });
  refuses("1.4.0", /has no unreleased changes/, done);
});

test("checkPublishable refuses a package without its repository, another's workflow or tag, and no release", () => {
  const repository = "https://github.com/a/b", version = "1.2.0", workflow = {};
  const of = (more: object, surroundings: object = { changelog, workflow }) => () =>
    checkPublishable({ repository, version, ...more }, { changelog, workflow, ...surroundings });
  of({})();
  of({}, { workflow: { GITHUB_REPOSITORY: "a/b", GITHUB_REF_NAME: "v1.2.0" } })();
  assert.throws(of({ repository: undefined }), /package\.json has no "repository"/);
  assert.throws(of({ repository: "https://example.com" }), /it must be like https:\/\/github\.com/);
  assert.throws(of({}, { workflow: { GITHUB_REPOSITORY: "c/b" } }), /Cannot publish from c\/b/);
  assert.throws(
    of({}, { workflow: { GITHUB_REF_NAME: "v1.2.1" } }),
    /for the tag v1\.2\.1: it must be v1\.2\.0/,
  );
  assert.throws(of({ version: "1.3.0" }), /CHANGELOG\.md has no release of it/);
  assert.throws(of({}, { changelog: changelog.replace("2030-01-31", "Unreleased") }), /no release of it/);
});

test("repositoryFields links to the repository, and makes a package without one private", () => {
  assert.deepEqual(repositoryFields(undefined), { private: true });
  assert.deepEqual(repositoryFields("https://github.com/a/b"), {
    repository: { type: "git", url: "git+https://github.com/a/b.git" },
    homepage: "https://github.com/a/b#readme",
    bugs: { url: "https://github.com/a/b/issues" },
    publishConfig: { access: "public", provenance: true },
  });
  assert.throws(() => repositoryFields("https://github.com/a/b.git"), /Cannot use "repository"/);
});

test("workflows: they run tasks that there are, and a release waits for every suite", () => {
  const { tasks } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const folder = join(root, ".github/workflows");
  const workflows = new Map(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")] as const),
  );
  const ran = [...workflows.values()].flatMap((text) => [...text.matchAll(/deno(?:@\S+)? task ([\w:]+)/g)]);
  assert.ok(ran.length >= 2);
  for (const [, task] of ran) assert.ok(Object.hasOwn(tasks, task), task);
  // A tag of another repository can be moved; a commit cannot.
  for (const [, used] of [...workflows.values()].flatMap((text) => [...text.matchAll(/uses: (\S+)/g)])) {
    assert.match(used, /^\.\/|^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
  }
  const { jobs } = parse(workflows.get("release.yml")!),
    { jobs: { test: suites } } = parse(workflows.get("ci.yml")!);
  assert.equal(suites.steps.at(-1).run, ".ci/run");
  assert.equal(jobs.test.uses, "./.github/workflows/ci.yml");
  for (const name of ["npm", "jsr"]) {
    assert.equal(jobs[name].needs, "test");
    assert.equal(jobs[name].permissions["id-token"], "write");
  }
});
