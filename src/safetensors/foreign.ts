/**
 * Names the kind of a file that is no safetensors file: the kinds that downloads leave behind.
 *
 * @module
 */

const kinds: readonly (readonly [start: readonly number[], what: string])[] = [
  [
    [...new TextEncoder().encode("version ")],
    'it is a git-lfs pointer, not the file itself; run "git lfs pull"',
  ],
  [[0x1f, 0x8b], "it is a gzip file; unpack it first"],
  [[0x50, 0x4b, 0x03, 0x04], "it is a zip file, as torch.save writes; save it as safetensors"],
  ...[2, 3, 4, 5].map((protocol) =>
    [[0x80, protocol], "it is a pickle file; save it as safetensors"] as const
  ),
  [[0x47, 0x47, 0x55, 0x46], "it is a GGUF file; open it by a name that ends with .gguf"],
  [[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59], "it is a NumPy file; only safetensors are read"],
  [[0x89, 0x48, 0x44, 0x46], "it is an HDF5 file; only safetensors are read"],
];

/** A tag after blanks or a byte order mark. */
const page = /^[\ufeff\s]*<[a-z!?]/i;

/**
 * What a file is, by its first bytes, in words that follow a colon; undefined where they say nothing. To be asked only
 * about a file that could not be read as what it should be.
 */
export function foreignKind(start: Uint8Array): string | undefined {
  const found = kinds.find(([bytes]) => bytes.every((byte, i) => start[i] === byte));
  if (found) return found[1];
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(start.slice());
  return page.test(text) ? "it is a web page, not the file itself; the download failed" : undefined;
}

/** As {@linkcode foreignKind}, of a file that was read as text. */
export function foreignKindOfText(text: string): string | undefined {
  return foreignKind(new TextEncoder().encode(text.slice(0, 64)));
}
