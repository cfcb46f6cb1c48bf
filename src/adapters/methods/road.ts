/**
 * RoAd (Liao and Monz 2024, arXiv 2409.00119) as PEFT writes it: pairs of a linear's outputs, bias included, are turned by
 * trained angles and scaled.
 *
 * Outputs stand in groups. The i-th output of a group's first half and the i-th of its second half are a pair.
 *
 * @module
 */
import { rotatePairs } from "../../../kernels/rotate_pairs.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { integerField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, Method } from "../method.ts";
import { type ModuleTensor, shapeError, tensorsByModule } from "./module_tensors.ts";

/** How many angles there are for each output. */
const anglesOf = { road_1: 0.5, road_2: 1, road_4: 2 } as const;
type Variant = keyof typeof anglesOf;

interface Setting {
  readonly variant: Variant;
  /** Outputs of a group. */
  readonly group: number;
}

function settingOf(config: Readonly<Record<string, unknown>>): Setting {
  const { variant = "road_1" } = config;
  if (typeof variant !== "string" || !Object.hasOwn(anglesOf, variant)) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "variant" = ${JSON.stringify(variant)}: it must be ${
        Object.keys(anglesOf).join(", ")
      }`,
    );
  }
  const group = integerField(config, "group_size", 64);
  if (group <= 0 || group % 2 !== 0) {
    throw new ConfigError(
      `Cannot read adapter_config.json field "group_size" = ${group}: it must be even, and above 0`,
    );
  }
  return { variant: variant as Variant, group };
}

/** The angles of output `o`'s own factor and of its partner's: road_1 has one for a pair, road_4 two for an output. */
function placesOf({ variant, group }: Setting, o: number): readonly [own: number, across: number] {
  const begin = o - o % group, within = o % group;
  if (variant === "road_1") {
    const pair = begin / 2 + within % (group / 2);
    return [pair, pair];
  }
  return variant === "road_2" ? [o, o] : [2 * begin + within, 2 * begin + group + within];
}

/** c (out), then s (out): y'[o] = y[o] c[o] -+ y[partner] s[o]. */
function factorsOf(
  setting: Setting,
  { angles, scales, out }: {
    readonly angles: Float32Array;
    readonly scales: Float32Array;
    readonly out: number;
  },
): Float32Array {
  const factors = new Float32Array(2 * out);
  for (let o = 0; o < out; o++) {
    const [own, across] = placesOf(setting, o);
    factors[o] = scales[own] * Math.cos(angles[own]);
    factors[out + o] = scales[across] * Math.sin(angles[across]);
  }
  return factors;
}

function roadModule(setting: Setting, theta: ModuleTensor, alpha: ModuleTensor): AdapterModule {
  const { variant, group } = setting, { length } = theta.values, out = length / anglesOf[variant];
  const rule = `(${anglesOf[variant]} out) of ${variant}, with an out that "group_size" = ${group} divides`;
  for (const one of [theta, alpha]) {
    if (one.shape.length !== 1 || one.values.length !== length || out === 0 || out % group !== 0) {
      throw shapeError(one, rule);
    }
  }
  return {
    parameters: 2 * length,
    summary: `${variant}, groups of ${group}`,
    check(path, shape) {
      if (shape.out === out) return;
      throw new RangeError(
        `Cannot use module "${path}": it turns ${out} outputs, the weight is (${shape.out}, ${shape.in})`,
      );
    },
    pack: () => ({
      values: factorsOf(setting, { angles: theta.values, scales: alpha.values, out }),
      count: group,
      scale: 1,
    }),
  };
}

/** See the module's documentation. */
export const road: Method = {
  name: "RoAd",
  peftType: "ROAD",
  facts: {
    tensors: ["road_theta (out / 2, out or 2 out)", "road_alpha (the same)"],
    formula: "y = R (W x + bias); R turns pairs of outputs by theta and scales them by alpha",
    cost: "2 out",
    numbers: "2 out",
    refused: "groups that do not divide the outputs",
  },
  checkConfig(config) {
    refuseUnknown(config, { known: ["group_size", "init_weights", "variant"] });
    settingOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const setting = settingOf(files.config);
    const modules = tensorsByModule(files, {
      method: "RoAd",
      own: { road_theta: "unchecked", road_alpha: "unchecked" },
    });
    return new Map(
      modules.map((
        one,
      ) => [one.path, roadModule(setting, one.tensor("road_theta"), one.tensor("road_alpha"))]),
    );
  },
  after: (
    { y, slots, records, values, rows, in: inSize, outs: [out0, out1, out2], linear, capacity },
  ) =>
    step(rotatePairs, { slots, records, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    }),
  changesBias: true,
};
