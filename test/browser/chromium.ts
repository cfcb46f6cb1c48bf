/**
 * Finds a Chromium that can compute without a GPU.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { hasArchives, unpacked } from "../unpack.ts";

/** How to start a browser. */
export interface Browser {
  readonly executablePath: string;
  readonly env: Record<string, string>;
}

/** Flags for WebGPU on SwiftShader in a container. */
export const chromiumFlags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/**
 * The browser that FOURIERFT_CHROMIUM names, else the system's, else npm's with the libraries that it brings.
 *
 * @throws Error when there is none.
 */
export function findChromium(): Browser {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([, value]) => value !== undefined),
  ) as Record<
    string,
    string
  >;
  const named = process.env.FOURIERFT_CHROMIUM;
  const installed = [named, "/usr/bin/chromium"].find((path) => path && existsSync(path));
  if (installed) return { executablePath: installed, env };
  if (!hasArchives()) {
    throw new Error(
      "Cannot test in a browser: install chromium, or set FOURIERFT_CHROMIUM to a Chromium's path",
    );
  }
  const folder = unpacked("chromium", ["chromium.br", "swiftshader.tar.br", "al2023.tar.br"]);
  return { executablePath: join(folder, "chromium"), env: { ...env, LD_LIBRARY_PATH: folder } };
}
