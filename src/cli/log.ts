/**
 * Lines on standard error, so that output can be piped: for people, or as JSON.
 *
 * @module
 */
import process from "node:process";

/** How lines are written. */
export type LogFormat = "text" | "json";

let format: LogFormat = "text";

/** Sets how lines are written from now on. */
export function setLogFormat(wanted: LogFormat): void {
  format = wanted;
}

/** A line of JSON: time, message, and what else is known. */
function jsonLine(message: string, fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), message, ...fields });
}

/**
 * Writes a line.
 *
 * @param fields What a program reads of it; in text they are left out.
 */
export function log(line: string, fields: Readonly<Record<string, unknown>> = {}): void {
  process.stderr.write(`${format === "json" ? jsonLine(line, fields) : line}\n`);
}
