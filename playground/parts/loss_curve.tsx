/// <reference lib="dom" />
/**
 * Losses by step, drawn anew while a run goes on: few lines, so that a frame costs little.
 *
 * @module
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { VNode } from "preact";
import type { LossCurve, LossPoint } from "../worker/protocol.ts";

const height = 240, edge = { left: 44, right: 12, top: 24, bottom: 34 };

/** Rows of the table at most. */
const mostRows = 50;

/** Round numbers within a range, about as many as asked. */
function ticks(low: number, high: number, count: number): readonly number[] {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => power * factor >= rough) ?? 10);
  const found: number[] = [];
  for (let i = Math.ceil(low / step); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

/** The width that an element has now, in pixels. */
function useWidth() {
  const place = useRef<HTMLDivElement>(null), [width, setWidth] = useState(640);
  useEffect(() => {
    const seen = new ResizeObserver(([{ contentRect }]) => setWidth(Math.max(200, contentRect.width)));
    seen.observe(place.current!);
    return () => seen.disconnect();
  }, []);
  return { place, width };
}

function rangeOf(points: readonly LossPoint[]): readonly [number, number] {
  const losses = points.map(([, loss]) => loss);
  const low = Math.min(...losses), high = Math.max(...losses);
  const margin = Math.max((high - low) * 0.05, 1e-3);
  return [Math.max(0, low - margin), high + margin];
}

const lossText = (loss: number): string => loss.toPrecision(4);

/** The curve in words. */
function saidOf({ training, heldOut }: LossCurve): string {
  const [first] = training, last = training[training.length - 1], evaluated = heldOut[heldOut.length - 1];
  if (!first) return "Losses: none yet";
  return `Losses: of training ${lossText(first[1])} at step ${first[0]}, ${lossText(last[1])} at step ${
    last[0]
  }` +
    (evaluated ? `; held out ${lossText(evaluated[1])} at step ${evaluated[0]}` : "");
}

function Drawing({ curve, steps, width }: {
  readonly curve: LossCurve;
  readonly steps: number;
  readonly width: number;
}): VNode {
  const all = [...curve.training, ...curve.heldOut];
  const [low, high] = all.length > 0 ? rangeOf(all) : [0, 1];
  const x = (step: number): number =>
    edge.left + (width - edge.left - edge.right) * step / Math.max(1, steps);
  const y = (loss: number): number =>
    edge.top + (height - edge.top - edge.bottom) * (high - loss) / (high - low);
  const line = (points: readonly LossPoint[]): string =>
    points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const stepTicks = ticks(0, Math.max(1, steps), width < 420 ? 4 : 8).filter(Number.isInteger);
  return (
    <svg role="img" aria-label={saidOf(curve)} width={width} height={height} class="losses">
      {ticks(low, high, 5).map((loss) => (
        <g key={loss}>
          <line class="rule" x1={edge.left} x2={width - edge.right} y1={y(loss)} y2={y(loss)} />
          <text x={edge.left - 6} y={y(loss) + 4} text-anchor="end">{Number(loss.toPrecision(6))}</text>
        </g>
      ))}
      {stepTicks.map((step) => (
        <text key={step} x={x(step)} y={height - edge.bottom + 16} text-anchor="middle">{step}</text>
      ))}
      <text x={width - edge.right} y={height - 4} text-anchor="end">step</text>
      <text x={edge.left - 6} y={12} text-anchor="end">loss</text>
      <polyline class="of-training" points={line(curve.training)} />
      <polyline class="of-held-out" points={line(curve.heldOut)} />
      {curve.heldOut.map(([step, loss]) => (
        <circle key={step} class="of-held-out" cx={x(step)} cy={y(loss)} r={3.5} />
      ))}
    </svg>
  );
}

function Table({ curve: { training, heldOut } }: { readonly curve: LossCurve }): VNode {
  const every = Math.max(1, Math.ceil(training.length / mostRows));
  const evaluated = new Map(heldOut);
  const rows = training.filter(([step], i) =>
    i % every === 0 || i === training.length - 1 || evaluated.has(step)
  );
  return (
    <div class="table" tabIndex={0} role="region" aria-label="Losses by step">
      <table>
        <thead>
          <tr>
            <th scope="col">step</th>
            <th scope="col">training</th>
            <th scope="col">held out</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([step, loss]) => (
            <tr key={step}>
              <td>{step}</td>
              <td>{lossText(loss)}</td>
              <td>{evaluated.has(step) ? lossText(evaluated.get(step)!) : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** See the module's documentation. `steps` is the length of the axis. */
export function LossPicture({ curve, steps }: {
  readonly curve: LossCurve;
  readonly steps: number;
}): VNode {
  const { place, width } = useWidth();
  const [open, setOpen] = useState(false);
  return (
    <figure class="picture">
      <p class="legend">
        <span class="of-training">training</span>
        {curve.heldOut.length > 0 && <span class="of-held-out">held out</span>}
      </p>
      <div ref={place}>
        <Drawing curve={curve} steps={steps} width={width} />
      </div>
      <figcaption>
        <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
          <summary>Losses as a table</summary>
          {open && <Table curve={curve} />}
        </details>
      </figcaption>
    </figure>
  );
}
