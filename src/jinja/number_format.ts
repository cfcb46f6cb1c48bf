/**
 * Numbers as `%` and `format` write them.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { exponent, fixed, scientific } from "./floats.ts";
import type { Run } from "./run.ts";
import { charCount } from "./truth.ts";

/** How a value is laid out. */
export interface Layout {
  readonly fill: string;
  /** `=` puts the fill between sign and digits. */
  readonly align: "<" | ">" | "^" | "=";
  readonly width: number;
}

/** A text in a field. */
export function padded(text: string, { fill, align, width }: Layout, run: Run): string {
  const missing = width - charCount(text);
  if (missing <= 0) return text;
  if (align === "=") {
    const sign = /^[-+ ]?(?:0[xXobB])?/.exec(text)![0];
    return sign + run.repeat(fill, missing) + text.slice(sign.length);
  }
  const left = align === "<" ? 0 : align === ">" ? missing : Math.floor(missing / 2);
  return run.repeat(fill, left) + text + run.repeat(fill, missing - left);
}

/** How a number is written. */
export interface NumberStyle {
  readonly type: string;
  readonly precision?: number;
  /** `+` or a space: what stands before numbers that are not negative. */
  readonly plus?: string;
  /** `#` */
  readonly isAlternate?: boolean;
}

const bases: Readonly<Record<string, readonly [number, string]>> = {
  d: [10, ""],
  i: [10, ""],
  u: [10, ""],
  b: [2, "0b"],
  o: [8, "0o"],
  x: [16, "0x"],
  X: [16, "0X"],
};

/** Whether a type letter writes whole numbers. */
export function isIntType(type: string): boolean {
  return Object.hasOwn(bases, type);
}

/** A whole number. */
export function formatInt(value: bigint, style: NumberStyle): string {
  const [base, prefix] = bases[style.type];
  const digits = (value < 0n ? -value : value).toString(base).padStart(limited(style.precision ?? 0), "0");
  const sign = value < 0n ? "-" : style.plus ?? "";
  return sign + (style.isAlternate ? prefix : "") + (style.type === "X" ? digits.toUpperCase() : digits);
}

function limited(precision: number): number {
  return precision <= 1000 ? precision : fail("a precision above 1000 is not supported");
}

/** A float, by `e`, `f`, `g` or `%`, large or small. */
export function formatFloat(value: number, style: NumberStyle): string {
  const { type, plus = "", isAlternate = false } = style;
  const isNegative = value < 0 || Object.is(value, -0);
  const text = unsigned(Math.abs(value), {
    type: type.toLowerCase(),
    isAlternate,
    precision: style.precision,
  });
  const signed = (isNegative ? "-" : plus) + text;
  return type === type.toUpperCase() && type !== "%" ? signed.toUpperCase() : signed;
}

function unsigned(value: number, { type, precision = 6, isAlternate }: NumberStyle): string {
  if (Number.isNaN(value)) return type === "%" ? "nan%" : "nan";
  if (!Number.isFinite(value)) return type === "%" ? "inf%" : "inf";
  limited(precision);
  const point = isAlternate && precision === 0 ? "." : "";
  if (type === "f") return fixed(value, precision) + point;
  if (type === "%") return `${fixed(value * 100, precision)}${point}%`;
  if (type === "e") {
    const { digits, power } = scientific(value, precision + 1);
    return `${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : point}${exponent(power)}`;
  }
  if (type !== "g") return fail(`the format "${type}" is not supported`);
  return general(value, { count: precision || 1, keepsZeros: isAlternate ?? false });
}

function general(value: number, { count, keepsZeros }: { count: number; keepsZeros: boolean }): string {
  const { digits, power } = scientific(value, count);
  const trimmed = (text: string): string =>
    keepsZeros || !text.includes(".") ? text : text.replace(/\.?0+$/, "");
  if (power >= -4 && power < count) return trimmed(fixed(value, count - 1 - power));
  return trimmed(digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits) + exponent(power);
}
