/**
 * Formats of texts in JSON schemas.
 *
 * The engine has expressions of its own, and some allow more than the format's standard: minute 60, February 30, or numbers
 * of IPv4 with leading zeros. Those formats have expressions here.
 *
 * @module
 */
const day = "(?:0[1-9]|1[0-9]|2[0-8])";

/** Years that have a February 29. */
const leapYear = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";

/** RFC 3339's full-date. */
const date = "(?:" + [
  `[0-9]{4}-(?:0[1-9]|1[0-2])-${day}`,
  "[0-9]{4}-(?:0[13-9]|1[0-2])-(?:29|30)",
  "[0-9]{4}-(?:0[13578]|1[02])-31",
  `${leapYear}-02-29`,
].join("|") + ")";

/** RFC 3339's full-time. Leap seconds are left out: which days have one is in no expression. */
const clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9]";
const time = `${clock}:[0-5][0-9](?:\\.[0-9]+)?(?:Z|[+-]${clock})`;

const byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

/** Expressions in place of the engine's; undefined where the engine's own is right. */
const expressions: ReadonlyMap<string, string | undefined> = new Map([
  ["date", date],
  ["time", time],
  ["date-time", `${date}T${time}`],
  ["duration", undefined],
  ["email", undefined],
  ["hostname", undefined],
  ["ipv4", `${byte}(?:\\.${byte}){3}`],
  ["ipv6", undefined],
  ["uuid", undefined],
  ["uri", undefined],
]);

/** The formats that are followed. */
export const formatNames: readonly string[] = [...expressions.keys()];

/** What the engine is told of a format: the format, or an expression that matches the whole text. */
export function formatForEngine(format: string): { readonly format: string } | { readonly pattern: string } {
  const expression = expressions.get(format);
  return expression === undefined ? { format } : { pattern: `^${expression}$` };
}
