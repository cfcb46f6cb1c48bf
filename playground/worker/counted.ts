/**
 * A device that counts the bytes of its tensors.
 *
 * @module
 */
import type { Device, DType, Tensor } from "fourierft";

const bytesPerElement: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  uint32: 4,
  int32: 4,
};

/** A device, and the bytes that its tensors have now. */
export interface CountedDevice {
  readonly device: Device;
  bytes(): number;
}

/** Counts what is allocated and freed; what a device takes beside its tensors is not seen. */
export function counted(device: Device): CountedDevice {
  const sizes = new Map<Tensor, number>();
  let total = 0;
  const noted = (made: Tensor): Tensor => {
    const size = made.shape.reduce((product, length) => product * length, bytesPerElement[made.dtype]);
    sizes.set(made, size);
    total += size;
    return made;
  };
  return {
    bytes: () => total,
    device: {
      ...device,
      upload: (source) => noted(device.upload(source)),
      alloc: (shape, dtype) => noted(device.alloc(shape, dtype)),
      release(freed) {
        device.release(freed);
        total -= sizes.get(freed) ?? 0;
        sizes.delete(freed);
      },
    },
  };
}
