// Four float32 at a time: what several kernels do with a vector.

/** The sum of a vector's lanes. */
export function sum(v: v128): f32 {
  const pairs = f32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The sums of four vectors' lanes, in one vector. */
export function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(ab, cd, 0, 1, 4, 5), i32x4.shuffle(ab, cd, 2, 3, 6, 7));
}

/** The sums of four vectors of integers, in one vector. */
export function wholeSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return i32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

/** The largest of a vector's lanes. */
export function largest(v: v128): f32 {
  const pairs = f32x4.max(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}

/** a + b c: rounded once in the module with relaxed SIMD where the processor can, else twice. */
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(b, c, a);
  return f32x4.add(a, f32x4.mul(b, c));
}

/** a - b c: rounded as `multiplyAdd`. */
export function multiplySubtract(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(b, c, a);
  return f32x4.sub(a, f32x4.mul(b, c));
}

/** Nothing, which no compiler knows: a memory has fewer than 2^31 pages. */
const nothing: i32 = memory.size() >> 31;

/** A number in each lane, in a global: engines make a vector that they know to be constant anew at each use. */
export function kept(number: f32): v128 {
  return i32x4.splat(reinterpret<i32>(number) + nothing);
}

const lowestPower = kept(-87.3), highestPower = kept(88.3), inverseOfLog2 = kept(1.4426950408889634);
/** 1.5 * 2^23: a float that is added to it loses its fraction, and its integer is in the lowest bits. */
const rounder = kept(12582912);
/** ln 2 in two parts: the first has so few bits that its multiples are exact. */
const highOfLog2 = kept(0.693359375), lowOfLog2 = kept(2.1219444005469057e-4);
/** Terms of the series of e^r. */
const seventh = kept(1.0 / 5040.0),
  sixth = kept(1.0 / 720.0),
  fifth = kept(1.0 / 120.0),
  fourth = kept(1.0 / 24.0);
const third = kept(1.0 / 6.0), one = kept(1);
export const half = kept(0.5);

/**
 * e^x of each lane within 2e-7 of its value; 0 below -87.3, where float32 has no normal numbers, and as for 88.3 above
 * that. x = n ln 2 + r with |r| <= 0.347, where eight terms of the series leave 6e-9.
 */
export function exp(x: v128): v128 {
  const bounded = f32x4.min(f32x4.max(x, lowestPower), highestPower);
  const shifted = f32x4.add(f32x4.mul(bounded, inverseOfLog2), rounder), n = f32x4.sub(shifted, rounder);
  const r = f32x4.add(f32x4.sub(bounded, f32x4.mul(n, highOfLog2)), f32x4.mul(n, lowOfLog2));
  let p = multiplyAdd(sixth, seventh, r);
  p = multiplyAdd(fifth, p, r);
  p = multiplyAdd(fourth, p, r);
  p = multiplyAdd(third, p, r);
  p = multiplyAdd(half, p, r);
  p = multiplyAdd(one, p, r);
  p = multiplyAdd(one, p, r);
  // The bits of 2^n are those of 1, and n more in the exponent.
  const power = i32x4.add(i32x4.shl(shifted, 23), one);
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, lowestPower));
}

/**
 * The natural logarithm of a normal number, within float64's last bits. AssemblyScript's own reads tables from the memory,
 * which tensors fill. x = m 2^n with m from 0.7 to 1.42, and ln m = 2 artanh s with |s| <= 0.172: ten terms leave 1e-17.
 */
export function log(x: f64): f64 {
  const bits = reinterpret<i64>(x) - 0x3fe6a09e667f3bcd, n = bits >> 52;
  const m = reinterpret<f64>(reinterpret<i64>(x) - (n << 52)), s = (m - 1.0) / (m + 1.0), square = s * s;
  let sum: f64 = 0;
  for (let k: f64 = 19; k > 0; k -= 2) sum = sum * square + 1.0 / k;
  return 2.0 * s * sum + <f64> n * 0.6931471805599453;
}

/** Elements `at`, at + 1, ... as a vector, 0 past `count`: the end of a row whose length four does not divide. */
export function loadTail(from: usize, count: usize): v128 {
  let v = v128.load32_zero(from);
  if (count > 1) v = v128.load32_lane(from + 4, v, 1);
  if (count > 2) v = v128.load32_lane(from + 8, v, 2);
  return v;
}

/** Stores the first `count` (1 to 3) lanes. */
export function storeTail(to: usize, v: v128, count: usize): void {
  v128.store32_lane(to, v, 0);
  if (count > 1) v128.store32_lane(to + 4, v, 1);
  if (count > 2) v128.store32_lane(to + 8, v, 2);
}
