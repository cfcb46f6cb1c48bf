/**
 * The adapters that the recipe bench trains: a row each, of sizes from a few KiB to an MiB.
 *
 * @module
 */
import type { NewAdapter } from "../src/adapters/create.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { loraXs } from "../src/adapters/methods/lora_xs.ts";

/** An adapter to train. */
export interface RecipeRow {
  /** The line of the plot that the row is a point of. */
  readonly line: string;
  /** The row of the table. */
  readonly row: string;
  readonly adapter: NewAdapter;
  /** In place of the method's own rate; such a row is trained at this one alone. */
  readonly lr?: number;
  /** Whether PEFT trains the same beside. */
  readonly peft?: boolean;
}

const fourierft = (n: number): RecipeRow => ({
  line: "FourierFT",
  row: `FourierFT n = ${n}`,
  adapter: { peftType: "FOURIERFT", nFrequency: n },
  peft: n !== 300 && n !== 3000,
});

const waveft = (n: number): RecipeRow => ({
  line: "WaveFT",
  row: `WaveFT n = ${n}`,
  adapter: { peftType: "WAVEFT", nFrequency: n },
  peft: n === 1000,
});

const c3a = (block: number): RecipeRow => ({
  line: "C3A",
  row: `C3A, blocks of ${block}`,
  adapter: { peftType: "C3A", blockSize: block },
  peft: block === 128,
});

const lora = (r: number): RecipeRow => ({
  line: "LoRA",
  row: `LoRA r = ${r}`,
  adapter: { peftType: "LORA", r },
  peft: r === 1 || r === 8,
});

const doraOf = (r: number): RecipeRow => ({
  line: "DoRA",
  row: `DoRA r = ${r}`,
  adapter: { method: dora, options: { r } },
  peft: r === 1,
});

/** Vectors of 128 numbers: the greatest that divide all sides of the demo model's linears. */
const vbLora = (r: number, vectors: number): RecipeRow => ({
  line: "VB-LoRA",
  row: `VB-LoRA r = ${r}, ${vectors} vectors`,
  adapter: { peftType: "VBLORA", r, numVectors: vectors, vectorLength: 128 },
  peft: vectors === 256,
});

const loraXsOf = (r: number): RecipeRow => ({
  line: "LoRA-XS",
  row: `LoRA-XS r = ${r}`,
  adapter: { method: loraXs, options: { r } },
});

const svft = (offDiag: number): RecipeRow => ({
  line: "SVFT",
  row: `SVFT, off_diag ${offDiag}`,
  adapter: { peftType: "SVFT", offDiag },
});

const ether = (Htype: "ether" | "etherplus"): RecipeRow => ({
  line: "ETHER",
  row: Htype === "ether" ? "ETHER nb = 1" : "ETHER+ nb = 1",
  adapter: { peftType: "ETHER", Htype },
});

/** A row at a rate that is not the method's own. */
const at = (lr: number, row: RecipeRow): RecipeRow => ({ ...row, row: `${row.row}, lr ${lr}`, lr });

/** In the order of their runs: a row of each method comes first, for a run that is cut off. */
export const recipeRows: readonly RecipeRow[] = [
  { line: "IA3", row: "IA3", adapter: { peftType: "IA3" }, peft: true },
  doraOf(1),
  loraXsOf(32),
  vbLora(4, 256),
  ...(["ether", "etherplus"] as const).map(ether),
  { line: "VeRA", row: "VeRA r = 256", adapter: { peftType: "VERA", saveProjection: false }, peft: true },
  c3a(32),
  svft(0),
  fourierft(1000),
  ...[8, 1].map(lora),
  waveft(1000),
  at(0.0001, fourierft(1000)),
  ...[5000, 100, 3000, 300].map(fourierft),
  svft(2),
  ...[0, 2].map((offDiag) => at(0.1, svft(offDiag))),
  ...[2592, 300].map(waveft),
  ...[2, 4, 16].map(lora),
  doraOf(8),
  ...[64, 16].map(loraXsOf),
  vbLora(2, 64),
  ...[64, 128].map(c3a),
  ...[100, 3000, 5000].map((n) => at(0.05, fourierft(n))),
];

/** What shows that the bench works. */
export const quickRows: readonly RecipeRow[] = [fourierft(100), lora(1), svft(0)];
