/**
 * The labels of examples: names or numbers of classes, or numbers to be predicted.
 *
 * @module
 */
import type { HeadTask } from "./head.ts";

/** A class by its name or its number, or a number. */
export type Label = string | number;

/** A label, and where it stands, for messages. */
export interface PlacedLabel {
  readonly label: Label;
  readonly place: string;
}

/** What labels say. */
export interface LabelSet {
  /** Names of the classes, in order; one without a name for regression. */
  readonly names: readonly string[];
  /** A label as a target. */
  targetOf(label: PlacedLabel): number;
}

const quoted = (label: unknown): string => JSON.stringify(label)?.slice(0, 60) ?? String(label);

function fail({ label, place }: PlacedLabel, rule: string): never {
  throw new SyntaxError(`Cannot use label ${quoted(label)} of ${place}: ${rule}`);
}

const numbers: LabelSet = {
  names: [""],
  targetOf(placed) {
    const { label } = placed;
    if (typeof label === "number" && Number.isFinite(label)) return label;
    return fail(placed, "regression needs a number");
  },
};

/** Classes by number: 0 up to the highest. */
function numbered(count: number): LabelSet {
  return {
    names: Array.from({ length: count }, (_, i) => `LABEL_${i}`),
    targetOf(placed) {
      const { label } = placed;
      if (typeof label === "number" && Number.isSafeInteger(label) && label >= 0 && label < count) {
        return label;
      }
      return fail(placed, `it must be the number of a class, 0..${count - 1}`);
    },
  };
}

/** Classes by name; by number, too, where the names were told. */
function named(names: readonly string[], told: boolean): LabelSet {
  const numberOf = new Map(names.map((name, i) => [name, i]));
  const byNumber = numbered(names.length);
  return {
    names,
    targetOf(placed) {
      const { label } = placed;
      if (typeof label === "number" && told) return byNumber.targetOf(placed);
      const found = typeof label === "string" ? numberOf.get(label) : undefined;
      return found ?? fail(placed, `the labels are ${names.slice(0, 20).map(quoted).join(", ")}`);
    },
  };
}

function classesOf(training: readonly PlacedLabel[], told: readonly string[] | undefined): LabelSet {
  if (told) {
    if (new Set(told).size === told.length) return named(told, true);
    throw new RangeError(`Cannot use labels ${quoted(told)}: a name comes twice`);
  }
  const kinds = new Set(training.map(({ label }) => typeof label));
  if (kinds.size > 1) {
    const other = training.find(({ label }) => typeof label !== typeof training[0].label)!;
    return fail(
      other,
      `${training[0].place} has ${quoted(training[0].label)}; all must be numbers, or all names`,
    );
  }
  if (kinds.has("string")) {
    const names = [...new Set(training.map(({ label }) => label as string))];
    return named(names.sort((a, b) => a < b ? -1 : 1), false);
  }
  const whole = training.find(({ label }) => !Number.isSafeInteger(label) || (label as number) < 0);
  if (whole) fail(whole, "the number of a class is a whole number of 0 or more");
  const highest = training.reduce((most, { label }) => Math.max(most, label as number), 0);
  if (highest >= training.length) {
    fail(
      training.find(({ label }) => label === highest)!,
      `classes below it must have examples, and there are ${training.length} in all`,
    );
  }
  return numbered(highest + 1);
}

/**
 * What the labels of training examples say.
 *
 * @param told Names of all classes in order; by default the names that there are, sorted, or the numbers up to the highest.
 * @throws SyntaxError for a label that breaks its rule, by its place; RangeError for one class alone, and for a class without
 * an example.
 */
export function labelSet(
  task: HeadTask,
  training: readonly PlacedLabel[],
  told?: readonly string[],
): LabelSet {
  if (task === "regress") {
    if (told) throw new RangeError("Cannot use labels for regression: they are names of classes");
    training.forEach((placed) => numbers.targetOf(placed));
    return numbers;
  }
  const set = classesOf(training, told), { names } = set;
  if (names.length < 2) {
    if (told) throw new RangeError(`Cannot use labels ${quoted(told)}: classes are two or more`);
    throw new RangeError(`Cannot learn classes: all examples have one label, ${quoted(training[0].label)}`);
  }
  const seen = new Set(training.map((placed) => set.targetOf(placed)));
  const empty = names.findIndex((_, i) => !seen.has(i));
  if (empty < 0) return set;
  throw new RangeError(`Cannot learn class ${empty} (${quoted(names[empty])}): no training example has it`);
}
