/**
 * A forward over whole sequences, its losses and its backward as plans, for batches of any number of rows up to a most.
 *
 * Activations are kept for one segment of layers at a time; others keep only what enters them and are run again before
 * their backward. With segments of sqrt(layers) memory grows with the square root of the depth.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Value } from "../models/graph.ts";
import type { LoadedModel } from "../models/model.ts";
import { wholeSteps, type WholeTensors } from "../models/whole_plan.ts";
import type { Plan, Step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { placeActivations, type Segment, segmentsOf } from "./activations.ts";
import { backward, Tape, type TrainStep } from "./backward.ts";
import type { OwnForward } from "./own_steps.ts";
import type { TrainedSetup, Working } from "./working.ts";

/** Where a forward's last values are, for a batch of so many rows. */
export interface GoalIo {
  readonly rows: number;
  tensor(value: Value): Tensor;
}

/** How a forward's last values become losses. */
export interface Goal {
  /** The losses alone. */
  evaluate(io: GoalIo): Plan;
  /** The losses, the gradient of their sum by the values that it reads, on the tape, and by its own parameters. */
  train(io: GoalIo, tape: Tape): Plan;
}

/** What the plans are built from. */
export interface ReversibleSetup extends TrainedSetup {
  readonly device: Device;
  readonly model: Pick<LoadedModel, "graph" | "config">;
  readonly working: Working;
  readonly inputs: WholeTensors;
  readonly goal: Goal;
  /** Layers whose activations are kept at once; all of them: nothing is computed twice. */
  readonly layersPerSegment: number;
  /** Norms and embeddings that are trained. */
  readonly own?: OwnForward;
}

/**
 * The steps before the layers, for a backward that ends in an embedding. A step that reads nothing which they make looks up a
 * table that stays as it is.
 */
function reversed(before: readonly TrainStep[]): TrainStep[] {
  const made = new Set<Tensor>();
  return before.map((one) => {
    const { y, ...reads } = one.forward.buffers, isFirst = !Object.values(reads).some((t) => made.has(t));
    made.add(y);
    return isFirst && !one.backward ? { ...one, backward: () => [] } : one;
  });
}

/** Plans of batches. */
export interface ReversiblePlans {
  /** Losses of a batch of so many rows. */
  evaluate(rows: number): Plan;
  /** Also adds to the gradients, of the sum of the losses. */
  train(rows: number): Plan;
  /** Frees the activations' gradients. */
  release(): void;
}

/** Builds the plans, and allocates what they work in. */
export function reversiblePlans(
  { device, model: { config, graph }, working, inputs, goal, layersPerSegment, own, ...trained }:
    ReversibleSetup,
): ReversiblePlans {
  const parts = segmentsOf(graph, Math.min(layersPerSegment, config.layers));
  const tensors = placeActivations(parts, (width) => working.activation(width));
  const tape = new Tape(device);

  function forwardOf(rows: number) {
    const tensor = (value: Value): Tensor => tensors.get(value)!;
    const options = working.options({ rows, inputs, tensor }, trained);
    const stepsOf = (operations: Segment): TrainStep[] => {
      const steps = wholeSteps(operations, options);
      return own ? own.steps(steps) : steps;
    };
    const before = stepsOf(parts.before), segments = parts.segments.map(stepsOf);
    own?.check();
    const all = [before, ...segments].flatMap((steps) => steps.map(({ forward }) => forward));
    return { forward: [...own?.before ?? [], ...all], before, segments, io: { rows, tensor } };
  }

  return {
    evaluate(rows) {
      const { forward, io } = forwardOf(rows);
      return [...forward, ...goal.evaluate(io)];
    },
    train(rows) {
      const { forward, before, segments, io } = forwardOf(rows);
      const steps: Step[] = [...forward, ...goal.train(io, tape)];
      for (let s = segments.length - 1; s >= 0; s--) {
        const again = s === segments.length - 1 ? [] : segments[s].map(({ forward }) => forward);
        steps.push(...again, ...backward(segments[s], tape));
      }
      if (own) {
        steps.push(...before.map(({ forward }) => forward), ...backward(reversed(before), tape));
      }
      tape.clear();
      return steps;
    },
    release: () => tape.release(),
  };
}
