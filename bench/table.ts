/**
 * Measurements as a Markdown table: a row for each row name, a column for each column name, in the order measured.
 *
 * @module
 */
import type { Measurement } from "./measurement.ts";

/** A number to four digits. */
export function formatCell(value: number): string {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

const title = ({ column, unit }: Measurement): string => unit ? `${column} (${unit})` : column;

const distinct = (values: readonly string[]): string[] => [...new Set(values)];

/** See the module's documentation; notes follow as a list. */
export function markdownTable(measurements: readonly Measurement[]): string {
  const rows = distinct(measurements.map(({ row }) => row));
  const columns = distinct(measurements.map(title));
  const cell = (row: string, column: string): string => {
    const found = measurements.find((m) => m.row === row && title(m) === column);
    return found ? formatCell(found.median) : "-";
  };
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const notes = distinct(measurements.flatMap(({ note }) => note ? [note] : []));
  return [
    line(["", ...columns]),
    line(["---", ...columns.map(() => "--:")]),
    ...rows.map((row) => line([row, ...columns.map((column) => cell(row, column))])),
    ...(notes.length > 0 ? ["", ...notes.map((note) => `- ${note}`)] : []),
  ].join("\n");
}
