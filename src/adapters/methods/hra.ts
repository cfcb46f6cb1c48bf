/**
 * HRA (Yuan et al. 2024, arXiv 2405.17484) as PEFT writes it: x is reflected by trained vectors, y = (x H) W^T + b with
 * H = H_r ... H_1 and H_i = I - 2 u_i u_i^T. So x meets the last column of `hra_u` first.
 *
 * With `apply_GS` the vectors are made orthogonal first, and their order says nothing.
 *
 * @module
 */
import { reflect } from "../../../kernels/reflect.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { flagField, refusals, refuseUnknown } from "../fields.ts";
import type { AdapterModule, Method } from "../method.ts";
import { type ModuleTensor, shapeError, tensorsByModule } from "./module_tensors.ts";

/** Gram-Schmidt takes from a column its parts along earlier columns. A column that keeps less than this is dependent. */
const leastLeft = 1e-6;

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Takes the parts along unit vectors out of a column, one after the other. */
function orthogonal(column: Float64Array, to: readonly Float64Array[]): void {
  for (const unit of to) {
    const along = dot(unit, column);
    for (let i = 0; i < column.length; i++) column[i] -= along * unit[i];
  }
}

/** The columns as unit vectors; PEFT divides by zero where a column has no direction. */
function unitColumns(
  { name, shape: [inSize, count], values }: ModuleTensor,
  applyGs: boolean,
): Float64Array[] {
  const units: Float64Array[] = [];
  for (let c = 0; c < count; c++) {
    const column = Float64Array.from({ length: inSize }, (_, i) => values[i * count + c]);
    const length = Math.sqrt(dot(column, column));
    if (applyGs) orthogonal(column, units);
    const left = Math.sqrt(dot(column, column));
    if (length === 0 || left < leastLeft * length) {
      throw new ConfigError(
        `Cannot read adapter tensor "${name}": column ${c} ${
          length === 0 ? "is zero" : `is a sum of the columns before it, "apply_GS" leaves none of it`
        }`,
      );
    }
    units.push(column.map((value) => value / left));
  }
  return units;
}

function hraModule(u: ModuleTensor, applyGs: boolean): AdapterModule {
  if (u.shape.length !== 2 || u.values.length === 0) throw shapeError(u, "(in, r) with r > 0");
  const [inSize, count] = u.shape;
  const vectors = new Float32Array(count * inSize);
  for (const [i, unit] of unitColumns(u, applyGs).reverse().entries()) vectors.set(unit, i * inSize);
  return {
    parameters: vectors.length,
    summary: `r = ${count}${applyGs ? ", orthogonal" : ""}`,
    check(path, shape) {
      if (shape.in === inSize) return;
      throw new RangeError(
        `Cannot use module "${path}": it reflects ${inSize} inputs, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    pack: () => ({ values: vectors, count, scale: 1 }),
  };
}

/** See the module's documentation. */
export const hra: Method = {
  name: "HRA",
  peftType: "HRA",
  facts: {
    tensors: ["hra_u (in, r)"],
    formula: "y = W H x + bias, H = product of I - 2 u u^T for unit vectors u",
    cost: "2 r in",
    numbers: "r in",
    refused: "columns of zeros; with `apply_GS` columns that are sums of those before",
  },
  checkConfig(config) {
    refuseUnknown(config, {
      known: [
        "apply_GS",
        "init_weights",
        "r", // the tensors say it
      ],
      reasons: refusals,
    });
    flagField(config, "apply_GS");
  },
  read(files) {
    this.checkConfig(files.config);
    const applyGs = flagField(files.config, "apply_GS");
    const modules = tensorsByModule(files, { method: "HRA", own: { hra_u: "any" } });
    return new Map(modules.map((one) => [one.path, hraModule(one.tensor("hra_u"), applyGs)]));
  },
  before: ({ x, slots, records, values, rows, in: inSize, linear, capacity }) =>
    step(reflect, { slots, records, values, x }, { rows, in: inSize, linear, capacity }),
};
