/**
 * The options that new adapters are made with: names, defaults and rules, as each method declares them.
 *
 * @module
 */
import type { Method } from "./method.ts";
import type { MethodTraining, OptionSpec, OptionValue } from "./training.ts";

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

/** An option's rule, in words. */
export function ruleOf(spec: OptionSpec): string {
  switch (spec.kind) {
    case "choice":
      return spec.choices.join(" or ");
    case "flag":
      return "true or false";
    case "names":
      return "names of linears";
    default:
      return `${spec.kind === "count" ? "a whole number" : "a number"} of ${spec.least ?? 0} or more`;
  }
}

function isAllowed(value: unknown, spec: OptionSpec): value is OptionValue {
  switch (spec.kind) {
    case "choice":
      return spec.choices.includes(value as string);
    case "flag":
      return typeof value === "boolean";
    case "names":
      return Array.isArray(value) && value.every((name) => typeof name === "string" && name !== "");
    default: {
      const known = spec.kind === "count" ? Number.isSafeInteger(value) : Number.isFinite(value);
      return known && (value as number) >= (spec.least ?? 0);
    }
  }
}

function checkOption(name: string, value: unknown, spec: OptionSpec): OptionValue {
  if (isAllowed(value, spec)) return value;
  const found = typeof value === "string" ? `"${value}"` : `${value}`;
  throw new RangeError(`Cannot use ${name} ${found}: it must be ${ruleOf(spec)}`);
}

/**
 * The learning rate of an adapter, unless told.
 *
 * @param config Fields of adapter_config.json, or options by PEFT's names; what is absent has its default.
 */
export function learningRateOf(
  { options, learningRate }: MethodTraining,
  config: Readonly<Record<string, unknown>>,
): number {
  if (typeof learningRate === "number") return learningRate;
  const values = Object.entries(options).map(([field, spec]) => {
    const value = config[field];
    return [field, isAllowed(value, spec) ? value : spec.default] as const;
  });
  return learningRate.of(Object.fromEntries(values));
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
): Record<string, OptionValue> {
  const specs = new Map(Object.entries(options).map(([field, spec]) => [camelCase(field), { field, spec }]));
  const values: Record<string, OptionValue> = Object.fromEntries(
    Object.entries(options).map(([field, spec]) => [field, spec.default]),
  );
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
