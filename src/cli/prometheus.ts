/**
 * Reads Prometheus' text.
 *
 * @module
 */

/** One value of a metric. */
export interface PrometheusSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/s;
const label = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/gs;

const escapes: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

function valueOf(text: string): number {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}

/** The samples of a text; lines that are none are left out. */
export function parsePrometheus(text: string): readonly PrometheusSample[] {
  return text.split("\n").flatMap((one) => {
    const [, name, labels = "", value] = line.exec(one) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(label)].map(([, key, quoted]) => [
      key,
      quoted.replace(/\\./gs, (sign) => escapes[sign] ?? sign),
    ]);
    return [{ name, labels: Object.fromEntries(pairs), value: valueOf(value) }];
  });
}

/** A server's metrics at one time. */
export class Snapshot {
  readonly #samples: readonly PrometheusSample[];

  constructor(text: string, readonly atMs: number) {
    this.#samples = parsePrometheus(text);
  }

  /** The samples of a name whose labels are these. */
  of(name: string, labels: Readonly<Record<string, string>> = {}): readonly PrometheusSample[] {
    return this.#samples.filter((sample) =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value)
    );
  }

  /** The sum of those; undefined where there are none. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number | undefined {
    const found = this.of(name, labels);
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  /** The values that a label has in the samples of a name. */
  labels(name: string, label: string): readonly string[] {
    return [...new Set(this.of(name).map(({ labels }) => labels[label] ?? ""))];
  }

  /** Observations of a histogram up to each bound, over all its other labels. */
  buckets(name: string): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const { labels, value } of this.of(`${name}_bucket`)) {
      const bound = valueOf(labels.le ?? "");
      counts.set(bound, (counts.get(bound) ?? 0) + value);
    }
    return counts;
  }
}
