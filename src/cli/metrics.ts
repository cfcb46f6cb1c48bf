/**
 * An evaluation of a head, for people: numbers, and a confusion matrix.
 *
 * @module
 */
import type { HeadReport } from "../training/head_report.ts";

/** Classes whose confusion is shown as a matrix at most. */
const mostClasses = 20;
/** Letters of a class's name that are shown at most. */
const mostLetters = 12;

const shown = (value: number): string => Number.isNaN(value) ? "undefined" : value.toFixed(4);

/** How many examples of each class were taken for each other: a row a label, a column a prediction. */
export function confusionTable(confusion: readonly (readonly number[])[], labels: readonly string[]): string {
  const names = labels.map((label) =>
    label.length > mostLetters ? `${label.slice(0, mostLetters - 1)}…` : label
  );
  const rows = [["", ...names], ...confusion.map((row, i) => [names[i], ...row.map(String)])];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])).join(
      "  ",
    )
  ).join("\n");
}

/** Lines that tell an evaluation. */
export function metricLines({ loss, metrics }: HeadReport, labels: readonly string[]): string[] {
  if (metrics.task === "regress") {
    const { mae, pearson, spearman } = metrics;
    return [
      `held-out squared error ${shown(loss)}, absolute error ${shown(mae)}, Pearson ${shown(pearson)}, ` +
      `Spearman ${shown(spearman)}`,
    ];
  }
  const { accuracy, f1, matthews, confusion } = metrics;
  const line = `held-out loss ${shown(loss)}, accuracy ${shown(accuracy)}, F1 ${shown(f1)}, Matthews ${
    shown(matthews)
  }`;
  if (labels.length > mostClasses) return [line];
  return [line, `labels in rows, predictions in columns:\n${confusionTable(confusion, labels)}`];
}
