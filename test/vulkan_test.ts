import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { missingOn } from "../src/runtime/vulkan.ts";
import { root } from "./architecture.ts";

type Env = Readonly<Record<string, string>>;

/** A Linux machine with these files and no others. */
function missing(files: Readonly<Record<string, string>>, env: Env = {}, platform = "linux"): string {
  const paths = Object.keys(files);
  return missingOn({
    platform,
    env,
    exists: (path) => paths.some((file) => file === path || file.startsWith(`${path}/`)),
    list: (folder) =>
      paths.filter((file) => file.startsWith(`${folder}/`)).map((file) => file.slice(folder.length + 1)),
    read: (path) => files[path],
  });
}

const noLoader = /^the Vulkan loader libvulkan\.so\.1 is not installed \(Debian: libvulkan1\)/;
const noDriver = /no Vulkan driver is installed/;
const loader = { "/usr/lib/x86_64-linux-gnu/libvulkan.so.1": "" };
const driver = { "/usr/share/vulkan/icd.d/nvidia_icd.json": "" };

test("missingOn names the loader and the driver that a Linux machine lacks", () => {
  assert.match(missing({}), noLoader);
  assert.match(missing({}), noDriver);
  assert.doesNotMatch(missing(driver), noDriver);
  assert.match(missing(driver), noLoader);
  assert.match(missing(loader), /^no Vulkan driver is installed/);
  assert.equal(missing({ ...loader, ...driver }), "");
});

test("missingOn finds the loader wherever the linker would", () => {
  const places: readonly [Readonly<Record<string, string>>, Env?][] = [
    [{ "/usr/lib/aarch64-linux-gnu/libvulkan.so.1": "" }],
    [{ "/lib64/libvulkan.so.1": "" }],
    [{ "/usr/lib/wsl/lib/libvulkan.so.1": "" }],
    [{ "/opt/vulkan/lib/libvulkan.so.1": "" }, { LD_LIBRARY_PATH: "/nowhere:/opt/vulkan/lib" }],
    [{ "/etc/ld.so.cache": "glibc-ld.so.cache1.1\0libvulkan.so.1\0/odd/place/libvulkan.so.1\0" }],
    [{ "/etc/ld-musl-x86_64.path": "/lib:/odd\n/odder\n", "/odder/libvulkan.so.1": "" }],
  ];
  for (const [files, env] of places) {
    assert.equal(missing({ ...files, ...driver }, env), "", JSON.stringify(files));
  }
  assert.match(missing({ "/etc/ld.so.cache": "libvulkan_radeon.so", ...driver }), noLoader);
});

test("missingOn finds drivers wherever the loader would", () => {
  const places: readonly [string, Env?][] = [
    ["/etc/vulkan/icd.d/a.json"],
    ["/usr/local/share/vulkan/icd.d/a.json"],
    ["/home/me/.local/share/vulkan/icd.d/a.json", { HOME: "/home/me" }],
    ["/home/me/.config/vulkan/icd.d/a.json", { HOME: "/home/me" }],
    ["/data/vulkan/icd.d/a.json", { XDG_DATA_DIRS: "/x:/data" }],
    ["/data/vulkan/icd.d/a.json", { XDG_DATA_HOME: "/data" }],
    ["/etc/xdg/vulkan/icd.d/a.json"],
    ["/own/a.json", { VK_DRIVER_FILES: "/none.json:/own/a.json" }],
    ["/own/a.json", { VK_ICD_FILENAMES: "/own/a.json" }],
    ["/own/a.json", { VK_ADD_DRIVER_FILES: "/own/a.json" }],
  ];
  for (const [file, env] of places) assert.equal(missing({ ...loader, [file]: "" }, env), "", file);
  const named = missing({ ...loader, ...driver }, { VK_DRIVER_FILES: "/none.json" });
  assert.equal(named, "VK_DRIVER_FILES names no file that exists");
  assert.equal(missing({ ...loader, ...driver }, { VK_DRIVER_FILES: "" }), "");
});

test("missingOn says nothing where it cannot tell", () => {
  assert.equal(missing({}, {}, "darwin"), "");
  assert.equal(missing({}, {}, "win32"), "");
  assert.equal(missing({ "/nix/store/x/lib/libvulkan.so.1": "" }), "");
  assert.equal(missing({}, { LD_PRELOAD: "/opt/libvulkan.so.1" }), "");
});

test("openDevice says in one line which device it chose, without a warning of Dawn's", () => {
  // Emptied, not left out: Deno gives a child what its own environment has.
  const env = { ...process.env, LD_LIBRARY_PATH: "", VK_DRIVER_FILES: "", VK_ICD_FILENAMES: "" };
  const code =
    'import { openDevice } from "./src/runtime/mod.ts"; (await openDevice({ log: console.log })).destroy(); process.exit(0)';
  const args = "Deno" in globalThis ? ["eval", code] : ["-e", code];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", env });
  assert.equal(status, 0, stderr);
  const lines = stdout.trim().split("\n").filter((line) => line.startsWith("device: "));
  assert.equal(lines.length, 1, stdout);
  assert.doesNotMatch(stderr, /Vulkan/);
});
