/**
 * An adapter method of one's own, whole: IA3 (Liu et al. 2022, arXiv 2205.05638) as PEFT writes it. A vector scales a linear's
 * outputs, or its inputs where PEFT's `feedforward_modules` says so.
 *
 * `openModel(device, { folder, adapters, registry: { methods: [...methods, ia3] } })` serves IA3 adapters beside all others.
 *
 * @module
 */
import {
  type AdapterModule,
  ConfigError,
  finiteFloats,
  type HostTensor,
  type Method,
  refuseUnknown,
  step,
} from "fourierft";
import { scaleOutputs } from "fourierft/kernels";

const name = /^base_model\.model\.(.+)\.ia3_l$/;

/** One module: its vector, (out, 1) or (1, in), says which side it scales. */
function ia3Module(path: string, { shape }: HostTensor, scales: Float32Array): AdapterModule {
  const inputs = shape[0] === 1 && shape[1] !== 1;
  return {
    parameters: scales.length,
    summary: `${scales.length} ${inputs ? "inputs" : "outputs"}`,
    phases: [inputs ? "before" : "after"],
    check(_, linear) {
      const size = inputs ? linear.in : linear.out;
      if (scales.length === size) return;
      throw new RangeError(
        `Cannot use module "${path}": it scales ${scales.length} numbers, the linear (${linear.out}, ${linear.in}) has ${size}`,
      );
    },
    // A record's count of 0 would say that there is no adapter.
    pack: () => ({ values: scales, count: 1, scale: 1 }),
  };
}

/** See the module's documentation. */
export const ia3: Method = {
  name: "IA3",
  peftType: "IA3",
  checkConfig: (config) =>
    refuseUnknown(config, { known: ["feedforward_modules", "fan_in_fan_out", "init_ia3_weights"] }),
  read({ config, tensors }) {
    this.checkConfig(config);
    return new Map(
      [...tensors].map(([tensor, t]) => {
        const [, path] = name.exec(tensor) ?? [];
        if (path === undefined || t.shape.length !== 2 || Math.min(...t.shape) !== 1) {
          throw new ConfigError(
            `Cannot read adapter tensor "${tensor}" of shape [${t.shape}] as IA3: the rule is <module>.ia3_l, (out, 1) or (1, in)`,
          );
        }
        return [path, ia3Module(path, t, finiteFloats(tensor, t))];
      }),
    );
  },
  before: ({ x, slots, records, values, rows, in: inSize, linear: layer, capacity }) =>
    step(scaleOutputs, { slots, records, values, y: x }, {
      ...{ rows, in: inSize, out0: inSize, out1: 0, out2: 0 },
      layer,
      capacity,
      factors: 0,
    }),
  after: (
    { y, slots, records, values, rows, in: inSize, outs: [out0, out1, out2], linear: layer, capacity },
  ) =>
    step(scaleOutputs, { slots, records, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2 },
      layer,
      capacity,
      factors: 0,
    }),
  // y = (W x + b) l: the vector scales the bias as well.
  changesBias: true,
};
