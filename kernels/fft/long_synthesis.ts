/**
 * WGSL of the synthesis of rows too long for one workgroup's memory, from terms (terms.ts); see long_plan.ts.
 *
 * The caller declares `work`, `at` and `local` as for any transform, the bindings `spans` and `terms`, and
 * `fn turned_source(source: u32) -> vec2f`, the turn of a source bin; and in `main` the value `turn`.
 *
 * @module
 */
import { index, type Place, placeInWork } from "./layout.ts";
import type { LongPlan } from "./long_plan.ts";
import { type Held, stagesOf } from "./stages.ts";
import { termParts } from "./terms.ts";
import type { Twiddles } from "./twiddles.ts";
import { expose } from "./wgsl.ts";

/** What {@linkcode longSynthesis} is given beside its plan. */
export interface LongSynthesisOf {
  readonly twiddles: Twiddles;
  /** WGSL expression of the number of entries, uniform in the workgroup. */
  readonly count: string;
}

/** A synthesis: `functions`, then in `main` the statements of {@linkcode LongSynthesis.run}. */
export interface LongSynthesis {
  readonly functions: string;
  /** Statements that make the residues of turn number `turn` of a row; those of `deliver` take their pairs. */
  run(deliver: (pairs: Held) => string): string;
}

/** The synthesis of a plan's rows. */
export function longSynthesis(plan: LongPlan, { twiddles, count }: LongSynthesisOf): LongSynthesis {
  const { residues, width, mostEntries, transform } = plan;
  const [first, ...others] = stagesOf({ plan: transform, name: "s", twiddles }).slice(1);
  const part = termParts(plan);
  const each = (body: (i: string) => string): string =>
    Array.from({ length: Math.ceil(2 * mostEntries / transform.threads) }, (_, b) => {
      const i = b === 0 ? "local" : `(local + ${b * transform.threads}u)`;
      return `if (${i} < 2 * ${count}) { ${body(i)} }\n`;
    }).join("");
  const summed = (place: Place): string => `summed(${index(place)})`;
  let last: Held & { readonly layout: typeof first.layout } = first;
  const passes = others.map((stage) => {
    const { layout } = last;
    const code = expose(
      transform,
      { held: last, layout },
      ({ field }) => stage.get((place) => `work[${placeInWork(layout, place)}]`, field),
    );
    last = stage;
    return stage.declare + code + stage.compute;
  });
  const place = ({ base, plus = 0 }: Place): Place => ({
    base: `turn * ${width}u + ${base} % ${width}u + ${base} / ${width}u * ${residues}u`,
    plus: plus / width * residues,
  });
  const row: Held = { put: (write) => last.put((at, value) => write(place(at), value)) };
  return {
    functions: summedFunction(plan),
    run: (deliver) => /* wgsl */ `
${
      each((i) =>
        `var value = cmul(${part.factor(i)}, turned_source(${part.source(i)}));
let step = ${part.step(i)};
for (var t = 0u; t < turn; t++) { value = cmul(value, step); }
work[${i}] = value.x; work[${i} + ${2 * mostEntries}u] = value.y;`
      )
    }
${first.declare}
workgroupBarrier();
${first.get(summed, "")}
${first.compute}
${passes.join("")}
${deliver(row)}
`,
  };
}

/** WGSL function `summed`: point i of a turn's transform, from the terms in `work`. */
function summedFunction(plan: LongPlan): string {
  const { width, mostEntries } = plan;
  return /* wgsl */ `
fn summed(i: u32) -> vec2f {
  var sum = vec2f();
  let span = spans[i / ${width}u];
  let end = span >> 16;
  for (var e = span & 0xffff; e < end; e++) {
    sum += cmul(vec2f(work[e], work[e + ${2 * mostEntries}u]), ${termParts(plan).turn("e", `i % ${width}u`)});
  }
  return sum;
}
`;
}
