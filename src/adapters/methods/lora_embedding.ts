/**
 * LoRA on embeddings, as PEFT writes it: row i becomes E[i] + scale * B A[:, i].
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { AdapterFiles } from "../method.ts";
import { checkReach, finiteFloats } from "../numbers.ts";
import type { TableFactors } from "../replacements.ts";
import { factorScale, reachOf } from "./low_rank.ts";

const prefix = "base_model.model.";

/** The names of its tensors, with the embedding's path. */
export const embeddingName = /^base_model\.model\.(.+)\.lora_embedding_[AB]$/;

/** (rows, columns) to (columns, rows). */
function turned(numbers: Float32Array, rows: number): Float32Array {
  const columns = numbers.length / rows, made = new Float32Array(numbers.length);
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at++) made[j * rows + i] = numbers[at];
  }
  return made;
}

function factorsOf({ config, tensors }: AdapterFiles, path: string, needs: string): TableFactors {
  const nameA = `${prefix}${path}.lora_embedding_A`, nameB = `${prefix}${path}.lora_embedding_B`;
  const a = tensors.get(nameA), b = tensors.get(nameB);
  if (!a || !b) {
    throw new ConfigError(`Cannot find adapter tensor "${a ? nameB : nameA}": "${needs}" needs it`);
  }
  if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== b.shape[1] || a.shape[0] === 0) {
    throw new ConfigError(
      `Cannot use adapter tensors of embedding "${path}": lora_embedding_A must be (r, entries) and lora_embedding_B ` +
        `(width, r) with one r > 0, they are (${a.shape}) and (${b.shape})`,
    );
  }
  const rank = a.shape[0], scale = factorScale(config, path, rank);
  const numbersA = finiteFloats(nameA, a), numbersB = finiteFloats(nameB, b);
  checkReach(
    reachOf({ a: numbersA, b: numbersB, rank, in: a.shape[1], out: b.shape[0], scale }),
    `the product of adapter tensors "${nameB}" and "${nameA}"`,
  );
  return { kind: "factors", tensor: needs, a: turned(numbersA, rank), b: numbersB, rank, scale };
}

/**
 * The factors of every embedding, by the embedding's name.
 *
 * @throws ConfigError that names the tensor and the rule.
 */
export function embeddingFactors(files: AdapterFiles): Map<string, TableFactors> {
  const made = new Map<string, TableFactors>();
  for (const name of files.tensors.keys()) {
    const [, path] = embeddingName.exec(name) ?? [];
    if (path !== undefined && !made.has(`${path}.weight`)) {
      made.set(`${path}.weight`, factorsOf(files, path, name));
    }
  }
  return made;
}
