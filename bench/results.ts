/**
 * Recordings: what was measured on each machine, in `bench/results/MACHINE.json`.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Machine } from "./machine.ts";
import type { Measurement } from "./measurement.ts";

/** One call of one bench. */
export interface Run {
  readonly bench: string;
  readonly command: string;
  /** YYYY-MM-DD, or YYYY-MM where no more was written down. */
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The clock of the times. */
  readonly clock: string;
  readonly quick: boolean;
  readonly note?: string;
  readonly measurements: readonly Measurement[];
}

/** All that is known of a machine. A cell is in one run only: the latest that measured it. */
export interface Recording {
  readonly machine: Machine;
  readonly runs: readonly Run[];
}

const folder = join(import.meta.dirname!, "results");

/** A machine's name as a file's. */
export function slug(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
}

/** Where a machine's recording is kept; quick runs, which say nothing of its speed, are not among the results. */
export function recordingFile(machine: string, quick: boolean): string {
  const at = quick ? join(import.meta.dirname!, "..", "dist", "bench") : folder;
  return join(at, `${slug(machine)}.json`);
}

/** Today, as recordings write it. */
export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

/** Software by name and version, in words. */
export function versionsLine(versions: Run["versions"]): string {
  return Object.entries(versions).map((pair) => pair.join(" ")).join(", ");
}

const cellOf = ({ table, row, column }: Measurement): string => JSON.stringify([table, row, column]);

/** A recording with another run: cells that it measured anew leave the runs that had them. */
export function withRun({ machine, runs }: Recording, run: Run): Recording {
  const measured = new Set(run.measurements.map(cellOf));
  const older = runs
    .map((old) => ({ ...old, measurements: old.measurements.filter((m) => !measured.has(cellOf(m))) }))
    .filter(({ measurements }) => measurements.length > 0);
  return { machine, runs: [...older, run] };
}

/** Adds a run to a machine's file. */
export function saveRun(file: string, machine: Machine, run: Run): void {
  const known: Recording = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { machine, runs: [] };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, formatRecording(withRun({ ...known, machine }, run)));
}

/** JSON with a line for each measurement, so that a change of one shows as one. */
export function formatRecording({ machine, runs }: Recording): string {
  const formatRun = ({ measurements, ...run }: Run): string => {
    const lines = measurements.map((m) => JSON.stringify(m, rounded)).join(",\n");
    return `${JSON.stringify(run).slice(0, -1)},"measurements":[\n${lines}\n]}`;
  };
  return `{"machine":${JSON.stringify(machine)},"runs":[\n${runs.map(formatRun).join(",\n")}\n]}\n`;
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}

/** All recordings by their file's name without the ending. */
export function recordings(): ReadonlyMap<string, Recording> {
  const files = readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
  return new Map(
    files.map((name) => [name.slice(0, -5), JSON.parse(readFileSync(join(folder, name), "utf8"))]),
  );
}
