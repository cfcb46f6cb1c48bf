/**
 * Faults of processes: a publisher that is killed or has no room, a server that is told to stop under load.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { AdapterRegistry, cpuDevice, loadAdapter, StoreError } from "../../mod.ts";
import { uniforms } from "../../src/engine/random.ts";
import { openAdapterStore, openFolder, openObjectStore } from "../../src/runtime/mod.ts";
import { ended, says, send, start, startScript, trainingFixture, withTinyModel } from "../train_process.ts";
import type { Tally } from "./world.ts";

const folders = ["fourierft/trained", "fourierft/start"].map(trainingFixture);

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), "fourierft-faults-"));
  try {
    await body(path);
  } finally {
    await rm(path, { recursive: true });
  }
}

const digestOf = async (path: string): Promise<string> => (await loadAdapter(await openFolder(path))).digest;

/** Checks that a store has one of two adapters by the name `x`, as a server that starts now sees it. */
async function checkWhole(url: string, tally: Tally): Promise<void> {
  const registry = new AdapterRegistry(cpuDevice(), await openObjectStore(url));
  const { digest } = await registry.load("x");
  if (!(await Promise.all(folders.map(digestOf))).includes(digest)) {
    throw new Error("x is neither of the two");
  }
  const names = await registry.names();
  if (names.join() !== "x") throw new Error(`the store has other names: ${names}`);
  tally.right++;
}

/** A publisher into a store is killed at any moment: readers see one adapter or the other, whole. */
export async function publisherIsKilled(seed: number): Promise<Tally> {
  const random = uniforms(seed), tally: Tally = { right: 0, refused: 0 };
  await withFolder(async (path) => {
    const url = pathToFileURL(path).href;
    const child = startScript("test/publish_objects_forever.ts", [url, ...folders]), end = ended(child);
    await says(child, /publishing\n/);
    for (let i = 0; i < 5; i++) await checkWhole(url, tally);
    await delay(100 * random());
    send(child, "SIGKILL");
    await end;
    await checkWhole(url, tally);
    // What the killed one left behind hinders nobody.
    await (await openObjectStore(url)).publish("x", await openFolder(folders[0]));
    await checkWhole(url, tally);
  });
  return tally;
}

/** A trainer that publishes into a folder is killed at any moment: one adapter, the other, or none that can be read. */
export async function trainerIsKilled(seed: number): Promise<Tally> {
  const random = uniforms(seed), tally: Tally = { right: 0, refused: 0 };
  const known = await Promise.all(folders.map(digestOf));
  await withFolder(async (path) => {
    const child = startScript("test/publish_forever.ts", [join(path, "x"), ...folders]), end = ended(child);
    const read = async (): Promise<boolean> => {
      try {
        const registry = new AdapterRegistry(cpuDevice(), await openAdapterStore(path));
        const { digest } = await registry.load("x");
        if (!known.includes(digest)) throw new Error("x is neither of the two");
        tally.right++;
        return true;
      } catch (error) {
        // The weights are away for a moment while others take their place.
        if (!/Cannot find a/.test((error as Error).message)) throw error;
        return false;
      }
    };
    while (!await read()) await delay(1);
    for (let i = 0; i < 5; i++) await read();
    await delay(100 * random());
    send(child, "SIGKILL");
    await end;
    await read();
  });
  return tally;
}

/** Mounts a file system of so many KiB, or says why this machine cannot. */
function mount(path: string, kib: number): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", path], { stdio: "pipe" });
}

/**
 * A disk is full amid a publication: a file system of a few KiB, in memory. The publication fails, the name has the adapter
 * that it had, and the same publication is right once there is room. It needs the right to mount.
 */
export async function diskIsFull(seed: number): Promise<Tally> {
  const random = uniforms(seed), tally: Tally = { right: 0, refused: 0 };
  await withFolder(async (path) => {
    const disk = join(path, "disk"), store = join(disk, "store"), url = pathToFileURL(store).href;
    await mkdir(disk);
    mount(disk, 256);
    try {
      const kept = await openObjectStore(url), [first, second] = folders;
      await kept.publish("x", await openFolder(first));
      // What is left has room for nothing, a part of the files, or nearly all.
      await fillUp(disk, 4 * Math.floor(2 * random()));
      const failed = await kept.publish("x", await openFolder(second)).then(
        () => undefined,
        (error) => error,
      );
      if (!(failed instanceof StoreError)) throw new Error(`a full disk is told by ${failed ?? "nothing"}`);
      await checkIs(url, first, tally);
      await rm(join(disk, "filling"));
      await kept.publish("x", await openFolder(second));
      await checkIs(url, second, tally);
      tally.refused++;
    } finally {
      execFileSync("umount", [disk]);
    }
  });
  return tally;
}

async function checkIs(url: string, folder: string, tally: Tally): Promise<void> {
  await checkWhole(url, tally);
  const registry = new AdapterRegistry(cpuDevice(), await openObjectStore(url));
  if ((await registry.load("x")).digest !== await digestOf(folder)) throw new Error("x is the other adapter");
}

/** Fills a disk but for so many KiB. */
async function fillUp(disk: string, leftKib: number): Promise<void> {
  const { bavail, bsize } = await statfs(disk);
  const bytes = Math.max(0, bavail * bsize - 1024 * leftKib);
  await writeFile(join(disk, "filling"), new Uint8Array(bytes));
}

const streams = 8, tokens = 24;

/** The text of a stream that ends with `[DONE]`; undefined where a server that stops takes none. */
async function streamed(
  address: string,
  model: string,
  isStopping: () => boolean = () => false,
): Promise<string | undefined> {
  const response = await fetch(`${address}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ model, prompt: "w5 w17 w29", temperature: 0, max_tokens: tokens, stream: true }),
  }).catch((error) => {
    // The port closes when the last request has ended.
    if (!isStopping()) throw error;
  });
  if (!response) return undefined;
  const text = await response.text();
  if (response.status === 503) return undefined;
  const events = text.trimEnd().split("\n\n");
  if (response.status !== 200 || events.pop() !== "data: [DONE]") {
    throw new Error(`status ${response.status}, a stream without its end: ${text.slice(-300)}`);
  }
  return events.map((event) => JSON.parse(event.slice("data: ".length)).choices[0].text).join("");
}

/** SIGTERM under load: each stream that was taken ends with the right text, later ones are refused, the exit code is 0. */
export async function serverIsStopped(seed: number): Promise<Tally> {
  const random = uniforms(seed), tally: Tally = { right: 0, refused: 0 };
  await withTinyModel(async (folder) => {
    const args = ["--adapter", `a=${folders[0]},b=${folders[1]}`, "--device", "cpu", "--port", "0"];
    const server = start(["serve", "--model", join(folder, "base"), ...args]), end = ended(server);
    let told = false;
    try {
      const [, address] = await says(server, /listening on (http:\/\/[\d.]+:\d+)\n/);
      const models = ["a", "b", "base"];
      const right = await Promise.all(models.map((model) => streamed(address, model)));
      const ask = async (i: number): Promise<void> => {
        for (let at = i;; at++) {
          const text = await streamed(address, models[at % 3], () => told);
          if (text === undefined) return void tally.refused++;
          if (text !== right[at % 3]) throw new Error(`a wrong answer: ${JSON.stringify(text)}`);
          tally.right++;
        }
      };
      const asking = Promise.all(Array.from({ length: streams }, (_, i) => ask(i)));
      await Promise.race([delay(200 * random()), asking]);
      told = true;
      send(server, "SIGTERM");
      await asking;
      const { code, stderr } = await end;
      if (code !== 0) throw new Error(`the server ended with ${code}: ${stderr}`);
    } finally {
      if (server.exitCode === null && server.signalCode === null) send(server, "SIGKILL");
    }
  });
  return tally;
}
