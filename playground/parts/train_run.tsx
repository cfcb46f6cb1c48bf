/// <reference lib="dom" />
/**
 * The run that goes on, or the one that is kept: how far it is, its losses, and what becomes of its adapter.
 *
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { KeptRun, TrainProgress } from "../worker/protocol.ts";
import { takeFiles } from "../state/take_files.ts";
import type { ViewProps } from "../views/view.ts";
import { durationText } from "./format.ts";
import { LossPicture } from "./loss_curve.tsx";

/** Saves a file as the browser saves downloads. */
function save(file: File): void {
  const url = URL.createObjectURL(file);
  const link = Object.assign(document.createElement("a"), { href: url, download: file.name });
  link.click();
  // The browser reads the URL when the click has been handled.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function Going({ progress, steps }: {
  readonly progress: TrainProgress;
  readonly steps: number | undefined;
}): VNode {
  if (progress.kind === "opening") {
    return (
      <label class="run-progress">
        <span>{progress.text}</span>
        <progress max={1} value={progress.part} />
      </label>
    );
  }
  const { step, stepsPerSecond: rate, parameters, device } = progress;
  return (
    <>
      <label class="run-progress">
        <span>Step {step} of {steps}</span>
        <progress max={steps} value={step} />
      </label>
      <p class="hint figures-line">
        {rate !== undefined && (
          <span>
            {rate.toFixed(rate < 10 ? 2 : 0)} steps/s · {durationText(((steps ?? step) - step) / rate)} left
            {" · "}
          </span>
        )}
        {parameters.toLocaleString("en")} numbers · {device}
      </p>
    </>
  );
}

function AdapterButtons(props: ViewProps & { readonly kept: KeptRun }): VNode {
  const { session, comparison, training, kept } = props;
  const trying = (work: () => Promise<void>) => (): void => {
    session.clearFailure();
    work().catch((error) => session.fail(error));
  };
  const download = (name: string) =>
    trying(async () => {
      const found = (await training.files()).find(({ file }) => file.name === name);
      if (found) save(found.file);
    });
  return (
    <>
      <button
        type="button"
        class="main"
        onClick={trying(async () => {
          await takeFiles(await training.files(), props);
          if (session.failure.value !== undefined) return;
          location.hash = "generate";
          await comparison.ask();
        })}
      >
        Try {kept.job.name} beside the base
      </button>
      {["adapter_config.json", "adapter_model.safetensors"].map((name) => (
        <button key={name} type="button" onClick={download(name)}>Download {name}</button>
      ))}
    </>
  );
}

function Kept(props: ViewProps & { readonly kept: KeptRun }): VNode {
  const { training, kept: { job: { name, settings: { steps } }, model, step } } = props;
  return (
    <>
      <p>
        {step >= steps
          ? `${name} has learnt all ${steps} steps on ${model}.`
          : `${name} stands at step ${step} of ${steps} on ${model}.`}
      </p>
      <div class="row">
        {step < steps && (
          <button type="button" class="main" onClick={() => void training.goOn()}>Go on</button>
        )}
        {step > 0 && <AdapterButtons {...props} />}
        <button type="button" class="quiet" onClick={() => void training.discard()}>Discard</button>
      </div>
    </>
  );
}

/** See the module's documentation. */
export function TrainRun(props: ViewProps): VNode | null {
  const { training } = props, { curve } = training;
  const progress = training.progress.value, kept = training.kept.value, status = training.status.value;
  const place = useRef<HTMLElement>(null), isGoing = progress !== undefined, wasGoing = useRef(isGoing);
  // The button that began or ended the run may stand far below, or has gone.
  useEffect(() => {
    if (isGoing !== wasGoing.current && (isGoing || document.activeElement === document.body)) {
      place.current?.focus();
    }
    wasGoing.current = isGoing;
  }, [isGoing]);
  if (!progress && !kept) return null;
  const steps = progress ? training.steps : kept!.job.settings.steps;
  return (
    <section ref={place} tabIndex={-1} class="card run" aria-label="The run" aria-busy={isGoing}>
      {progress
        ? (
          <>
            <Going progress={progress} steps={steps} />
            <div class="row">
              <button
                type="button"
                disabled={status === "pausing"}
                onClick={() => void training.pause()}
              >
                {status === "pausing" ? "Pausing…" : "Pause"}
              </button>
              <button type="button" class="quiet" onClick={() => void training.discard()}>
                Cancel and discard
              </button>
            </div>
          </>
        )
        : <Kept {...props} kept={kept!} />}
      {curve && curve.training.length > 0 && <LossPicture curve={curve} steps={steps} />}
    </section>
  );
}
