/**
 * Which plots a recording gives: sweeps over what they vary, lines of rows, and each kernel's part of a copy's rate.
 *
 * @module
 */
import type { Measurement } from "./measurement.ts";
import { barChart, lineChart, type Series } from "./plot.ts";
import type { Recording } from "./results.ts";

const distinct = (values: readonly string[]): string[] => [...new Set(values)];

function styleOf(column: string): Series["style"] {
  return column === "model" ? "model" : column.startsWith("floor") ? "floor" : "measured";
}

/** Columns as lines, our own first; x is what the rows' names say before the `=`. */
function sweepPlot(table: string, cells: readonly Measurement[], machine: string): string {
  const columns = distinct(cells.map(({ column }) => column));
  const series = columns.sort((a, b) => Number(b === "fourierft") - Number(a === "fourierft")).map((
    column,
  ) => ({
    name: column,
    style: styleOf(column),
    points: cells.filter((m) => m.column === column).map(({ x, median }) => ({ x: x!, y: median }))
      .sort((a, b) => a.x - b.x),
  }));
  return lineChart(series, {
    title: `${table}, ${machine}`,
    subtitle: cells.find(({ column, note }) => note && styleOf(column) === "measured")?.note ?? "",
    xLabel: cells[0].row.split(" = ")[0],
    yLabel: cells[0].unit,
  });
}

/** A line for each method, over the number that its rows differ in. */
function linesPlot(table: string, cells: readonly Measurement[], machine: string): string {
  const points = cells.filter(({ line, x }) => line !== undefined && x !== undefined);
  const series = distinct(points.map(({ line }) => line!)).map((name): Series => ({
    name,
    style: "measured",
    points: points.filter(({ line }) => line === name).map(({ x, median }) => ({ x: x!, y: median }))
      .sort((a, b) => a.x - b.x),
  }));
  return lineChart(series, {
    title: `${table}, ${machine}`,
    subtitle: cells.find(({ note }) => note)?.note ?? "",
    xLabel: points[0].over ?? "",
    yLabel: points[0].column,
  });
}

function fractionPlot(cells: readonly Measurement[], table: string, machine: string): string {
  return barChart(cells.map(({ row, median }) => ({ name: row, percent: median })), {
    title: `${table}, ${machine}`,
    subtitle:
      "bytes that must be moved, as a part of a copy's rate; what computes much cannot come near 100 %",
  });
}

/** SVG by table. */
export function plotsOf({ machine, runs }: Recording): ReadonlyMap<string, string> {
  const all = runs.flatMap(({ measurements }) => measurements);
  const plots = new Map<string, string>();
  for (const table of distinct(all.map((m) => m.table))) {
    const cells = all.filter((m) => m.table === table);
    const fractions = cells.filter(({ column }) => column === "of a copy's rate");
    if (cells.some(({ line }) => line !== undefined)) plots.set(table, linesPlot(table, cells, machine.name));
    else if (cells.every(({ x }) => x !== undefined)) plots.set(table, sweepPlot(table, cells, machine.name));
    else if (fractions.length > 2) plots.set(table, fractionPlot(fractions, table, machine.name));
  }
  return plots;
}
