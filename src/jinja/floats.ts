/**
 * Decimal digits of floats, as Python writes them.
 *
 * @module
 */

/** A float as a ratio of whole numbers: exact. */
function ratio(value: number): { top: bigint; bottom: bigint } {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(value));
  const bits = view.getBigUint64(0);
  const exponent = Number(bits >> 52n);
  const fraction = bits & 0xfffffffffffffn;
  const mantissa = exponent === 0 ? fraction : fraction | 0x10000000000000n;
  const power = Math.max(exponent, 1) - 1075;
  return power >= 0 ? { top: mantissa << BigInt(power), bottom: 1n } : {
    top: mantissa,
    bottom: 1n << BigInt(-power),
  };
}

/** `top / bottom` to the nearest whole number, halves to the even one. */
function roundHalfEven(top: bigint, bottom: bigint): bigint {
  const whole = top / bottom;
  const twice = 2n * (top - whole * bottom);
  const isUp = twice > bottom || (twice === bottom && whole % 2n === 1n);
  return isUp ? whole + 1n : whole;
}

const sign = (value: number): string => value < 0 || Object.is(value, -0) ? "-" : "";

/** A finite float with `places` digits after the point, rounded from its exact value. */
export function fixed(value: number, places: number): string {
  const { top, bottom } = ratio(value);
  const digits = roundHalfEven(top * 10n ** BigInt(places), bottom).toString().padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  return sign(value) + whole + (places > 0 ? `.${digits.slice(digits.length - places)}` : "");
}

/** A finite float rounded to `places` digits after the point; before it where they are negative. */
export function rounded(value: number, places: number): number {
  if (places >= 0) return places > 323 ? value : Number(fixed(value, places));
  if (places < -308) return 0 * value;
  const { top, bottom } = ratio(value);
  const unit = 10n ** BigInt(-places);
  return Number(sign(value) + (roundHalfEven(top, bottom * unit) * unit).toString());
}

/** The digits and the power of ten of a finite float, rounded to `count` digits: `d.ddd` times 10 to the power. */
export function scientific(value: number, count: number): { digits: string; power: number } {
  if (value === 0) return { digits: "0".repeat(count), power: 0 };
  const { top, bottom } = ratio(value);
  const guess = Number(Math.abs(value).toExponential(20).split("e")[1]);
  for (let power = guess - 1;; power++) {
    const shift = count - 1 - power;
    const scaled = shift >= 0
      ? roundHalfEven(top * 10n ** BigInt(shift), bottom)
      : roundHalfEven(top, bottom * 10n ** BigInt(-shift));
    const digits = scaled.toString();
    if (digits.length <= count) return { digits, power };
  }
}

/** `e+05`, at least two digits. */
export function exponent(power: number): string {
  return `e${power < 0 ? "-" : "+"}${Math.abs(power).toString().padStart(2, "0")}`;
}

/** `repr` of a float: the shortest digits that read back the same. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  const [mantissa, power] = Math.abs(value).toExponential().split("e");
  const digits = mantissa.replace(".", ""), at = Number(power);
  if (at < -4 || at >= 16) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${sign(value)}${digits[0]}${rest}${exponent(at)}`;
  }
  if (at < 0) return `${sign(value)}0.${"0".repeat(-at - 1)}${digits}`;
  const whole = digits.slice(0, at + 1).padEnd(at + 1, "0");
  return `${sign(value)}${whole}.${digits.slice(at + 1) || "0"}`;
}

const floatPattern = /^[+-]?(?:(?:\d+(?:_\d+)*)?\.?(?:\d+(?:_\d+)*)?(?:e[+-]?\d+(?:_\d+)*)?)$/i;

/** The number that `float()` reads from a text without white space around it; nothing where it is no number. */
export function parseFloatText(text: string): number | undefined {
  const word = /^([+-]?)(inf|infinity|nan)$/i.exec(text);
  if (word) return word[2].toLowerCase() === "nan" ? NaN : word[1] === "-" ? -Infinity : Infinity;
  if (!/\d/.test(text) || !floatPattern.test(text) || !/^[+-]?\.?\d/.test(text)) return undefined;
  return Number(text.replaceAll("_", ""));
}

const digitsOfBase = "0123456789abcdefghijklmnopqrstuvwxyz";
const prefixes: Readonly<Record<string, number>> = { "0b": 2, "0o": 8, "0x": 16 };

/** The number that `int()` reads from a text without white space around it, with a base; nothing where it is no number. */
export function parseIntText(text: string, base: number): bigint | undefined {
  const isNegative = text.startsWith("-");
  let digits = text.replace(/^[+-]/, "").toLowerCase();
  const prefix = prefixes[digits.slice(0, 2)];
  if (prefix !== undefined && (prefix === base || base === 0)) {
    digits = digits.slice(2).replace(/^_/, "");
    return parseDigits(digits, { base: prefix, isNegative });
  }
  if (base === 0 && /^0[0_]*[1-9]/.test(digits)) return undefined;
  return parseDigits(digits, { base: base === 0 ? 10 : base, isNegative });
}

function parseDigits(
  text: string,
  { base, isNegative }: { base: number; isNegative: boolean },
): bigint | undefined {
  if (!/^[0-9a-z]+(?:_[0-9a-z]+)*$/.test(text) || text.length > 4300) return undefined;
  let value = 0n;
  for (const char of text.replaceAll("_", "")) {
    const digit = digitsOfBase.indexOf(char);
    if (digit >= base) return undefined;
    value = value * BigInt(base) + BigInt(digit);
  }
  return isNegative ? -value : value;
}
