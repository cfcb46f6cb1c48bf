/**
 * Trains a FourierFT adapter in the page, on its GPU (or the CPU, where the page has none); `train.html` shows it.
 *
 * @module
 */
import { openDevice, openUrlFolder, train, type TrainEvent } from "fourierft";

/** What to train on, and how. */
export interface Run {
  /** The URL of a Hugging Face model folder, ending in a slash. */
  readonly model: string;
  /** A text, or a file that the user chose. */
  readonly data: string | File;
  /** `auto` takes the CPU where the page's only GPU is a software one. */
  readonly device: "auto" | "webgpu" | "cpu";
  readonly steps: number;
  readonly contextLength: number;
  readonly lr: number;
  readonly signal: AbortSignal;
  readonly onEvent: (event: TrainEvent) => void;
}

/** A trained adapter. */
export interface Trained {
  /** The device that computed it. */
  readonly device: string;
  readonly step: number;
  /** URLs of the adapter's files, to be downloaded, by their names. */
  readonly urls: ReadonlyMap<string, string>;
}

function contentOf(data: string | File) {
  if (typeof data === "string") return { content: data };
  return { content: data.stream(), format: data.name.endsWith(".jsonl") ? "jsonl" : "text" } as const;
}

/** Trains until `steps` or the signal; what was learnt until then is the result either way. */
export async function trainInPage({ model, data, device: kind, ...run }: Run): Promise<Trained> {
  const device = await openDevice({ kind });
  try {
    const { files, step } = await train(device, {
      ...run,
      folder: openUrlFolder(model),
      data: contentOf(data),
      adapter: { peftType: "FOURIERFT", nFrequency: 500 },
      batchSize: 2,
    });
    const urls = new Map<string, string>();
    for (const [name, bytes] of files) {
      urls.set(name, URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>])));
    }
    return { device: device.description, step, urls };
  } finally {
    device.destroy();
  }
}
