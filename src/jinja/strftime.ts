/**
 * Dates as `strftime` writes them, in the C locale.
 *
 * @module
 */
import { fail } from "./errors.ts";

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

const two = (value: number, fill = "0"): string => value.toString().padStart(2, fill);

/** Days since the year began, from 0 on. */
function dayOfYear(date: Date): number {
  const year = date.getFullYear();
  return Math.round((Date.UTC(year, date.getMonth(), date.getDate()) - Date.UTC(year, 0, 1)) / 86_400_000);
}

/** The weeks that began by a day of the week, 0 for Sunday. */
function week(date: Date, first: number): number {
  return Math.floor((dayOfYear(date) + 7 - (date.getDay() - first + 7) % 7) / 7);
}

/** The year and week of ISO 8601: those of the week's Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const weekday = (date.getDay() + 6) % 7;
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 3 - weekday);
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}

const hour12 = (date: Date): number => date.getHours() % 12 || 12;

const codes: Readonly<Record<string, (date: Date) => string>> = {
  a: (date) => days[date.getDay()].slice(0, 3),
  A: (date) => days[date.getDay()],
  b: (date) => months[date.getMonth()].slice(0, 3),
  B: (date) => months[date.getMonth()],
  c: (date) => strftime(date, "%a %b %e %H:%M:%S %Y"),
  C: (date) => two(Math.floor(date.getFullYear() / 100)),
  d: (date) => two(date.getDate()),
  D: (date) => strftime(date, "%m/%d/%y"),
  e: (date) => two(date.getDate(), " "),
  f: (date) => `${date.getMilliseconds().toString().padStart(3, "0")}000`,
  F: (date) => strftime(date, "%Y-%m-%d"),
  g: (date) => two(isoWeek(date).year % 100),
  G: (date) => isoWeek(date).year.toString(),
  h: (date) => months[date.getMonth()].slice(0, 3),
  H: (date) => two(date.getHours()),
  I: (date) => two(hour12(date)),
  j: (date) => (dayOfYear(date) + 1).toString().padStart(3, "0"),
  k: (date) => two(date.getHours(), " "),
  l: (date) => two(hour12(date), " "),
  m: (date) => two(date.getMonth() + 1),
  M: (date) => two(date.getMinutes()),
  n: () => "\n",
  p: (date) => date.getHours() < 12 ? "AM" : "PM",
  P: (date) => date.getHours() < 12 ? "am" : "pm",
  r: (date) => strftime(date, "%I:%M:%S %p"),
  R: (date) => strftime(date, "%H:%M"),
  s: (date) => Math.floor(date.getTime() / 1000).toString(),
  S: (date) => two(date.getSeconds()),
  t: () => "\t",
  T: (date) => strftime(date, "%H:%M:%S"),
  u: (date) => (date.getDay() || 7).toString(),
  U: (date) => two(week(date, 0)),
  V: (date) => two(isoWeek(date).week),
  w: (date) => date.getDay().toString(),
  W: (date) => two(week(date, 1)),
  x: (date) => strftime(date, "%m/%d/%y"),
  X: (date) => strftime(date, "%H:%M:%S"),
  y: (date) => two(date.getFullYear() % 100),
  Y: (date) => date.getFullYear().toString(),
  // The date of a template knows no zone.
  z: () => "",
  Z: () => "",
  "%": () => "%",
};

/** A date as text, by Python's codes and those of glibc, in local time; `%-d` leaves out what fills `%d` up. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([^]?)/g, (all, flag: string, code: string) => {
    if (!Object.hasOwn(codes, code)) return fail(`the code "${all}" of strftime_now is not supported`);
    const text = codes[code](date);
    return flag === "" ? text : text.replace(/^[0 ]+(?=.)/, "");
  });
}
