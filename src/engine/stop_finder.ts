/**
 * Where a text ends: at the stop string that is completed first.
 *
 * @module
 */

/** Length of the longest end of `text` that begins `stop` and is shorter than it. */
function heldBy(stop: string, text: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}

/** Text that can be given out. */
export interface Found {
  readonly text: string;
  /** The stop string that follows the text; then nothing may be pushed any more. */
  readonly stop?: string;
}

/**
 * Text up to the stop string that is completed first, however the text is cut into pieces.
 *
 * Text that may be the beginning of a stop string is held back. Of stop strings completed by the same character the
 * longest counts.
 */
export class StopFinder {
  #held = "";

  /** @param stops None of them empty. */
  constructor(private readonly stops: readonly string[]) {}

  /** @param mayStop Whether a stop string that the piece completes counts; of those that it begins all do. */
  push(piece: string, mayStop = true): Found {
    if (this.stops.length === 0) return { text: piece };
    const text = this.#held + piece;
    let first: { at: number; end: number; stop: string } | undefined;
    for (const stop of mayStop ? this.stops : []) {
      const at = text.indexOf(stop);
      const end = at + stop.length;
      if (at < 0) continue;
      if (!first || end < first.end || (end === first.end && at < first.at)) first = { at, end, stop };
    }
    if (first) return { text: text.slice(0, first.at), stop: first.stop };
    const held = Math.max(0, ...this.stops.map((stop) => heldBy(stop, text)));
    this.#held = text.slice(text.length - held);
    return { text: text.slice(0, text.length - held) };
  }

  /** What was held back, when no text follows. */
  end(): string {
    return this.#held;
  }
}
