/**
 * Numbers as people read them.
 *
 * @module
 */

/** Bytes in decimal units. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes, at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${at === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[at]}`;
}

/** A part of 1 in percent. */
export const percentText = (part: number): string =>
  `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;

/** Milliseconds, or seconds where there are many. */
export const millisecondsText = (ms: number): string =>
  ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;

/** Seconds as hours, minutes and seconds, the largest two. */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
