/**
 * The methods that the page trains, each with the number that decides its size.
 *
 * @module
 */
import type { TrainJob } from "../worker/protocol.ts";

/** A method of the form. */
export interface MethodChoice {
  readonly name: string;
  /** What decides how many numbers are learnt; absent where nothing does. */
  readonly size?: { readonly label: string; readonly usual: number };
  /** The adapter that is asked for. */
  readonly adapter: (size: number, targetModules: readonly string[] | undefined) => TrainJob["adapter"];
}

const frequencies = "Coefficients a linear", rank = "Rank";

/** By their names in the form; the first is the usual one. */
export const methodChoices: readonly MethodChoice[] = [
  {
    name: "FourierFT",
    size: { label: frequencies, usual: 1000 },
    adapter: (nFrequency, targetModules) => ({ peftType: "FOURIERFT", nFrequency, targetModules }),
  },
  {
    name: "WaveFT",
    size: { label: frequencies, usual: 2592 },
    adapter: (nFrequency, targetModules) => ({ peftType: "WAVEFT", nFrequency, targetModules }),
  },
  {
    name: "C3A",
    size: { label: "Block size", usual: 128 },
    adapter: (blockSize, targetModules) => ({ peftType: "C3A", blockSize, targetModules }),
  },
  {
    name: "LoRA",
    size: { label: rank, usual: 8 },
    adapter: (r, targetModules) => ({ peftType: "LORA", r, targetModules }),
  },
  {
    name: "DoRA",
    size: { label: rank, usual: 8 },
    adapter: (r, targetModules) => ({ peftType: "LORA", useDora: true, r, targetModules }),
  },
  {
    name: "VeRA",
    size: { label: rank, usual: 256 },
    adapter: (r, targetModules) => ({ peftType: "VERA", r, targetModules }),
  },
  { name: "IA3", adapter: (_, targetModules) => ({ peftType: "IA3", targetModules }) },
];
