/**
 * What a command tells. People read lines on standard error, so that output can be piped. Machines read JSON: events on
 * standard output with `--json`, or the lines themselves with `--log-format json`.
 *
 * @module
 */
import process from "node:process";
import { shownText } from "./words.ts";

/** How lines are written. */
export type LogFormat = "text" | "json";

/** The argument of every command that tells events. */
export const jsonArgs = {
  json: { type: "boolean", description: "Write events on standard output, a line of JSON each" },
} as const;

/** A bar below the last line of a terminal, which makes room for lines. */
export interface LiveBar {
  clear(): void;
  draw(): void;
}

let format: LogFormat = "text", telling = false, bar: LiveBar | undefined;

/** Sets how lines are written from now on. */
export function setLogFormat(wanted: LogFormat): void {
  format = wanted;
}

/** Whether events go to standard output from now on. */
export function setJsonEvents(wanted: boolean): void {
  telling = wanted;
}

/** Whether a machine reads events on standard output. */
export const tellsEvents = (): boolean => telling;

/** Whether a bar can be drawn: a person looks at a terminal that moves its cursor. */
export function canDraw(): boolean {
  return process.stderr.isTTY === true && process.env.TERM !== "dumb" && format === "text" && !telling;
}

/** The bar that is drawn now; none when absent. */
export function setLiveBar(drawn?: LiveBar): void {
  bar = drawn;
}

/** A line of JSON: time, message, and what else is known. */
function jsonLine(message: string, fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), message, ...fields });
}

/**
 * Writes a line on standard error.
 *
 * @param fields What a program reads of it; in text they are left out.
 */
export function log(line: string, fields: Readonly<Record<string, unknown>> = {}): void {
  bar?.clear();
  process.stderr.write(`${format === "json" ? jsonLine(line, fields) : shownText(line)}\n`);
  bar?.draw();
}

/**
 * Writes a piece of a command's result on standard output. A terminal gets no control characters, which names in files and
 * texts of models may have; a pipe gets the text as it is.
 */
export function print(text: string): void {
  process.stdout.write(process.stdout.isTTY === true ? shownText(text) : text);
}

/** Writes an event on standard output; nothing unless `--json` is given. */
export function emit(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
  if (telling) process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** Tells a machine an event, or else people a line. */
export function tell(event: string, line: string, fields: Readonly<Record<string, unknown>> = {}): void {
  if (telling) emit(event, fields);
  else log(line, fields);
}
