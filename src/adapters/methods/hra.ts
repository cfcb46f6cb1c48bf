/**
 * HRA (Yuan et al. 2024, arXiv 2405.17484) as PEFT writes it: x is reflected by trained vectors, y = (x H) W^T + b with
 * H = H_r ... H_1 and H_i = I - 2 u_i u_i^T. So x meets the last column of `hra_u` first.
 *
 * With `apply_GS` the vectors are made orthogonal first, and their order says nothing.
 *
 * H is I less a matrix of rank r, so that dW is W times that matrix: factors, which are made ready with W. Factors leave
 * the linears that share x one product.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { flagField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, Method, ReadyIo } from "../method.ts";
import { takingScales } from "../scaled.ts";
import { baseProducts } from "./base_products.ts";
import { factorsStep } from "./lora.ts";
import { checkMostRank, packedFactors, reachOf } from "./low_rank.ts";
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

/**
 * A of H = I - V A with the vectors v_1, v_2, ... (columns of V, the first meets x first): row i is
 * 2 (v_i - sum of (v_i . v_j) a_j over j < i).
 */
function reflectionFactor(vectors: readonly Float64Array[]): Float64Array[] {
  const rows: Float64Array[] = [];
  for (const vector of vectors) {
    const row = vector.slice();
    rows.forEach((earlier, j) => {
      const along = dot(vector, vectors[j]);
      for (let i = 0; i < row.length; i++) row[i] -= along * earlier[i];
    });
    rows.push(row.map((value) => 2 * value));
  }
  return rows;
}

/** dW = -(W V) A. */
async function factorsOf(
  vectors: readonly Float64Array[],
  io: ReadyIo,
): Promise<{ readonly a: Float32Array; readonly b: Float32Array }> {
  const count = vectors.length, inSize = vectors[0].length;
  const flat = (rows: readonly Float64Array[]): Float32Array => {
    const all = new Float32Array(count * inSize);
    rows.forEach((row, i) => all.set(row, i * inSize));
    return all;
  };
  const products = await baseProducts(io, flat(vectors), count);
  const out = products.length / count;
  const b = new Float32Array(out * count);
  for (let o = 0; o < out; o++) for (let r = 0; r < count; r++) b[o * count + r] = -products[r * out + o];
  return { a: flat(reflectionFactor(vectors)), b };
}

function hraModule(
  { vectors, applyGs }: { readonly vectors: readonly Float64Array[]; readonly applyGs: boolean },
  factors?: { readonly a: Float32Array; readonly b: Float32Array },
): AdapterModule {
  const count = vectors.length, inSize = vectors[0].length;
  const module: AdapterModule = {
    parameters: count * inSize,
    summary: `r = ${count}${applyGs ? ", orthogonal" : ""}`,
    check(path, shape) {
      checkMostRank(path, count);
      if (shape.in === inSize) return;
      throw new RangeError(
        `Cannot use module "${path}": it reflects ${inSize} inputs, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    ready: async (io) => hraModule({ vectors, applyGs }, await factorsOf(vectors, io)),
    pack() {
      if (!factors) {
        throw new TypeError("Cannot use an HRA module before it was made ready with its base's weight");
      }
      return { values: packedFactors({ ...factors, rank: count }), count, scale: 1 };
    },
  };
  if (!factors) return module;
  const sizes = { rank: count, in: inSize, out: factors.b.length / count, scale: 1 };
  return takingScales(module, () => reachOf({ ...factors, ...sizes }));
}

function moduleOf(u: ModuleTensor, applyGs: boolean): AdapterModule {
  if (u.shape.length !== 2 || u.values.length === 0) throw shapeError(u, "(in, r) with r > 0");
  return hraModule({ vectors: unitColumns(u, applyGs).reverse(), applyGs });
}

/** See the module's documentation. */
export const hra: Method = {
  name: "HRA",
  peftType: "HRA",
  facts: {
    tensors: ["hra_u (in, r)"],
    formula: "y = W H x + bias, H = product of I - 2 u u^T for unit vectors u",
    cost: "r (in + out)",
    numbers: "r (in + out)",
    refused: "columns of zeros; with `apply_GS` columns that are sums of those before",
  },
  checkConfig(config) {
    refuseUnknown(config, {
      known: [
        "apply_GS",
        "init_weights",
        "r", // the tensors say it
      ],
    });
    flagField(config, "apply_GS");
  },
  read(files) {
    this.checkConfig(files.config);
    const applyGs = flagField(files.config, "apply_GS");
    const modules = tensorsByModule(files, { method: "HRA", own: { hra_u: "unchecked" } });
    return new Map(modules.map((one) => [one.path, moduleOf(one.tensor("hra_u"), applyGs)]));
  },
  takesScale: true,
  beside: factorsStep,
};
