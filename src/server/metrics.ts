/**
 * Metrics in Prometheus' text format, version 0.0.4.
 *
 * The format is small, and the known client library needs files and clusters that no page and no Worker has.
 *
 * @module
 */

/** Values of a metric's labels, in the order of their names. */
export type LabelValues = readonly string[];

/** One line of a metric: the name's ending, labels and the value. */
interface Sample {
  readonly suffix?: string;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly value: number;
}

/** A metric: its name, meaning and type, and its values now. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram" | "summary";
  samples(): Iterable<Sample>;
}

/** A metric's name and what it means. */
export interface MetricOptions {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Different label values that one metric keeps at most; later ones count under `other`. */
const mostSeries = 10_000;

const keyOf = (values: LabelValues): string => values.join("\0");

/** Values by labels. */
class Series<Value> {
  readonly #values = new Map<string, { readonly labels: LabelValues; readonly value: Value }>();

  constructor(private readonly names: readonly string[], private readonly make: () => Value) {
    if (names.length === 0) this.of([]);
  }

  of(labels: LabelValues): Value {
    const key = keyOf(labels), known = this.#values.get(key);
    if (known) return known.value;
    if (this.#values.size >= mostSeries && labels.some((label) => label !== "other")) {
      return this.of(labels.map(() => "other"));
    }
    const value = this.make();
    this.#values.set(key, { labels, value });
    return value;
  }

  *[Symbol.iterator](): Generator<{ readonly labels: Sample["labels"]; readonly value: Value }> {
    for (const { labels, value } of this.#values.values()) {
      yield { labels: this.names.map((name, i) => [name, labels[i]] as const), value };
    }
  }
}

/** A number that only grows. */
export class Counter implements Metric {
  readonly type = "counter";
  readonly name: string;
  readonly help: string;
  readonly #series: Series<{ value: number }>;

  constructor({ name, help, labels = [] }: MetricOptions) {
    this.name = name;
    this.help = help;
    this.#series = new Series(labels, () => ({ value: 0 }));
  }

  /** Adds to the series of these labels. */
  add(labels: LabelValues, by = 1): void {
    this.#series.of(labels).value += by;
  }

  /** As `add` of these labels, without looking them up each time. */
  adder(labels: LabelValues): (by: number) => void {
    const series = this.#series.of(labels);
    return (by) => void (series.value += by);
  }

  *samples(): Generator<Sample> {
    for (const { labels, value: { value } } of this.#series) yield { labels, value };
  }
}

interface Buckets {
  readonly counts: number[];
  sum: number;
  count: number;
}

/** Observations, counted by bounds. */
export class Histogram implements Metric {
  readonly type = "histogram";
  readonly name: string;
  readonly help: string;
  readonly #series: Series<Buckets>;
  readonly #bounds: readonly number[];

  constructor({ name, help, labels = [], bounds }: MetricOptions & { readonly bounds: readonly number[] }) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#series = new Series(labels, () => ({ counts: bounds.map(() => 0), sum: 0, count: 0 }));
  }

  /** Counts an observation, or `times` equal ones. */
  observe(labels: LabelValues, value: number, times = 1): void {
    this.observer(labels)(value, times);
  }

  /** As `observe` of these labels, without looking them up each time. */
  observer(labels: LabelValues): (value: number, times: number) => void {
    const series = this.#series.of(labels), bounds = this.#bounds;
    return (value, times) => {
      let at = 0;
      while (at < bounds.length && value > bounds[at]) at++;
      if (at < bounds.length) series.counts[at] += times;
      series.sum += value * times;
      series.count += times;
    };
  }

  *samples(): Generator<Sample> {
    for (const { labels, value: { counts, sum, count } } of this.#series) {
      let below = 0;
      for (const [i, bound] of this.#bounds.entries()) {
        below += counts[i];
        yield { suffix: "_bucket", labels: [...labels, ["le", String(bound)]], value: below };
      }
      yield { suffix: "_bucket", labels: [...labels, ["le", "+Inf"]], value: count };
      yield { suffix: "_sum", labels, value: sum };
      yield { suffix: "_count", labels, value: count };
    }
  }
}

/** A metric whose values are asked for when they are read. */
export function collected(
  { labels = [], type = "gauge", ...options }: MetricOptions & { readonly type?: "gauge" | "counter" },
  collect: () => Iterable<{ readonly labels?: LabelValues; readonly value: number }>,
): Metric {
  return {
    ...options,
    type,
    *samples() {
      for (const { labels: values = [], value } of collect()) {
        yield { labels: labels.map((name, i) => [name, values[i]] as const), value };
      }
    },
  };
}

/** A sum and a count that are asked for when they are read. */
export function summary(
  options: Pick<MetricOptions, "name" | "help">,
  collect: () => { readonly sum: number; readonly count: number } | undefined,
): Metric {
  return {
    ...options,
    type: "summary",
    *samples() {
      const found = collect();
      if (!found) return;
      yield { suffix: "_sum", labels: [], value: found.sum };
      yield { suffix: "_count", labels: [], value: found.count };
    },
  };
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

/** The content type of {@linkcode prometheusText}. */
export const prometheusType = "text/plain; version=0.0.4; charset=utf-8";

/** The text that Prometheus reads. */
export function prometheusText(metrics: readonly Metric[]): string {
  const lines: string[] = [];
  for (const metric of metrics) {
    const { name, help, type } = metric;
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const { suffix = "", labels, value } of metric.samples()) {
      const pairs = labels.map(([label, text]) => `${label}="${escapeLabel(text)}"`);
      lines.push(`${name}${suffix}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${numberText(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
