/**
 * The strictness of every command's arguments, from one table: a new command is in it by itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ArgsDef } from "citty";
import { type CommandLine, readCommandLine, UsageError } from "../src/cli/arguments.ts";
import { commands } from "../src/cli/commands.ts";
import { editDistance, nearest } from "../src/cli/nearest.ts";
import { parseCount, parseNumber } from "../src/cli/values.ts";
import { unreadArgs } from "../src/cli/train_args.ts";
import { version } from "../src/cli/version.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface Case {
  readonly name: string;
  readonly args: ArgsDef;
  /** Arguments that the command runs with, each flag with a value. */
  readonly usual: readonly string[];
}

const cases: readonly Case[] = [...commands].map(([name, { args }]) => {
  const entries = Object.entries(args as ArgsDef);
  const usual = entries.flatMap(([flag, { type, required }]) => {
    if (type === "positional") return ["somewhere"];
    return required ? [`--${flag}`, "x"] : [];
  });
  return { name, args: args as ArgsDef, usual };
});

/** The command line as a process. */
function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const main = "src/cli/main.ts";
  const command = "Deno" in globalThis ? ["run", "-A", "--no-check", main] : [main];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...command, ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "", CI: "", ...env },
  });
  return { status, stdout, stderr };
}

const read = ({ name, args }: Case, ...entries: readonly string[]): CommandLine =>
  readCommandLine({ name, args }, entries);

/** What citty is given. */
function followed(one: Case, ...entries: readonly string[]): readonly string[] {
  const line = read(one, ...one.usual, ...entries);
  assert.equal(line.asks, "run");
  return line.asks === "run" ? line.rawArgs : [];
}

/** Each command refuses `entries` after its usual arguments by a UsageError that matches. */
function refused(one: Case, entries: readonly string[], rule: RegExp): void {
  const check = (error: unknown): boolean => {
    assert.ok(error instanceof UsageError, `${one.name} ${entries}: ${error}`);
    assert.match(error.message, /^Cannot /);
    assert.match(error.message, rule);
    return true;
  };
  assert.throws(() => read(one, ...one.usual, ...entries), check, `${one.name} ${entries.join(" ")}`);
  assert.throws(() => read(one, ...entries, ...one.usual), check, `${one.name} ${entries.join(" ")}`);
}

const flagsOf = ({ args }: Case, kind: "string" | "boolean"): string[] =>
  Object.entries(args).filter(([, { type }]) => type === kind).map(([name]) => name);

const listFlags = ({ args }: Case): string[] =>
  Object.entries(args).filter(([, { valueHint }]) => valueHint?.endsWith("...")).map(([name]) => name);

test("readCommandLine refuses unknown flags of every command by name, however they are written", () => {
  assert.ok(cases.length >= 8);
  for (const one of cases) {
    for (
      const flag of [
        "--xyzzyq",
        "--xyzzyq=3",
        "--no-xyzzyq",
        "-q",
        "-9",
        "--constructor",
        "--__proto__",
        "---",
        "--9",
      ]
    ) {
      refused(one, [flag], new RegExp(`^Cannot read ${flag.split("=")[0]}: ${one.name} has no such flag`));
    }
  }
});

test("readCommandLine names the flag that is nearest to an unknown one", () => {
  for (const one of cases) {
    for (
      const flag of [...flagsOf(one, "string"), ...flagsOf(one, "boolean")].filter((name) => name.length > 4)
    ) {
      const dropped = flag.slice(0, 2) + flag.slice(3);
      const near = [`${flag}s`, dropped, flag.toUpperCase(), flag.replaceAll("-", "_")];
      for (const wrong of near.filter((name) => !Object.hasOwn(one.args, name))) {
        const [meant] = [nearest(wrong, Object.keys(one.args))];
        assert.equal(editDistance(meant!, flag) <= 2, true, `${wrong}: ${meant}`);
        refused(
          one,
          [`--${wrong}`, "3"],
          new RegExp(`^Cannot read --${wrong}: .*did you mean --${meant}\\?$`),
        );
        refused(one, [`--${wrong}=3`], new RegExp(`did you mean --${meant}\\?$`));
      }
    }
  }
  const train = cases.find(({ name }) => name === "train")!;
  refused(train, ["--n-freqency", "50"], /^Cannot read --n-freqency: .*; did you mean --n-frequency\?$/);
  refused(train, ["--nFrequency", "50"], /did you mean --n-frequency\?$/);
  const generate = cases.find(({ name }) => name === "generate")!;
  refused(generate, ["--max-token", "3"], /; did you mean --max-tokens\?$/);
  refused(generate, ["--max", "3"], /; did you mean --max-tokens\?$/);
  refused(generate, ["-seed", "3"], /; did you mean --seed\?$/);
});

test("readCommandLine refuses words that no command takes, before and after --", () => {
  for (const one of cases) {
    refused(one, ["stray"], /^Cannot read the word "(stray|somewhere)": /);
    assert.throws(() => read(one, ...one.usual, "--", "stray"), /Cannot read the word "stray"/);
    assert.throws(() => read(one, ...one.usual, "--", "--help"), /Cannot read the word "--help"/);
  }
  const generate = cases.find(({ name }) => name === "generate")!;
  refused(generate, ["seed=3"], /the word "seed=3": .*; did you mean --seed\?$/);
});

test("readCommandLine refuses flags without a value, at the end and before another flag", () => {
  for (const one of cases) {
    for (const flag of flagsOf(one, "string")) {
      for (const after of [[], ["--"], ["--device", "cpu"], ["--unknown"], ["-h"]]) {
        if (after[0] === "-h") continue; // help wins, below
        assert.throws(
          () => read(one, ...one.usual, `--${flag}`, ...after),
          new RegExp(`^UsageError: Cannot read --${flag}: its value is missing`),
        );
      }
      refused(one, [`--no-${flag}`], new RegExp(`^Cannot read --no-${flag}: --${flag} takes a value`));
      if (flag === "prompt") continue;
      for (const empty of [`--${flag}=`, `--${flag}= `]) {
        refused(one, [empty], new RegExp(`^Cannot read --${flag} " ?": its value is empty$`));
      }
    }
    for (const flag of flagsOf(one, "boolean")) {
      refused(one, [`--${flag}=yes`], new RegExp(`^Cannot read --${flag} "yes": it takes no value$`));
      refused(one, [`--no-${flag}=1`], new RegExp(`^Cannot read --no-${flag} "1": it takes no value$`));
      refused(one, [`--${flag}`, "no"], /^Cannot read the word "(no|somewhere)"/);
    }
  }
});

test("readCommandLine names what is missing", () => {
  // What serve needs may be in its file, or in the environment.
  for (const one of cases.filter(({ usual }) => usual.length > 0)) {
    assert.throws(() => read(one), (error: Error) => {
      assert.match(error.message, new RegExp(`^Cannot run ${one.name} without `));
      for (const [name, { required, type }] of Object.entries(one.args)) {
        if (required) {
          assert.ok(error.message.includes(type === "positional" ? name.toUpperCase() : `--${name}`));
        }
      }
      return error instanceof UsageError;
    });
  }
});

test("readCommandLine takes values by = and by a space, also those that start with a dash", () => {
  for (const one of cases) {
    for (const flag of flagsOf(one, "string")) {
      for (const value of ["a b", "-1", "-", "-x", "- a point", "--- a line", "--but what is it?"]) {
        for (const way of [[`--${flag}=${value}`], [`--${flag}`, value]]) {
          const at = followed(one, ...way);
          assert.ok(at.includes(`--${flag}=${value}`), `${one.name} ${way}: ${at}`);
        }
      }
      for (const value of ["--help", "--x=y", "--", "a=b"]) {
        assert.ok(followed(one, `--${flag}=${value}`).includes(`--${flag}=${value}`));
      }
    }
    for (const flag of flagsOf(one, "boolean")) {
      for (const [way, kept] of [["", ""], ["=true", ""], ["=false", "no-"]]) {
        assert.ok(followed(one, `--${flag}${way}`).includes(`--${kept}${flag}`));
      }
      assert.ok(followed(one, `--no-${flag}`).includes(`--no-${flag}`));
    }
  }
  const inspect = cases.find(({ name }) => name === "inspect")!;
  assert.deepEqual(read(inspect, "--out", "x", "--", "-folder"), {
    asks: "run",
    rawArgs: ["--out=x", "--", "-folder"],
    notes: [],
  });
});

test("readCommandLine takes the last of several values and says so, and all values of a list", () => {
  for (const one of cases) {
    for (const flag of flagsOf(one, "string")) {
      const line = read(one, ...one.usual, `--${flag}=a`, `--${flag}`, "b");
      assert.ok(line.asks === "run");
      const kept = line.rawArgs.filter((entry) => entry.startsWith(`--${flag}=`));
      if (listFlags(one).includes(flag)) {
        assert.deepEqual(kept.slice(-2), [`--${flag}=a`, `--${flag}=b`]);
        assert.deepEqual(line.notes, []);
      } else {
        assert.deepEqual(kept, [`--${flag}=b`]);
        assert.ok(line.notes.includes(`--${flag} "b" takes the place of "a"`), `${line.notes}`);
      }
    }
  }
});

test("readCommandLine gives help to whoever asks, also beside a fault, and the version", () => {
  for (const one of cases) {
    for (
      const entries of [["--help"], ["-h"], ["--wrong", "--help"], ["--device", "--help"], ["stray", "-h"]]
    ) {
      assert.deepEqual(read(one, ...entries), { asks: "help" }, `${one.name} ${entries}`);
    }
    assert.deepEqual(read(one, "--version"), { asks: "version" });
    assert.throws(() => read(one, ...one.usual, "--no-help"), /Cannot read --no-help/);
    assert.throws(() => read(one, ...one.usual, "--help=1"), /Cannot read --help "1": it takes no value/);
  }
});

test("parseCount and parseNumber refuse what is no number of their range by the argument's name", () => {
  for (const text of ["", " 1", "-1", "1.5", "1e3", "0x10", "NaN", "9007199254740993", "\u0663"]) {
    assert.throws(
      () => parseCount("seed", text),
      /^UsageError: Cannot read --seed ".*": it must be a whole number/,
      text,
    );
  }
  assert.equal(parseCount("seed", "9007199254740991"), 2 ** 53 - 1);
  assert.throws(() => parseCount("r", "0", { least: 1 }), /--r "0": it must be a whole number of 1 or more/);
  assert.throws(
    () => parseCount("port", "65536", { most: 65535 }),
    /it must be a whole number from 0 to 65535/,
  );
  for (const text of ["", "-0.5", "1e999", "Infinity", "NaN", "0x10", "1_000", "1,5", "."]) {
    assert.throws(
      () => parseNumber("lr", text),
      /^UsageError: Cannot read --lr ".*": it must be a number/,
      text,
    );
  }
  for (const [text, value] of [["0.5", 0.5], [".5", 0.5], ["5.", 5], ["1e-4", 1e-4], ["+2", 2]] as const) {
    assert.equal(parseNumber("lr", text), value);
  }
  assert.throws(() => parseNumber("held-out", "1.5", { most: 1 }), /it must be a number from 0 to 1/);
});

test("unreadArgs names the arguments of train that a run does not read", () => {
  const told = (a: Readonly<Record<string, string>>) => unreadArgs(a, (name) => Object.hasOwn(a, name));
  assert.deepEqual(told({ method: "fourierft", "n-frequency": "5", seed: "1" }), []);
  assert.deepEqual(told({ method: "fourierft", r: "5" }), ["--r is not read: not fourierft's"]);
  assert.deepEqual(told({ method: "lora", scaling: "5", r: "1" }), ["--scaling is not read: not lora's"]);
  assert.deepEqual(told({ method: "lora", init: "x", "target-modules": "q_proj", r: "1" }), [
    "--r is not read: --init is given",
    "--method is not read: --init is given",
    "--target-modules is not read: --init is given",
  ]);
  assert.deepEqual(told({ method: "lora", "eval-data": "x", "held-out": "0.1" }), [
    "--held-out is not read: --eval-data is given",
  ]);
});

test("nearest finds the name with the fewest edits, and none where all are far", () => {
  assert.equal(editDistance("kitten", "sitting"), 3);
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(nearest("steps", ["schedule", "steps"]), "steps");
  assert.equal(nearest("zzzzzz", ["schedule", "steps"]), undefined);
  assert.equal(nearest("x".repeat(1e6), ["schedule"]), undefined);
  assert.equal(nearest("a", []), undefined);
});

test("fourierft ends with 2 for a command line that cannot be followed, on standard error alone, before any device", () => {
  for (
    const [args, rule] of [
      [["generate", "--model", "x", "--prompt", "y", "--max-token", "3"], /did you mean --max-tokens\?/],
      [["serve"], /^fourierft: Cannot run serve without --model DIR/],
      [["serve", "--model", "x", "--bad"], /Cannot read --bad: serve has no such flag/],
      [["serve", "--model", "x", "word"], /Cannot read the word "word"/],
      [["generat"], /Cannot run command "generat": there is none; did you mean generate\?/],
      [["--bad"], /Cannot read --bad before a command/],
      [["help", "fly"], /Cannot run command "fly": there is none/],
      [["constructor"], /Cannot run command "constructor": there is none/],
      [["merge", "--model", "x"], /Cannot run merge without --adapter DIR and --out DIR/],
    ] as const
  ) {
    const { status, stdout, stderr } = run(args);
    assert.deepEqual([status, stdout], [2, ""], stderr);
    assert.match(stderr, rule);
    assert.match(stderr, /^fourierft: Cannot [^\n]*\n$/);
  }
});

test("fourierft checks values (2) and folders (1) before it opens a device", () => {
  const model = "examples/demo/base";
  for (
    const [args, rule] of [
      [["generate", "--model", model, "--prompt", "y", "--max-tokens", "-3"], /--max-tokens "-3"/],
      [["generate", "--model", model, "--prompt", "y", "--temperature", "hot"], /--temperature "hot"/],
      [["generate", "--model", model, "--prompt", "y", "--seed", "1.5"], /--seed "1.5"/],
      [["generate", "--model", "nowhere", "--prompt", "y"], /folder "nowhere"/],
      [["generate", "--model", model, "--prompt", "y", "--adapter", "nowhere"], /adapter "nowhere"/],
      [
        ["perplexity", "--model", model, "--data", "README.md", "--context-length", "1"],
        /--context-length "1"/,
      ],
      [["perplexity", "--model", "nowhere", "--data", "README.md"], /folder "nowhere"/],
      [["perplexity", "--model", model, "--data", "nowhere"], /file "nowhere"/],
      [["train", "--model", "nowhere", "--data", "README.md", "--out", "dist/none"], /folder "nowhere"/],
      [["train", "--model", model, "--data", "nowhere", "--out", "dist/none"], /file "nowhere"/],
      [["train", "--model", model, "--data", "README.md", "--out", "dist/none", "--r", "0"], /--r "0"/],
      [["train", "--model", model, "--data", "README.md", "--out", "dist/none", "--lr", "-1"], /--lr "-1"/],
      [["merge", "--model", "nowhere", "--adapter", "x", "--out", "dist/none"], /folder "nowhere"/],
    ] as const
  ) {
    const { status, stdout, stderr } = run(args);
    assert.deepEqual([status, stdout], [rule.source.startsWith("--") ? 2 : 1, ""], stderr);
    assert.match(stderr, rule);
    assert.match(stderr, /^fourierft: Cannot [^\n]*\n$/, "one line, and none about a device");
  }
});

test("fourierft prints its version and its help without colours into a pipe", () => {
  for (const args of [["--version"], ["-v"], ["serve", "--version"]]) {
    assert.deepEqual(run(args), { status: 0, stdout: `${version}\n`, stderr: "" });
  }
  for (
    const args of [["--help"], ["-h"], ["help"], ["serve", "--help"], ["help", "serve"], ["serve", "-h"]]
  ) {
    const { status, stdout, stderr } = run(args, { TERM: "xterm-256color" });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, args.includes("serve") ? /--port/ : /COMMANDS/);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(stdout, /\x1b/);
  }
});

test("version is that of package.json and deno.json", () => {
  for (const file of ["package.json", "deno.json"]) {
    assert.equal(JSON.parse(readFileSync(join(root, file), "utf8")).version, version, file);
  }
});
