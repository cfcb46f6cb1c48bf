/**
 * Sums of adapters whose coefficients stand at drawn places, as one file: FourierFT and WaveFT.
 *
 * @module
 */
import type { HostTensor } from "../../tensor.ts";
import type { AdapterModule, CombinedFiles, Summand } from "../method.ts";
import { checkReach } from "../numbers.ts";
import { checkSame, largest, piecesByPath, prefix, weightedSum, withPattern } from "./combined.ts";
import { sumOfMagnitudes } from "./places.ts";

/** What the places of an adapter are drawn from, and the factor of its dW. */
interface Drawn {
  readonly seed: number;
  readonly scaling: number;
}

/**
 * Coefficients of one seed stand in one order: those of fewer numbers come first.
 *
 * @throws CombinationError for several seeds; ConfigError for sums past float32.
 */
export function combinedSpectra<M extends AdapterModule>(
  adapters: readonly Summand[],
  { method, tensor, settingOf, coefficientsOf }: {
    readonly method: string;
    /** Its name, after the module's path. */
    readonly tensor: string;
    readonly settingOf: (one: Summand) => Drawn;
    readonly coefficientsOf: (module: M) => Float32Array;
  },
): CombinedFiles {
  const seed = checkSame(
    adapters,
    (one) => settingOf(one).seed,
    (one, other) =>
      `Cannot write adapters of random_loc_seed ${one} and ${other} as one: a ${method} file draws all places from one ` +
      'seed. A server adds them up by "adapters" of a request',
  );
  const scaleOf = (one: Summand): number => one.weight * settingOf(one).scaling;
  const scaling = largest(adapters.map(scaleOf));
  const tensors = new Map<string, HostTensor>(), counts = new Map<string, number>();
  for (const [path, pieces] of piecesByPath<M>(adapters)) {
    const parts = pieces.map(({ module, summand }) => ({
      values: coefficientsOf(module),
      factor: scaleOf(summand) / scaling,
    }));
    const spectrum = weightedSum(path, parts);
    checkReach(sumOfMagnitudes(spectrum.data as Float32Array), `the sum of modules "${path}"`);
    tensors.set(`${prefix}${path}.${tensor}`, spectrum);
    counts.set(path, spectrum.data.length);
  }
  const { most, pattern } = withPattern(counts);
  return {
    config: {
      n_frequency: most,
      n_frequency_pattern: pattern,
      scaling,
      random_loc_seed: seed,
      init_weights: true,
    },
    tensors,
  };
}
