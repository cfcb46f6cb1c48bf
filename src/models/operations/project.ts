import type { Value } from "../graph.ts";
import type { Projection } from "../projection.ts";

/** W x + b of each linear of a projection; or, of one linear, `onto` + W x + b. */
export function project(x: Value, projection: Projection, onto?: Value): Value[] {
  const { kind, outs } = projection;
  if (onto && (outs.length !== 1 || onto.width !== outs[0])) {
    throw new TypeError(`Cannot add "${kind}" of ${outs} outputs to a value of ${onto.width} columns`);
  }
  const made = outs.map((out) => x.graph.value(out, x.of));
  const accumulate = Number(onto !== undefined);
  x.graph.record({
    name: `project ${kind}`,
    reads: [x],
    makes: made,
    onto,
    projection,
    step: ({ project, tensor, together }) =>
      project(projection, { x: tensor(x), y: together(made), accumulate }),
    whole: ({ project, tensor }) =>
      made.flatMap((y, i) => project(projection, i, { x: tensor(x), y: tensor(y), accumulate })),
  });
  return made;
}

/** `onto` + W x + b: a branch's last linear, added to the residual stream. */
export function projectOnto(onto: Value, x: Value, projection: Projection): Value {
  return project(x, projection, onto)[0];
}
