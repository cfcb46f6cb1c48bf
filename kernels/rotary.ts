/**
 * What the rotary kernels share.
 *
 * @module
 */

/** Refuses sizes that the rotary kernels do not hold for. */
export function checkRotary(headDim: number, rotaryDim: number): void {
  if (headDim % 2 !== 0 || headDim === 0) {
    throw new RangeError(`Cannot rotate heads of ${headDim}: the size must be even and positive`);
  }
  if (rotaryDim % 2 !== 0 || rotaryDim < 1 || rotaryDim > headDim) {
    throw new RangeError(
      `Cannot rotate ${rotaryDim} elements of heads of ${headDim}: the number must be even, positive and at most that`,
    );
  }
}
