// Scales of formats whose numbers need more than a scale (kernels/formats), as panels.ts has them: of four lines side by side.

/** Formats, as kernels/formats/blocks_wasm.ts numbers them. */
export const q4z: u32 = 0, nf4: u32 = 1, q4k: u32 = 2, q6k: u32 = 3;

/** How many parts of a block have scales of their own. */
export function halvesOf(kind: u32): usize {
  return kind == q6k ? 2 : 1;
}

/** Whether elements are less than their numbers times the scale. */
export function hasLess(kind: u32): bool {
  return kind == q4z || kind == q4k;
}

/** Bytes of a block's scales of four lines. */
export function scaleBytes(kind: u32): usize {
  return kind == nf4 ? 16 : 32;
}

/** The bytes of a line's words, and of its scales. */
export function lineBytes(kind: u32, inSize: usize, isScales: bool): usize {
  const blocks = (inSize + 31) >> 5, bigBlocks = (inSize + 255) >> 8;
  if (kind == q4k) return bigBlocks * (isScales ? 24 : 128);
  if (kind == q6k) return bigBlocks * (isScales ? 20 : 192);
  return blocks * (isScales ? 4 : 16);
}

/** Stores four scales, 32 bytes from one to the next. */
function storeApart(to: usize, v: v128): void {
  v128.store32_lane(to, v, 0);
  v128.store32_lane(to, v, 1, 32);
  v128.store32_lane(to, v, 2, 64);
  v128.store32_lane(to, v, 3, 96);
}

/** Eight bytes as floats, times a factor; 32 bytes apart. */
function storeBytes(to: usize, bytes: v128, factor: v128): void {
  const wide = i16x8.extend_low_i8x16_u(bytes);
  storeApart(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)), factor));
  storeApart(to + 128, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)), factor));
}

/** A line's scales. What elements are less is an eighth, for x has 8 times the sums of its blocks. */
function lineScales(kind: u32, scales: usize, blocks: usize, to: usize): void {
  let i: usize = 0;
  if (kind == q4z) {
    for (; i + 4 <= blocks; i += 4, to += 128) {
      const words = v128.load(scales + (i << 2)), zeros = v128.and(words, i32x4.splat(0x1fff));
      const scale = v128.andnot(words, i32x4.splat(0x1fff));
      storeApart(to, scale);
      storeApart(to + 16, f32x4.mul(f32x4.mul(scale, f32x4.convert_i32x4_s(zeros)), f32x4.splat(0.125)));
    }
    for (; i < blocks; i++, to += 32) {
      const word = load<u32>(scales + (i << 2)), scale = reinterpret<f32>(word & ~0x1fff);
      store<f32>(to, scale);
      store<f32>(to, scale * <f32> (word & 0x1fff) * <f32> 0.125, 16);
    }
  } else if (kind == nf4) {
    for (; i < blocks; i++, to += 16) store<f32>(to, load<f32>(scales + (i << 2)) / 16383);
  } else if (kind == q4k) {
    for (; i + 8 <= blocks; i += 8, to += 256, scales += 24) {
      storeBytes(to, v128.load64_zero(scales, 8), v128.load32_splat(scales));
      storeBytes(to + 16, v128.load64_zero(scales, 16), f32x4.splat(load<f32>(scales, 4) * <f32> 0.125));
    }
    for (; i < blocks; i++, to += 32) {
      const part = scales + (i & 7);
      store<f32>(to, load<f32>(scales) * <f32> load<u8>(part, 8));
      store<f32>(to, load<f32>(scales, 4) * <f32> load<u8>(part, 16) * <f32> 0.125, 16);
    }
  } else {
    for (; i < blocks; i++, to += 32) {
      const at = scales + (i >> 3) * 20, part = at + ((i & 7) << 1), scale = load<f32>(at);
      store<f32>(to, scale * <f32> load<i8>(part, 4));
      store<f32>(to, scale * <f32> load<i8>(part, 5), 16);
    }
  }
}

/** Scales of `count` lines (up to four), `apart` bytes from one to the next; of those that are not there, the first one's. */
export function groupScales(
  kind: u32,
  scales: usize,
  apart: usize,
  blocks: usize,
  count: usize,
  to: usize,
): void {
  for (let l: usize = 0; l < 4; l++) {
    lineScales(kind, scales + (l < count ? l * apart : 0), blocks, to + (l << 2));
  }
}
