/**
 * Contests between alternatives: ways to one result, and the times of a device choose between them.
 *
 * The clock is the caller's. A contest is held when its key is first asked for, and its answer is kept.
 *
 * @module
 */

/** An alternative must be faster than the usual one by this factor, or the clock may be the cause. */
const clearly = 0.97;

/**
 * The fastest of alternatives if it is clearly faster than the usual one, which is the first; else the usual one.
 *
 * @param times Of each alternative, in one unit, none below 0; infinite for an alternative that cannot run.
 * @throws Error when no alternative can run.
 */
export function winner<T>(alternatives: readonly T[], times: readonly number[]): T {
  if (!times.some(Number.isFinite)) throw new Error("Cannot choose an alternative: none could be timed");
  const best = times.indexOf(Math.min(...times));
  return times[best] < clearly * times[0] ? alternatives[best] : alternatives[0];
}

/** How a contest is held. */
export interface Contest<T> {
  /** The answer of a contest that fails: a device that cannot time the alternatives may yet run this one. */
  readonly usual: T;
  readonly hold: () => Promise<T>;
  /** Changes when the things that are timed are replaced; absent where they never are. */
  readonly revision?: () => number;
}

/** The answers of contests, by key. */
export class Contests<T> {
  readonly #answers = new Map<string, Promise<T>>();

  /**
   * The answer of a key, which never rejects. All who ask while the contest is under way share it. An answer that was
   * found across a change of revision is given to them and not kept.
   */
  answer(key: string, contest: Contest<T>): Promise<T> {
    let answer = this.#answers.get(key);
    if (!answer) this.#answers.set(key, answer = this.#hold(key, contest));
    return answer;
  }

  async #hold(key: string, { usual, hold, revision = () => 0 }: Contest<T>): Promise<T> {
    const before = revision();
    try {
      return await hold();
    } catch {
      return usual;
    } finally {
      if (revision() !== before) this.#answers.delete(key);
    }
  }
}
