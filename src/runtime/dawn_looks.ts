/**
 * How often npm's Dawn looks for finished work.
 *
 * While a promise of its own is open, Dawn asks the global `setImmediate` for the next look at the end of each look.
 * That takes a core, and leaves a native function a look to the garbage collector. Under Deno other work of the event
 * loop has to wait: buffers that a GPU had ready after 0.1 s were seen after seconds.
 *
 * @module
 */

/** Looks without a pause; after them one waits for a timer, about a millisecond. */
const looksInARow = 16;

type Look = (...args: unknown[]) => unknown;
type SetImmediate = (look: Look, ...args: unknown[]) => unknown;

/** Dawn's look is a native function without a name; nobody else's is. */
const isDawns = (look: Look): boolean =>
  look.name === "" && Function.prototype.toString.call(look).includes("[native code]");

/** The replacement that was put in place last. */
let patient: SetImmediate | undefined;

/** Lets every 16th look of Dawn wait for a timer. Others' `setImmediate` stays what it was. */
export function lookPatiently(): void {
  const scope = globalThis as { setImmediate?: SetImmediate };
  const { setImmediate } = scope;
  if (!setImmediate || setImmediate === patient) return;
  let looks = 0;
  const spaced: SetImmediate = (look, ...args) => {
    if (!isDawns(look)) return setImmediate(look, ...args);
    looks++;
    return looks % looksInARow === 0 ? setTimeout(look, 0) : setImmediate(look);
  };
  patient = scope.setImmediate = Object.assign(spaced, setImmediate);
}
