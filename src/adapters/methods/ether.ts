/**
 * ETHER and ETHER+ (Bini et al. 2024, arXiv 2405.20271) with the authors' tensors and settings: W is reflected in blocks.
 *
 * A block's H is I - 2 u u^T of ETHER, and I - u u^T + v v^T of ETHER+, for unit vectors.
 *
 * - The right side: W, (out, in), is read as (nb, out, in / nb), and its part number b is multiplied by H_b. So row o's chunk
 *   c of W meets H number (o nb + c) div out. The change is of low rank, and of W u: `ready` makes its factors.
 * - The left side: blockdiag(H) W, outputs without bias. It is in place of the right side for `down_proj` with `flip_side`
 *   and for the modules that `flip_modules` names (the authors' q, k and v),
 *   and comes after it in `etherplusHH`.
 *
 * The authors' code keeps no adapter folders: `peft_type` is this package's, and keys have no prefix.
 *
 * @module
 */
import { reflectOutputs } from "../../../kernels/reflect_outputs.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { flagField, integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, LinearShape, Method } from "../method.ts";
import type { NewModule } from "../training.ts";
import { leftNumbers, rightFactors, sideOf, type Sides } from "./ether_sides.ts";
import { type EtherSides, trainableSides } from "./ether_training.ts";
import { factorsStep } from "./lora.ts";
import { packedFactors } from "./low_rank.ts";
import { type ModuleTensor, tensorsByModule } from "./module_tensors.ts";

/** The tensors of each kind: u and v of the right side, then of the left. */
const tensorsOf = {
  ether: ["ether_R"],
  etherplus: ["ether_R", "ether_R2"],
  etherplusHH: ["ether_R", "ether_R2", "ether_R3", "ether_R4"],
} as const;
type Htype = keyof typeof tensorsOf;
type Name = typeof tensorsOf.etherplusHH[number];

/** Blocks at most: the right side's rank grows with their square. */
const mostBlocks = 16;

interface Setting {
  readonly htype: Htype;
  readonly blocks: number;
  /** Last names of modules whose outputs are reflected in place of their rows. */
  readonly flipped: readonly string[];
}

const isFlipped = ({ flipped }: Setting, path: string): boolean => flipped.includes(path.split(".").at(-1)!);

/** The names of `flip_modules`, and `down_proj` with `flip_side`. */
function flippedOf(config: Readonly<Record<string, unknown>>): string[] {
  const names = config.flip_modules ?? [];
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "flip_modules" as a list of names: it is ${
        JSON.stringify(names)
      }`,
    );
  }
  return [...names, ...(flagField(config, "flip_side") ? ["down_proj"] : [])];
}

function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  const { Htype: htype } = config,
    blocks = integerField(config, "nb"),
    flipped = flippedOf(config);
  if (typeof htype !== "string" || !Object.hasOwn(tensorsOf, htype)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "Htype" = ${JSON.stringify(htype)}: it must be ${
        Object.keys(tensorsOf).join(", ")
      }`,
    );
  }
  if (blocks < 1 || blocks > mostBlocks) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "nb" = ${blocks}: it must be 1 to ${mostBlocks}`,
    );
  }
  if (flipped.length > 0 && htype === "etherplusHH") {
    const field = flagField(config, "flip_side") ? '"flip_side" = true' : '"flip_modules"';
    throw new ConfigError(
      `Cannot read adapter_config.json field ${field}: etherplusHH has both sides already`,
    );
  }
  return { htype: htype as Htype, blocks, flipped };
}

/** A module; `factors` of its right side are there once it was made ready, zeros where there is no such side. */
function etherModule(
  sides: Sides,
  { kind, raw }: { readonly kind: string; readonly raw: EtherSides },
  factors?: readonly [Float32Array, Float32Array],
): AdapterModule {
  const { left, right, blocks } = sides;
  const fits = (shape: LinearShape): boolean =>
    (right?.size ?? shape.in) === shape.in && (left?.size ?? shape.out) === shape.out;
  return {
    parameters: [...raw.right ?? [], ...raw.left ?? []].reduce((sum, { values }) => sum + values.length, 0),
    summary: `${kind}, ${blocks} block(s)`,
    phases: [...(right ? ["beside" as const] : []), ...(left ? ["after" as const] : [])],
    check(path, shape) {
      if (fits(shape)) return;
      const what = [right && `${right.size} inputs`, left && `${left.size} outputs`].filter(Boolean);
      throw new RangeError(
        `Cannot use module "${path}": it reflects ${
          what.join(" and ")
        }, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    ready: right && (async (io) => etherModule(sides, { kind, raw }, await rightFactors(sides, io))),
    pack({ out, in: inSize }) {
      if (right && !factors) {
        throw new TypeError("Cannot use an ETHER module before it was made ready with its base's weight");
      }
      const [a, b] = factors ?? [new Float32Array(inSize), new Float32Array(out)];
      const rank = b.length / out;
      return { values: packedFactors({ a, b, rank }, leftNumbers(sides, out)), count: rank, scale: 1 };
    },
    trainable: (shape) => trainableSides(raw, shape),
  };
}

function moduleOf(
  path: string,
  tensors: Readonly<Record<Name, ModuleTensor>>,
  setting: Setting,
): AdapterModule {
  const { htype, blocks } = setting;
  const all = tensorsOf[htype].map((name) => tensors[name]);
  const first = all.slice(0, 2), second = all.length > 2 ? all.slice(2) : undefined;
  const raw = isFlipped(setting, path) ? { blocks, left: first } : { blocks, right: first, left: second };
  const side = (tensors?: readonly ModuleTensor[]) => tensors && sideOf(tensors, blocks);
  return etherModule({ blocks, right: side(raw.right), left: side(raw.left) }, { kind: htype, raw });
}

/** A new module: u as torch's kaiming_uniform_(a = sqrt(5)), v = -u, so that ETHER+ starts as its base. */
function newModule(shape: LinearShape, setting: Setting, { path, random }: NewModule): AdapterModule {
  const { htype, blocks } = setting, flipped = isFlipped(setting, path);
  const draw = (name: Name): ModuleTensor => {
    const isLeft = flipped || name === "ether_R3" || name === "ether_R4",
      size = isLeft ? shape.out : shape.in;
    if (size % blocks !== 0) {
      throw new RangeError(
        `Cannot make module "${path}" of (${shape.out}, ${shape.in}) with nb ${blocks}: it must divide ${size}`,
      );
    }
    const bound = 1 / Math.sqrt(size / blocks);
    const values = Float32Array.from({ length: size }, () => bound * (2 * random() - 1));
    return { name: `${path}.${name}`, shape: [blocks, size / blocks], values };
  };
  const tensors: Partial<Record<Name, ModuleTensor>> = {};
  tensorsOf[htype].forEach((name, i) => {
    const before = i % 2 === 1 ? tensors[tensorsOf[htype][i - 1]]! : undefined;
    tensors[name] = before
      ? { ...before, name: `${path}.${name}`, values: before.values.map((value) => -value) }
      : draw(name);
  });
  return moduleOf(path, tensors as Record<Name, ModuleTensor>, setting);
}

/** See the module's documentation. */
export const ether: Method = {
  name: "ETHER",
  peftType: "ETHER",
  facts: {
    tensors: [
      "ether_R (nb, in / nb)",
      "ether_R2 (nb, in / nb) of ETHER+",
      "ether_R3, ether_R4 (nb, out / nb) of etherplusHH",
    ],
    formula: "W' = H_left W H_right in nb blocks; H = I - 2 u u^T, or I - u u^T + v v^T",
    cost: "nb^2 (in + out), twice that of ETHER+",
    numbers: "nb^2 (in + out) + 2 out, the product twice of ETHER+",
    refused: "more than 16 blocks; `flip_side` with etherplusHH",
  },
  checkConfig(config) {
    refuseUnknown(config, {
      known: [
        "Htype",
        "flip_modules",
        "flip_side",
        "nb",
        "fan_in_fan_out", // only turns a stored weight at a merge
      ],
    });
    settingOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const setting = settingOf(files.config);
    const names: readonly Name[] = tensorsOf[setting.htype];
    const own = Object.fromEntries(names.map((name) => [name, "unchecked"] as const)) as Record<
      Name,
      "unchecked"
    >;
    const modules = tensorsByModule(files, { method: "ETHER", own, prefix: "" });
    return new Map(modules.map(({ path, tensor }) => {
      const tensors = Object.fromEntries(names.map((name) => [name, tensor(name)])) as Record<
        Name,
        ModuleTensor
      >;
      return [path, moduleOf(path, tensors, setting)];
    }));
  },
  prefix: "",
  training: {
    options: {
      Htype: {
        kind: "choice",
        choices: Object.keys(tensorsOf),
        default: "ether",
        doc: "kind of transformation",
      },
      nb: { kind: "count", least: 1, default: 1, doc: "blocks" },
      flip_side: {
        kind: "flag",
        default: false,
        doc: "whether down_proj is changed on the side of its outputs",
      },
    },
    learningRate: 0.003,
    create: (shape, options, io) => newModule(shape, settingOf(options), io),
    configFields: (options) => ({ ...options }),
  },
  beside: factorsStep,
  after: (
    { y, slots, records, values, rows, in: inSize, outs: [out0, out1, out2], linear, capacity },
  ) =>
    step(reflectOutputs, { slots, records, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    }),
};
