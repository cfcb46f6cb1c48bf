/**
 * What plans of whole sequences work in: tensors for as many rows as their largest batch has.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { ProjectionIo, Value } from "../models/graph.ts";
import { partOf, type Projection } from "../models/projection.ts";
import type { WholeTensors } from "../models/whole_plan.ts";
import { elements, type Tensor, tensor } from "../tensor.ts";
import type { TrainStep } from "./backward.ts";
import { projectionSteps, type Trained } from "./projection.ts";

/** What is trained, and where its numbers are. */
export interface TrainedSetup {
  /** By the linear's number in `model.linears`. */
  readonly trained: ReadonlyMap<number, Trained>;
  /** All trained numbers and their gradients, float32. */
  readonly params: Tensor;
  readonly gradients: Tensor;
}

/** See the module's documentation. */
export class Working {
  readonly #made: Tensor[] = [];
  readonly #slots: Tensor;
  readonly #scratches = new Map<string, Tensor>();

  /** @param maxRows Rows of the largest batch. */
  constructor(private readonly device: Device, private readonly maxRows: number) {
    this.#slots = device.upload(tensor(new Uint32Array(maxRows)));
    this.#made.push(this.#slots);
  }

  /** A tensor that lives as long as this. */
  alloc(shape: readonly number[], dtype: "float32" | "uint32"): Tensor {
    const made = this.device.alloc(shape, dtype);
    this.#made.push(made);
    return made;
  }

  /** The same tensor for each name and number of elements: what linears that are trained work in. */
  scratch(name: string, shape: readonly number[]): Tensor {
    const key = `${name} ${elements(shape)}`, known = this.#scratches.get(key);
    const made = known ?? this.alloc(shape, "float32");
    this.#scratches.set(key, made);
    return made;
  }

  /** (maxRows, width), float32. */
  activation(width: number): Tensor {
    return this.alloc([this.maxRows, width], "float32");
  }

  /** What `wholeSteps` is told, for training by batches of `rows` rows. */
  options(
    { rows, inputs, tensor }: {
      readonly rows: number;
      readonly inputs: WholeTensors;
      readonly tensor: (value: Value) => Tensor;
    },
    { trained, params, gradients }: TrainedSetup,
  ) {
    // Batches of fewer rows have the scratch of the largest.
    const scratch = (name: string, [first, ...rest]: readonly number[]): Tensor =>
      this.scratch(name, [first === rows ? this.maxRows : first, ...rest]);
    return {
      rows,
      inputs,
      tensor,
      project: (projection: Projection, index: number, { accumulate, ...io }: ProjectionIo): TrainStep[] => {
        const { shape: { in: inSize }, outs, linears: { first } } = projection;
        return projectionSteps(
          { weights: partOf(projection, index), shape: { out: outs[index], in: inSize } },
          { ...io, accumulate: accumulate !== 0 },
          trained.get(first + index),
          { slots: this.#slots, params, gradients, scratch },
        );
      },
    };
  }

  release(): void {
    for (const t of this.#made) this.device.release(t);
  }
}
