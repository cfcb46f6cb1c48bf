/**
 * Why a machine has no Vulkan device, in words: the usual reason for "no adapter" on Linux.
 *
 * Something is called missing only where it is in none of the places that the dynamic linker and the Vulkan loader look at.
 *
 * @module
 */
import { importOptional, runtimeGlobals } from "./runtime.ts";

/** The parts of a system that are read. */
export interface VulkanSystem {
  readonly platform?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exists: (path: string) => boolean;
  /** Names in a folder that exists. */
  readonly list: (path: string) => readonly string[];
  /** A file's bytes as Latin-1; undefined where there is none. */
  readonly read: (path: string) => string | undefined;
}

const loader = "libvulkan.so.1";

const libraryFolders = [
  ...["x86_64-linux-gnu", "aarch64-linux-gnu"].flatMap((name) => [`/lib/${name}`, `/usr/lib/${name}`]),
  ...["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/usr/local/lib64", "/usr/lib/wsl/lib"],
];

/** A list in a variable, empty where it is not set. */
const listed = (text: string | undefined): string[] => (text ?? "").split(":").filter(Boolean);

/** Nix has libraries in folders of its own, which only the programs that use them name; a preloaded library may be any. */
function cannotTell({ env, exists }: VulkanSystem): boolean {
  return exists("/nix/store") || exists("/etc/NIXOS") || /vulkan/i.test(env.LD_PRELOAD ?? "");
}

function hasLoader({ env, exists, list, read }: VulkanSystem): boolean {
  const folders = [...listed(env.LD_LIBRARY_PATH), ...libraryFolders];
  if (exists("/etc")) {
    // musl's linker has a list in place of a cache.
    const lists = list("/etc").filter((name) => /^ld-musl-.*\.path$/.test(name));
    folders.push(...lists.flatMap((name) => (read(`/etc/${name}`) ?? "").split(/[:\n]/).filter(Boolean)));
  }
  if (folders.some((folder) => exists(`${folder}/${loader}`))) return true;
  // The output of `ldconfig -p`.
  return read("/etc/ld.so.cache")?.includes(loader) ?? false;
}

/** Where the loader looks for drivers, as its own documentation lists them. */
function driverFolders({ env }: VulkanSystem): string[] {
  const home = env.HOME;
  const roots = [
    ...(env.XDG_CONFIG_HOME ? [env.XDG_CONFIG_HOME] : home ? [`${home}/.config`] : []),
    ...listed(env.XDG_CONFIG_DIRS || "/etc/xdg"),
    ...["/usr/local/etc", "/etc"],
    ...(env.XDG_DATA_HOME ? [env.XDG_DATA_HOME] : home ? [`${home}/.local/share`] : []),
    ...listed(env.XDG_DATA_DIRS),
    ...["/usr/local/share", "/usr/share", "/run/opengl-driver/share"],
  ];
  return roots.map((root) => `${root}/vulkan/icd.d`);
}

function hasDriver(system: VulkanSystem): boolean {
  const { env, exists, list } = system;
  const named = env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES;
  const files = listed(named || env.VK_ADD_DRIVER_FILES);
  if (files.some(exists)) return true;
  if (named) return false; // Nothing else is looked at then.
  return driverFolders(system).some((folder) => exists(folder) && list(folder).length > 0);
}

/** One sentence that says what Vulkan lacks on a system; empty when it lacks nothing, or when that cannot be told. */
export function missingOn(system: VulkanSystem): string {
  if (system.platform !== "linux" || cannotTell(system)) return "";
  const { env } = system;
  const missing: string[] = [];
  if (!hasLoader(system)) missing.push(`the Vulkan loader ${loader} is not installed (Debian: libvulkan1)`);
  if (!hasDriver(system)) {
    missing.push(
      env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES
        ? "VK_DRIVER_FILES names no file that exists"
        : "no Vulkan driver is installed (no file in /usr/share/vulkan/icd.d)",
    );
  }
  return missing.join(" and ");
}

/** {@linkcode missingOn} this machine. */
export async function missingForVulkan(): Promise<string> {
  try {
    const { existsSync, readdirSync, readFileSync } = await importOptional<typeof import("node:fs")>(
      "node:fs",
    );
    return missingOn({
      platform: runtimeGlobals.process?.platform,
      env: runtimeGlobals.process?.env ?? {},
      exists: existsSync,
      list: (path) => readdirSync(path),
      read: (path) => existsSync(path) ? readFileSync(path, "latin1") : undefined,
    });
  } catch {
    return ""; // no permission to read the disk or the environment, or no such thing: nothing is known
  }
}
