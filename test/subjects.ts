/**
 * Every adapter method, with the way that tests make its adapters.
 *
 * @module
 */
import { reflection } from "../examples/reflection.ts";
import { phasesOf } from "../src/adapters/bank.ts";
import type { LinearShape } from "../src/adapters/method.ts";
import { c3a } from "../src/adapters/methods/c3a.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { ether } from "../src/adapters/methods/ether.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { svft } from "../src/adapters/methods/svft.ts";
import { foldedSubjects } from "./folded_subjects.ts";
import type { Subject } from "./method_contract.ts";
import { made } from "./method_files.ts";
import { otherSubjects } from "./other_subjects.ts";

/** Every method of the package that adapts linears, and one of a caller's own. */
export const subjects: readonly Subject[] = [
  ...methods.filter((method) => phasesOf(method).length > 0)
    .filter((method) => ![...foldedSubjects, ...otherSubjects].some((one) => one.method === method))
    .map((method) =>
      method === dora
        // The norms are constants in the backward: A and B have the gradients of PEFT, which fixtures hold.
        ? { method, constantIn: [".lora_A.weight", ".lora_B.weight"] }
        : method === c3a
        ? { method, takes: ({ out }: LinearShape) => out % 10 === 0 }
        : { method, ...made[method.name], curved: method === ether || method === svft }
    ),
  ...foldedSubjects,
  ...otherSubjects,
  { method: reflection, ...made[reflection.name] },
];
