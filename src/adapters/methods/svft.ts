/**
 * SVFT (Lingam et al. 2024, arXiv 2405.19597): dW = sigma(gate) U M V^T with the singular vectors of W, and a sparse M that is
 * trained. M is a band (`off_diag` 0: a diagonal), or has entries at places that the file says.
 *
 * - The authors' tensors hold U, V and the singular values. Files of this package hold M and check numbers: U and V are made of
 *   the base's weight, in float64 on the host.
 * - U and V are kept once for all adapters of a base that share them.
 * - `rank` also drops the other directions of W: an adapter has entries of -s for them.
 *
 * The authors' code keeps no adapter folders: `peft_type` and the check numbers are this package's.
 *
 * @module
 */
import { svftLinear } from "../../../kernels/svft_linear.ts";
import { step } from "../../plan.ts";
import type { AdapterModule, BaseLinear, LinearShape, Method, ReadyIo } from "../method.ts";
import { combinedSvft } from "./svft_combined.ts";
import { checkGaps, checkNumbers, fileBasis, ownBasis, signsOf } from "./svft_basis.ts";
import { indexName, type Setting, settingOf, type SvftFile, svftFiles } from "./svft_file.ts";
import { readyModule, type SvftModule, type SvftNumbers } from "./svft_module.ts";
import { band, bandCount, type Places } from "./svft_places.ts";

/** Multiplications of a decomposition, m n n of a weight: a host works on so many for minutes. */
const mostWork = 2 ** 38;

/** Rows of M for a linear. */
function sizeOf(
  { factors, setting: { rank = Infinity } }: SvftFile,
  { out, in: inSize }: LinearShape,
): number {
  return factors?.n ?? Math.min(rank, out, inSize);
}

function checkShape(file: SvftFile, path: string, shape: LinearShape): void {
  const { factors, check, s, places, setting } = file, n = sizeOf(file, shape), { out, in: inSize } = shape;
  const cannot = (why: string): never => {
    throw new RangeError(`Cannot use module "${path}": ${why}, the weight is (${out}, ${inSize})`);
  };
  if (factors && (factors.out !== out || factors.in !== inSize)) {
    cannot(`its u and v are of a (${factors.out}, ${factors.in}) weight`);
  }
  if (check && check.length !== 2 * n) {
    cannot(`it has check numbers of ${check.length / 2} pairs, not of ${n}`);
  }
  if (!places && s.length !== bandCount(n, setting.offDiag)) {
    cannot(
      `a band of "off_diag" = ${setting.offDiag} has ${
        bandCount(n, setting.offDiag)
      } entries, not ${s.length}`,
    );
  }
  const isPast = (index: number): boolean => index >= n;
  const past = places && (places.rows.find(isPast) ?? places.columns.find(isPast));
  if (past !== undefined) cannot(`an entry is at ${past}, past the ${n} rows and columns of M`);
  const small = Math.min(out, inSize), work = small * small * Math.max(out, inSize);
  if (work > mostWork && (!factors || factors.n < small)) {
    cannot(
      `a decomposition takes ${work} multiplications, at most ${mostWork} are accepted without whole u and v`,
    );
  }
}

/** The module with the base's own vectors. */
async function withOwn(file: SvftFile, places: Places, { path, base }: ReadyIo): Promise<AdapterModule> {
  const shape = base.shapes[base.index], singular = await base.singular();
  const basis = await ownBasis(singular), n = sizeOf(file, shape), own = await checkNumbers(basis, shape);
  const { check, s } = file;
  if (check) {
    const signs = signsOf(path, check, own.subarray(0, 2 * n));
    const turned = s.map((value, e) => value * signs[places.rows[e]] * signs[places.columns[e]]);
    file = { ...file, s: turned };
  } else if (s.some((value) => value !== 0)) {
    checkGaps(path, singular.s, s);
  }
  const pinned = { ...file, check: own.slice(0, 2 * n) };
  const made = { file: pinned, places, shape, basis, dropped: singular.s.slice(n) };
  return boundTo(base, made);
}

/** A module that is itself when it is made ready with the same base again. */
function boundTo(base: BaseLinear, numbers: Omit<SvftNumbers, "ready">): AdapterModule {
  const module: AdapterModule = readyModule({
    ...numbers,
    ready: async (io) => io.base === base ? module : await madeReady(numbers.file, io),
  });
  return module;
}

async function madeReady(file: SvftFile, io: ReadyIo): Promise<AdapterModule> {
  const { path, base } = io, shape = base.shapes[base.index];
  checkShape(file, path, shape);
  const places = file.places ?? band(sizeOf(file, shape), file.setting.offDiag);
  if (!file.factors) return await withOwn(file, places, io);
  return boundTo(base, { file, places, shape, ...await fileBasis(io, file.factors) });
}

function svftModule(file: SvftFile): SvftModule {
  const { s, factors, setting: { pattern, offDiag, rank } } = file;
  const notReady = (): never => {
    throw new TypeError("Cannot use an SVFT module before it was made ready with its base's weight");
  };
  return {
    svft: file,
    parameters: s.length + 1,
    summary: `${pattern}, off_diag ${offDiag}, ${s.length} entries${
      rank === undefined ? "" : `, rank ${rank}`
    }`,
    ...(factors ? { shape: { out: factors.out, in: factors.in } } : {}),
    check: (path, shape) => checkShape(file, path, shape),
    ready: (io) => madeReady(file, io),
    pack: notReady,
  };
}

/** A new module: zeros on a band, or at as many random places. */
function newModule(
  setting: Setting,
  { out, in: inSize }: LinearShape,
  random: () => number,
): AdapterModule {
  const n = Math.min(out, inSize), s = new Float32Array(bandCount(n, setting.offDiag));
  if (setting.pattern === "banded") return svftModule({ setting, s, gate: 0 });
  const drawn = () => Int32Array.from(s, () => Math.floor(n * random()));
  return svftModule({ setting, s, gate: 0, places: { rows: drawn(), columns: drawn() } });
}

/** See the module's documentation. */
export const svft: Method = {
  name: "SVFT",
  peftType: "SVFT",
  facts: {
    tensors: [
      "svft_layer.s (entries)",
      "svft_layer.gate (1)",
      "svft_layer.s_row, s_col (entries), off a band",
      "svft_layer.check (n, 2), or the authors' u (out, n), s_pre (n), v (n, in)",
    ],
    formula: "dW = sigma(gate) U M V^T of W's singular vectors, M sparse (n, n), n = min(in, out)",
    cost: "n (in + out) + entries",
    ofBase: "1 to 2",
    numbers: "n + 2 entries; n (in + out) once for all adapters of one U and V",
    refused:
      "`fill_orthonormal`; check numbers or vectors of another weight; equal singular values without check numbers",
  },
  integers: indexName,
  tablesApart: true,
  checkConfig: (config) => void settingOf(config),
  read(files) {
    const setting = settingOf(files.config);
    return new Map([...svftFiles(files, setting)].map(([path, file]) => [path, svftModule(file)]));
  },
  training: {
    options: {
      off_diag: { kind: "count", default: 0, doc: "diagonals on either side of M's" },
      pattern: {
        kind: "choice",
        choices: ["banded", "random"],
        default: "banded",
        doc: "where M has entries: on a band, or at as many random places",
      },
    },
    learningRate: 0.03,
    create: (shape, options, { random }) => newModule(settingOf({ ...options, rank: null }), shape, random),
    configFields: (options) => ({ ...options, rank: null, fill_orthonormal: false }),
  },
  takesScale: true,
  combined: combinedSvft,
  beside: (
    {
      x,
      y,
      slots,
      records,
      tables,
      values,
      rows,
      in: inSize,
      outs: [out0, out1, out2],
      linear,
      capacity,
    },
  ) =>
    step(svftLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    }),
};
