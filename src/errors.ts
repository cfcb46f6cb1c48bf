/**
 * Error classes that a caller acts on. Sizes are RangeErrors, element types TypeErrors; these are the rest.
 *
 * @module
 */

/** A model or adapter folder that breaks a rule: the message names the file, the field or tensor, and the rule. */
export class ConfigError extends SyntaxError {
  override readonly name = "ConfigError";
}

/** A stored adapter that breaks a rule: the message names the adapter, too. */
export class BrokenAdapterError extends ConfigError {
  /** @param fault What its files break; the error's `cause`. */
  constructor(adapter: string, readonly fault: Error) {
    super(`Cannot use adapter ${JSON.stringify(adapter)}: ${fault.message}`, { cause: fault });
  }
}

/** No model, adapter or module of that name. */
export class NotFoundError extends Error {
  override readonly name = "NotFoundError";
}

/** Adapters that cannot be added up, or a scale that none can have: the message names the adapter and the rule. */
export class CombinationError extends RangeError {
  override readonly name = "CombinationError";
}

/** An adapter is served by that name already, and was not to be replaced. */
export class NameTakenError extends Error {
  override readonly name = "NameTakenError";
}

/** More work than the queue takes: try again later. */
export class OverloadedError extends Error {
  override readonly name = "OverloadedError";
}

/** The place where adapters are stored cannot be asked now: try again later. `cause` has the driver's own error. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** A step whose numbers overflow: an adapter's are too large for float32, or a model's. */
export class NonFiniteError extends ConfigError {}

/** A rule for a text that cannot be followed: the message names the place and why. */
export class GrammarError extends RangeError {
  override readonly name = "GrammarError";
}
