/**
 * Rows changed by parameters of their adapters' own: biases, norms, embeddings and heads in a step's plan.
 *
 * @module
 */
import { embedding } from "../../kernels/embedding.ts";
import { ownBias } from "../../kernels/own_bias.ts";
import { ownEmbedding } from "../../kernels/own_embedding.ts";
import { ownEmbeddingFactors } from "../../kernels/own_embedding_factors.ts";
import { ownNorm } from "../../kernels/own_norm.ts";
import { ownOutputs } from "../../kernels/own_outputs.ts";
import { takeRows } from "../../kernels/take_rows.ts";
import type { OwnBank, ResidentTable } from "../adapters/own_bank.ts";
import type { OwnSteps, RowsOf } from "../models/graph.ts";
import { denseWeight, linearStep } from "../models/weights.ts";
import { type Plan, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { OwnLinearSteps, ProjectionScratch } from "./projection.ts";

/** The adapters of a step's rows that have parameters of their own. */
export interface OwnAdapters {
  readonly bank: OwnBank;
  /** Whole tables of those adapters. */
  readonly tables: readonly ResidentTable[];
  /** Each row's slot in the bank, uint32. */
  readonly slotsOf: (of: RowsOf) => Tensor;
  readonly scratch: ProjectionScratch;
}

/** The rows of one adapter, computed for all rows and taken. */
function taken(
  { slot }: ResidentTable,
  { y, slots, rows, dim, scratch }: {
    readonly y: Tensor;
    readonly slots: Tensor;
    readonly rows: number;
    readonly dim: number;
    readonly scratch: ProjectionScratch;
  },
  compute: (all: Tensor) => Plan,
): Plan {
  const all = scratch.of("own", y.shape);
  return [...compute(all), step(takeRows, { x: all, slots, y }, { rows, dim, slot })];
}

/** Steps by biases, norms and embeddings. */
export function ownSteps({ bank, tables, slotsOf, scratch }: OwnAdapters): OwnSteps {
  /** The number of a parameter that adapters have had their own of. */
  function changed(base: Tensor): number | undefined {
    const at = bank.numberOf(base);
    return at !== undefined && bank.most(at) > 0 ? at : undefined;
  }
  return {
    norm(weight, { x, y, rows, of, eps, centred }) {
      const at = changed(weight);
      if (at === undefined) return [];
      const { records, values, parameter, capacity } = bank.tensors(at), dim = weight.shape[0];
      const words = { rows, parameter, capacity, dim, centred: Number(centred), eps };
      return [step(ownNorm, { x, slots: slotsOf(of), records, values, y }, words)];
    },
    bias(bias, { y, rows, of }) {
      const at = changed(bias);
      return at === undefined ? [] : [biasStep(bank, at, { y, rows, slots: slotsOf(of) })];
    },
    embedding(table, { ids, y, rows, of }) {
      const at = bank.numberOf(table), [vocab, dim] = table.shape, slots = slotsOf(of);
      if (at === undefined) return [];
      const io = { y, slots, rows, dim, scratch };
      const whole = tables.filter(({ parameter }) => parameter === at).flatMap((one) =>
        taken(one, io, (all) => [step(embedding, { ids, weight: one.tensor, y: all }, { rows, dim, vocab })])
      );
      const own = bank.tensors(at), factors = bank.tensors(at, "factors");
      const words = ({ parameter, capacity }: typeof own) => ({ rows, parameter, capacity, dim });
      const { records, values } = own;
      return [
        ...whole,
        ...(bank.most(at) > 0
          ? [step(ownEmbedding, { ids, slots, records, tables: own.tables, values, y }, words(own))]
          : []),
        ...(bank.hasFactors(at)
          ? [step(ownEmbeddingFactors, { ids, slots, records, values, y }, { ...words(factors), vocab })]
          : []),
      ];
    },
  };
}

/** One bias added to columns of y. */
function biasStep(
  bank: OwnBank,
  at: number,
  { y, rows, slots, column = 0, stride }: {
    readonly y: Tensor;
    readonly rows: number;
    readonly slots: Tensor;
    readonly column?: number;
    readonly stride?: number;
  },
) {
  const { records, values, parameter, capacity } = bank.tensors(at), [out] = bank.parameters[at].shape;
  return step(ownBias, { slots, records, values, y }, {
    ...{ rows, parameter, capacity, out, stride: stride ?? out, column },
  });
}

/** Steps by weights and biases of linears. */
export function ownLinearSteps(
  { bank, tables, slotsOf, scratch }: OwnAdapters,
  of: RowsOf,
): OwnLinearSteps {
  return {
    weights({ first, count }, { x, y, rows }) {
      const at = count === 1 ? bank.headOf(first) : undefined;
      if (at === undefined) return [];
      const [out, inSize] = bank.parameters[at].shape, slots = slotsOf(of), most = bank.most(at);
      const whole = tables.filter(({ parameter }) => parameter === at).flatMap((one) =>
        taken(one, { y, slots, rows, dim: out, scratch }, (all) => {
          const sizes = { rows, in: inSize, out, accumulate: 0 };
          return [linearStep({ weight: denseWeight(one.tensor) }, { x, y: all }, sizes)];
        })
      );
      if (most === 0) return whole;
      const { records, values, tables: ids, parameter, capacity } = bank.tensors(at);
      const words = { rows, parameter, capacity, in: inSize, out, most };
      return [...whole, step(ownOutputs, { x, slots, records, tables: ids, values, y }, words)];
    },
    biases({ first, count }, { y, rows, outs }) {
      const stride = outs.reduce((sum, out) => sum + out, 0), slots = slotsOf(of);
      return Array.from({ length: count }, (_, i) => i).filter((i) => bank.most(first + i) > 0).map((i) => {
        const column = outs.slice(0, i).reduce((sum, out) => sum + out, 0);
        return biasStep(bank, first + i, { y, rows, slots, column, stride });
      });
    },
  };
}
