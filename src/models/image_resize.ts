/**
 * Images resized as PIL does it (Pillow's Resample.c): integer weights of 22 bits, columns first, then rows.
 *
 * @module
 */
import type { ImageProcessing } from "./image_processing.ts";

/** An image of bytes. */
export interface Image {
  /** (height, width, 3), row-major bytes of red, green and blue. */
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

interface Filter {
  /** Pixels on either side that count, where an image is not made smaller. */
  readonly support: number;
  weight(x: number): number;
}

const sinc = (x: number): number => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);

/** By PIL's numbers; 0 takes the nearest pixel. */
const filters: Readonly<Record<number, Filter>> = {
  1: { support: 3, weight: (x) => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0 },
  2: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: {
    support: 2,
    weight(given) {
      const a = -0.5, x = Math.abs(given);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  4: { support: 0.5, weight: (x) => x > -0.5 && x <= 0.5 ? 1 : 0 },
  5: {
    support: 1,
    weight(given) {
      const x = Math.abs(given);
      return x >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x));
    },
  },
};

/** Bits of a weight after the point: a sum of 8-bit pixels stays below 2^31. */
const bits = 22;

/** What an output pixel is made of: so many input pixels from `first` on, by their weights. */
interface Taps {
  readonly first: number;
  readonly weights: Int32Array;
}

function tapsOf({ support, weight }: Filter, from: number, to: number): readonly Taps[] {
  const scale = from / to, stretch = Math.max(scale, 1), reach = support * stretch;
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(from, Math.trunc(center + reach + 0.5));
    const shares = Array.from(
      { length: end - first },
      (_, j) => weight((j + first - center + 0.5) / stretch),
    );
    const sum = shares.reduce((a, b) => a + b, 0);
    return {
      first,
      weights: Int32Array.from(shares, (share) => {
        const scaled = (sum === 0 ? share : share / sum) * 2 ** bits;
        return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      }),
    };
  });
}

/** One pass: `lines` lines of pixels, `step` bytes from pixel to pixel and `line` bytes from line to line. */
function pass(
  source: Uint8Array,
  taps: readonly Taps[],
  { lines, from, to }: {
    readonly lines: number;
    readonly from: { readonly step: number; readonly line: number };
    readonly to: { readonly step: number; readonly line: number };
  },
): Uint8Array {
  const made = new Uint8Array(3 * taps.length * lines);
  for (let l = 0; l < lines; l++) {
    taps.forEach(({ first, weights }, i) => {
      for (let c = 0; c < 3; c++) {
        let sum = 1 << (bits - 1), at = l * from.line + first * from.step + c;
        for (let j = 0; j < weights.length; j++, at += from.step) sum += source[at] * weights[j];
        made[l * to.line + i * to.step + c] = Math.max(0, Math.min(255, sum >> bits));
      }
    });
  }
  return made;
}

function nearest({ rgb, width, height }: Image, toWidth: number, toHeight: number): Uint8Array {
  const made = new Uint8Array(3 * toWidth * toHeight);
  for (let y = 0; y < toHeight; y++) {
    const row = Math.trunc((y + 0.5) * (height / toHeight));
    for (let x = 0; x < toWidth; x++) {
      const from = 3 * (row * width + Math.trunc((x + 0.5) * (width / toWidth)));
      made.set(rgb.subarray(from, from + 3), 3 * (y * toWidth + x));
    }
  }
  return made;
}

/**
 * The bytes of an image at the size that a model takes: (height, width, 3).
 *
 * @throws RangeError for bytes that are not the image's, for an image without pixels, and for one of another size where the
 * model's preprocessor_config.json has `do_resize` false.
 */
export function resizedImage(
  { rgb, width, height }: Image,
  { width: toWidth, height: toHeight, resample, resizes }: Pick<
    ImageProcessing,
    "width" | "height" | "resample" | "resizes"
  >,
): Uint8Array {
  if (!(width >= 1 && height >= 1) || rgb.length !== 3 * width * height) {
    throw new RangeError(
      `Cannot take an image of ${width} x ${height} from ${rgb.length} bytes: it needs 3 for each pixel`,
    );
  }
  if (width === toWidth && height === toHeight) return rgb;
  if (!resizes) {
    throw new RangeError(
      `Cannot take an image of ${width} x ${height}: the model takes ${toWidth} x ${toHeight}, and its ` +
        "preprocessor_config.json has do_resize false",
    );
  }
  if (resample === 0) return nearest({ rgb, width, height }, toWidth, toHeight);
  const filter = filters[resample];
  const wide = width === toWidth ? rgb : pass(rgb, tapsOf(filter, width, toWidth), {
    ...{ lines: height, from: { step: 3, line: 3 * width }, to: { step: 3, line: 3 * toWidth } },
  });
  if (height === toHeight) return wide;
  const across = { step: 3 * toWidth, line: 3 };
  return pass(wide, tapsOf(filter, height, toHeight), { lines: toWidth, from: across, to: across });
}
