/**
 * What every command of the table has: examples that work, events for machines, completions. A new command is held to
 * this by itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { type ArgDef, type ArgsDef, renderUsage } from "citty";
import { readCommandLine } from "../src/cli/arguments.ts";
import { exampleText } from "../src/cli/command.ts";
import { type Command, commands } from "../src/cli/commands.ts";
import { completionsFor } from "../src/cli/completions.ts";
import { completionScripts } from "../src/cli/shells.ts";
import { laidOut } from "../src/cli/usage.ts";

const argsOf = ({ args }: Command): [string, ArgDef][] => Object.entries(args as ArgsDef);

const flagsOf = (command: Command): [string, ArgDef][] =>
  argsOf(command).filter(([, { type }]) => type !== "positional");

/** A line's words as a shell reads them; what is sent to a file is left out. */
function wordsOf(line: string): string[] {
  return [...line.split(" > ")[0].matchAll(/"([^"]*)"|(\S+)/g)].map(([, text, word]) => text ?? word);
}

test("commands: every example is a line that its command follows, of words that its values may be", () => {
  for (const [name, command] of commands) {
    assert.ok(command.examples.length > 0, name);
    for (const { does, line } of command.examples) {
      assert.match(does, /^[A-Z].*[^.]$/, line);
      const [first, ...words] = wordsOf(line);
      assert.equal(first, name, line);
      const read = readCommandLine({ name, args: command.args as ArgsDef }, words);
      assert.ok(read.asks === "run" && read.notes.length === 0, line);
      for (const entry of read.rawArgs) {
        const [, flag, value] = /^--([^=]+)=(.*)$/.exec(entry) ?? [];
        const hint = flag && (command.args as ArgsDef)[flag].valueHint;
        if (hint?.includes("|")) assert.ok(hint.split("|").includes(value), `${line}: ${flag}`);
      }
    }
    assert.ok(exampleText(command).includes(`\n    fourierft ${command.examples[0].line}`), name);
  }
});

/** Commands without --json, and what machines read of them. */
const othersForMachines: Readonly<Record<string, string>> = {
  serve: "--log-format json",
  top: "GET /metrics",
  completions: "a script",
};

test("commands: every command tells events with --json, but those that machines read otherwise", () => {
  const silent = [...commands].filter(([, { args }]) => !Object.hasOwn(args as ArgsDef, "json"));
  assert.deepEqual(silent.map(([name]) => name).sort(), Object.keys(othersForMachines).sort());
});

test("usage: every command's lines fit 80 columns, and lose no word of citty's", async () => {
  for (const [name, command] of commands) {
    const rendered = stripVTControlCharacters(await renderUsage(command));
    const usage = laidOut(rendered, 80);
    const words = (text: string): readonly string[] => text.split(/\s+/);
    assert.deepEqual(words(usage), words(rendered), name);
    for (const line of usage.split("\n")) {
      const isOneWord = !line.trim().includes(" ");
      if (line.startsWith("  ") && !isOneWord) assert.ok(line.length <= 80, `${name}: ${line}`);
    }
  }
});

test("completions for bash, run by bash, offer every command, flag and word", () => {
  const asked: string[] = [], expected: string[][] = [];
  const ask = (words: readonly string[], offers: readonly string[]): void => {
    asked.push(`ask ${words.map((word) => `'${word}'`).join(" ")}`);
    expected.push([...offers].sort());
  };
  ask(["fourierft", ""], [...commands.keys(), "help"]);
  ask(["fourierft", "help", ""], [...commands.keys()]);
  for (const [name, command] of commands) {
    const flags = flagsOf(command);
    ask(["fourierft", name, "-"], [...flags.map(([flag]) => `--${flag}`), "--help"]);
    for (const [flag, { type, valueHint = "" }] of flags) {
      const words = valueHint.includes("|") ? valueHint.split("|") : [];
      if (type === "string" && words.length > 0) {
        ask(["fourierft", name, `--${flag}`, ""], words);
        ask(["fourierft", name, `--${flag}`, "=", ""], words);
        ask(
          ["fourierft", name, `--${flag}`, "=", words[0]],
          words.filter((word) => word.startsWith(words[0])),
        );
      } else if (type === "string" && !/DIR|PATH|FILE/.test(valueHint)) {
        ask(["fourierft", name, `--${flag}`, ""], []);
      }
    }
  }
  const script = [
    completionsFor("bash", commands),
    'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _fourierft; echo "${COMPREPLY[*]}"; }',
    ...asked,
  ].join("\n");
  const { stdout, stderr, status } = spawnSync("bash", ["--norc"], { input: script, encoding: "utf8" });
  assert.deepEqual([status, stderr], [0, ""]);
  const found = stdout.trimEnd().split("\n").map((line) => line.split(" ").filter(Boolean).sort());
  found.forEach((offers, i) => assert.deepEqual(offers, expected[i], asked[i]));
  assert.equal(found.length, expected.length);
});

test("completions for zsh and fish hold every flag and word, and the shells that are here can read them", () => {
  const zsh = completionsFor("zsh", commands), fish = completionsFor("fish", commands);
  for (const [name, command] of commands) {
    for (const [flag, { type, valueHint = "" }] of flagsOf(command)) {
      const words = type === "string" && valueHint.includes("|") ? valueHint.replaceAll("|", " ") : undefined;
      assert.ok(zsh.includes(`'*--${flag}${type === "string" ? "=" : ""}[`), `${name} ${flag}`);
      const line = fish.split("\n").find((one) => one.includes(`from ${name}' -l ${flag} `));
      assert.ok(line, `${name} ${flag}`);
      if (words) assert.ok(zsh.includes(`(${words})`) && line.includes(`-a '${words}'`), `${name} ${flag}`);
    }
  }
  for (const [shell, script] of [["zsh", zsh], ["fish", fish]] as const) {
    const { error, status, stderr } = spawnSync(shell, ["-n"], { input: script, encoding: "utf8" });
    if (!error) assert.equal(status, 0, stderr);
  }
});

test("completionScripts take texts that mean something to a shell", () => {
  const flag = { flag: "--a", description: "It's [1:2] \\ $(x) `y`", takesValue: true, words: ["b"] };
  const commands = [{ name: "c", description: "don't: $x", flags: [flag] }];
  const script = `set -eu\n${
    completionScripts.bash(commands)
  }\nCOMP_WORDS=(f c --a ''); COMP_CWORD=3; _fourierft; echo $COMPREPLY`;
  const { stdout, stderr } = spawnSync("bash", ["--norc"], { input: script, encoding: "utf8" });
  assert.deepEqual([stdout, stderr], ["b\n", ""]);
  assert.match(completionScripts.zsh(commands), /\[Its \\\[1\\:2\\\] {2}\$\(x\) `y`\]/);
  assert.match(completionScripts.fish(commands), /-d 'Its \[1:2\] {2}\$\(x\) `y`' -x -a 'b'/);
});
