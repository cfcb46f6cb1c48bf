/**
 * Builds the npm package of the safetensors module alone: no dependency, nothing of models or adapters.
 *
 * `deno task pack:safetensors` writes dist/safetensors-ts-VERSION.tgz.
 *
 * @module
 */
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, sourceAt } from "../architecture.ts";
import { compile } from "./compile.ts";
import { commonFields, door, ownManifest, packed } from "./manifest.ts";

/** The package's name. */
export const safetensorsName = "safetensors-ts";

const entry = "src/safetensors/mod.ts";

/** What the module imports, through others; with types, or only what is there at run time. */
function reached({ types }: { readonly types: boolean }): ReadonlySet<string> {
  const paths = new Set([entry]);
  for (const path of paths) {
    for (const { target, local, typeOnly } of sourceAt(path).imports) {
      if (!local) {
        throw new Error(`Cannot pack ${path}: it imports ${target}, and the package has no dependency`);
      }
      if (types || !typeOnly) paths.add(target);
    }
  }
  return paths;
}

/** Builds the tarball and returns its path. */
export async function buildSafetensors(): Promise<string> {
  const own = ownManifest();
  return await packed({ name: safetensorsName, version: own.version }, (inside) => {
    compile(inside, [entry]);
    const atRunTime = reached({ types: false });
    for (const path of reached({ types: true })) {
      if (!atRunTime.has(path)) rmSync(join(inside, path.replace(/\.ts$/, ".js")));
    }
    copyFileSync(join(root, "LICENSE"), join(inside, "LICENSE"));
    copyFileSync(join(root, "test/pack/safetensors.md"), join(inside, "README.md"));
    return {
      name: safetensorsName,
      description:
        "The safetensors format, read strictly and written, whole or by ranges, without a dependency",
      keywords: ["safetensors", "tensors", "weights", "machine-learning", "huggingface", "parser"],
      ...commonFields(own),
      exports: { ".": door(`./${entry}`), "./package.json": "./package.json" },
      sideEffects: false,
    };
  });
}

if (import.meta.main) console.log(await buildSafetensors());
