/**
 * The options that new adapters are made with: names, defaults and rules, as each method declares them.
 *
 * @module
 */
import type { Method } from "./method.ts";
import type { MethodTraining, OptionSpec } from "./training.ts";

/** A method whose adapters can be made anew. */
export type TrainableMethod = Method & { readonly training: MethodTraining };

/** The methods of a list whose adapters can be made anew. */
export function trainableMethods(methods: readonly Method[]): TrainableMethod[] {
  return methods.filter((method): method is TrainableMethod => method.training !== undefined);
}

/** A PEFT field's name as TypeScript has it: `n_frequency` is `nFrequency`. */
export function camelCase(field: string): string {
  return field.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** A number's rule, in words. */
export function ruleOf({ kind, least = 0 }: OptionSpec): string {
  return `${kind === "count" ? "a whole number" : "a number"} of ${least} or more`;
}

function checkOption(name: string, value: unknown, spec: OptionSpec): number {
  const { kind, least = 0 } = spec;
  const known = kind === "count" ? Number.isSafeInteger(value) : Number.isFinite(value);
  if (known && (value as number) >= least) return value as number;
  throw new RangeError(`Cannot use ${name} ${value}: it must be ${ruleOf(spec)}`);
}

/**
 * A new adapter's options by PEFT's names, each with a value.
 *
 * @param given Options by their TypeScript names; what is undefined has its default.
 * @throws RangeError that names the option and the rule it breaks.
 */
export function optionsOf(
  { name, training: { options } }: TrainableMethod,
  given: Readonly<Record<string, unknown>>,
): Record<string, number> {
  const specs = new Map(Object.entries(options).map(([field, spec]) => [camelCase(field), { field, spec }]));
  const values = Object.fromEntries(Object.entries(options).map(([field, spec]) => [field, spec.default]));
  for (const [option, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const known = specs.get(option);
    if (!known) {
      throw new RangeError(
        `Cannot make a new ${name} adapter with option "${option}": its options are ${
          [...specs.keys()].join(", ")
        }`,
      );
    }
    values[known.field] = checkOption(option, value, known.spec);
  }
  return values;
}
