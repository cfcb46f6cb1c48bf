/**
 * An adapter method of one's own, whole: x is reflected by one trained vector, y = (x H) W^T + b with
 * H = I - 2 u u^T / |u|^2.
 *
 * `openModel(device, { folder, adapters, registry: { methods: [...methods, reflection] } })` serves such adapters beside all
 * others.
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
import { reflect } from "fourierft/kernels";

const name = /^base_model\.model\.(.+)\.reflection_u$/;

/** One module: its vector (in), made a unit vector. */
function reflectionModule(tensor: string, t: HostTensor): AdapterModule {
  const vector = finiteFloats(tensor, t);
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (t.shape.length !== 1 || length === 0) {
    throw new ConfigError(
      `Cannot read adapter tensor "${tensor}" of shape [${t.shape}]: the rule is (in), not all zeros`,
    );
  }
  return {
    parameters: vector.length,
    summary: "one reflection",
    check(path, { out, in: inSize }) {
      if (vector.length === inSize) return;
      throw new RangeError(
        `Cannot use module "${path}": it reflects ${vector.length} inputs, the weight is (${out}, ${inSize})`,
      );
    },
    // A record's count is that of vectors; of 0 it would say that there is no adapter.
    pack: () => ({ values: vector.map((value) => value / length), count: 1, scale: 1 }),
  };
}

/** See the module's documentation. */
export const reflection: Method = {
  name: "Reflection",
  peftType: "REFLECTION",
  checkConfig: (config) => refuseUnknown(config, { known: [] }),
  read({ config, tensors }) {
    this.checkConfig(config);
    return new Map(
      [...tensors].map(([tensor, t]) => {
        const [, path] = name.exec(tensor) ?? [];
        if (path === undefined) {
          throw new ConfigError(
            `Cannot read adapter tensor "${tensor}" as a reflection: the rule is <module>.reflection_u`,
          );
        }
        return [path, reflectionModule(tensor, t)];
      }),
    );
  },
  before: ({ x, slots, records, values, rows, in: inSize, linear, capacity }) =>
    step(reflect, { slots, records, values, x }, { rows, in: inSize, linear, capacity }),
};
