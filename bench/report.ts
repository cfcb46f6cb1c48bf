/**
 * Regenerates RESULTS.md's tables, between their markers, and the plots, from `bench/results/*.json`.
 *
 *     deno task bench:report [RECORDING.json]
 *
 * A marker names a table and a machine, `<!-- table fourier of nvidia-h100-80gb-hbm3 -->`; the prose around them is by
 * hand. A table without a marker gets one at the end. With a file, its tables are printed instead, and its plots are
 * written beside the file. That is for recordings that are not among the results, as a quick run's.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import type { Measurement } from "./measurement.ts";
import { plotsOf } from "./plots.ts";
import { type Recording, recordings, type Run, versionsLine } from "./results.ts";
import { markdownTable } from "./table.ts";

const folder = import.meta.dirname!;
const resultsFile = join(folder, "RESULTS.md");

const end = "<!-- end -->";
const blocks = /<!-- table (\S+) of (\S+) -->\n[\s\S]*?<!-- end -->/g;

function measurementsOf({ runs }: Recording, table: string): Measurement[] {
  return runs.flatMap(({ measurements }) => measurements).filter((m) => m.table === table);
}

/** Names of a recording's tables, in the order measured. */
function tablesOf({ runs }: Recording): string[] {
  return [...new Set(runs.flatMap(({ measurements }) => measurements.map(({ table }) => table)))];
}

function sourceLine({ command, versions, date, clock, quick, note }: Run): string {
  const parts = [
    `\`${command}\``,
    versionsLine(versions),
    `times by ${clock}`,
    date,
    ...(note ? [note] : []),
  ];
  return `- ${parts.join("; ")}${quick ? "; QUICK: says nothing of the machine's speed" : ""}`;
}

/** A table with its plot, and what it was measured on and with. */
function tableBlock(recording: Recording, table: string, plot?: string): string {
  const { machine, runs } = recording;
  const sources = runs.filter(({ measurements }) => measurements.some((m) => m.table === table));
  const driver = machine.driver ? `, driver ${machine.driver}` : "";
  return [
    markdownTable(measurementsOf(recording, table)),
    ...(plot ? [`![${table}](${plot})`] : []),
    [`- ${machine.name}${driver}, ${machine.os}`, ...sources.map(sourceLine)].join("\n"),
  ].join("\n\n");
}

/** The document with every marked table made anew, and unmarked ones added at its end. */
export function withTables(document: string, known: ReadonlyMap<string, Recording>): string {
  const missing = new Set(
    [...known].flatMap(([machine, recording]) =>
      tablesOf(recording).map((table) => `${table} of ${machine}`)
    ),
  );
  const block = (name: string, table: string, machine: string): string => {
    const recording = known.get(machine)!;
    const plot = plotsOf(recording).has(table) ? `plots/${machine}/${table}.svg` : undefined;
    return `<!-- table ${name} -->\n\n${tableBlock(recording, table, plot)}\n\n${end}`;
  };
  const remade = document.replace(blocks, (_, table: string, machine: string) => {
    const name = `${table} of ${machine}`;
    if (!missing.delete(name)) {
      throw new Error(`Cannot make RESULTS.md: its marker "${name}" stands twice, or names nothing recorded`);
    }
    return block(name, table, machine);
  });
  const added = [...missing].map((name) => {
    const [table, machine] = name.split(" of ");
    return `\n## ${table}, ${known.get(machine)!.machine.name}\n\n${block(name, table, machine)}\n`;
  });
  return remade + added.join("");
}

function writePlots(at: string, recording: Recording): void {
  rmSync(at, { recursive: true, force: true });
  for (const [table, svg] of plotsOf(recording)) {
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, `${table}.svg`), svg);
  }
}

function reportAll(): void {
  const known = recordings();
  rmSync(join(folder, "plots"), { recursive: true, force: true });
  for (const [machine, recording] of known) writePlots(join(folder, "plots", machine), recording);
  writeFileSync(resultsFile, withTables(readFileSync(resultsFile, "utf8"), known));
  execFileSync(process.execPath, ["fmt", "--quiet", resultsFile], { stdio: "inherit" });
}

function reportOne(file: string): void {
  const recording: Recording = JSON.parse(readFileSync(file, "utf8"));
  for (const table of tablesOf(recording)) console.log(`## ${table}\n\n${tableBlock(recording, table)}\n`);
  const at = join(dirname(file), `${recording.machine.name.replace(/\W+/g, "-")}-plots`);
  writePlots(at, recording);
  console.log(`plots: ${at}`);
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (file) reportOne(file);
  else reportAll();
}
