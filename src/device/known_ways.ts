/**
 * The fastest ways of kernels on a GPU, as they are kept for the next start.
 *
 * @module
 */

/** The fastest way of a kernel's calls of one key, on one GPU with one driver; plain data, to be kept. */
export interface KnownWay {
  readonly kernel: string;
  readonly key: string;
  readonly way: string;
  /** A hash of the WGSL of all of the ways: an answer about other programs is no answer. */
  readonly programs: string;
}

/** The identity of a tuning answer in a process. */
export const nameOf = ({ kernel, key }: Pick<KnownWay, "kernel" | "key">): string => `${kernel}\n${key}`;

/** The question that a way answers. */
export const idOf = (known: Omit<KnownWay, "way">): string => `${nameOf(known)}\n${known.programs}`;

/** Answers to keep of one key: about the programs of now, and of other numbers of rows that it stands for. */
const keptOfKey = 4;

/** Known answers, and those found later. The oldest answers of a key are forgotten: their programs are no more. */
export function withFound(known: readonly KnownWay[], found: readonly KnownWay[]): readonly KnownWay[] {
  const anew = new Set(found.map(idOf)), ofKey = new Map<string, number>();
  const all = [...known.filter((one) => !anew.has(idOf(one))), ...found];
  const latest = all.toReversed().filter((one) => {
    const later = ofKey.get(nameOf(one)) ?? 0;
    ofKey.set(nameOf(one), later + 1);
    return later < keptOfKey;
  });
  return latest.toReversed();
}
