/**
 * Words beside numbers, for people.
 *
 * @module
 */

/** Control characters but tab and line feed: a text must not steer a terminal. */
// deno-lint-ignore no-control-regex
const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** A text that is safe to show on a terminal. */
export const shownText = (text: string): string => text.replace(controls, "\ufffd");

/** A count and its noun: `1 step`, `2 steps`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Seconds as a clock has them: `9s`, `2m05s`, `1h03m`. */
export function clockText(seconds: number): string {
  const whole = Math.round(seconds),
    two = (part: number): string => String(Math.floor(part)).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${two(whole % 3600 / 60)}m`;
}

/** Bytes as megabytes (10^6), without the unit. */
export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** A rate with about three digits. */
export function rateText(perSecond: number): string {
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toPrecision(3);
}

/** What went wrong with a request; "fetch failed" has its reason in the cause. */
export function failureText({ message, cause }: Error): string {
  return cause instanceof Error && cause.message !== "" ? `${message}: ${cause.message}` : message;
}
