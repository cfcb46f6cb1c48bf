/**
 * Which modules a config leaves out, by PEFT's rules: those of `check_target_module_exists` of PEFT 0.21.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTargets } from "../src/adapters/targets.ts";
import { load } from "./changed_fixtures.ts";

const path = "model.layers.10.self_attn.q_proj";

/** Fields of a config, and the field that leaves `path` out, if one does. */
const rules: readonly (readonly [config: Readonly<Record<string, unknown>>, field: string | undefined])[] = [
  [{}, undefined],
  [{ target_modules: null }, undefined],
  [{ target_modules: ["q_proj"] }, undefined],
  [{ target_modules: ["self_attn.q_proj", "v_proj"] }, undefined],
  [{ target_modules: [path] }, undefined],
  [{ target_modules: ["k_proj"] }, "target_modules"],
  [{ target_modules: ["proj"] }, "target_modules"],
  [{ target_modules: [] }, "target_modules"],
  // Regular expressions are not run.
  [{ target_modules: ".*k_proj" }, undefined],
  [{ exclude_modules: ".*q_proj" }, undefined],
  [{ target_modules: ["q_proj"], exclude_modules: ["q_proj"] }, "exclude_modules"],
  [{ target_modules: ".*", exclude_modules: ["10.self_attn.q_proj"] }, "exclude_modules"],
  [{ target_modules: ["q_proj"], exclude_modules: ["attn.q_proj", "0.self_attn.q_proj"] }, undefined],
  [{ target_modules: ["q_proj"], layers_to_transform: [1, 10] }, undefined],
  [{ target_modules: ["q_proj"], layers_to_transform: 10 }, undefined],
  [{ target_modules: ["q_proj"], layers_to_transform: [] }, undefined],
  [{ target_modules: ["q_proj"], layers_to_transform: [0, 1] }, "layers_to_transform"],
  [{ target_modules: ["q_proj"], layers_to_transform: 0 }, "layers_to_transform"],
  [{ target_modules: ["q_proj"], layers_to_transform: [10], layers_pattern: ["h", "layers"] }, undefined],
  [{ target_modules: ["q_proj"], layers_to_transform: [10], layers_pattern: "h" }, "layers_to_transform"],
  [{ target_modules: ["q_proj"], layers_to_transform: [0], layers_pattern: "(h|layers)" }, undefined],
  // A whole path is taken in any layer, and a regular expression says the layers itself.
  [{ target_modules: [path], layers_to_transform: [0] }, undefined],
  [{ target_modules: ".*q_proj", layers_to_transform: [0] }, undefined],
  // PEFT adapts a tied head without its name.
  [{ target_modules: ["k_proj"], ensure_weight_tying: true }, undefined],
];

test("checkTargets refuses a module that PEFT would leave out, by module and field", () => {
  for (const [config, field] of rules) {
    const check = () => checkTargets(config, [path]);
    if (field === undefined) check();
    else {
      const message = `Cannot use adapter module "${path}": PEFT leaves it out by "${field}" of ` +
        "adapter_config.json";
      assert.throws(check, { name: "ConfigError", message }, JSON.stringify(config));
    }
  }
});

test("checkTargets takes a number after the path's first part where layers_pattern names it, as PEFT does", () => {
  const named = { target_modules: ["c_attn"], layers_pattern: "h", layers_to_transform: [0] };
  checkTargets(named, ["h.0.attn.c_attn", "transformer.h.0.attn.c_attn"]);
  assert.throws(() => checkTargets({ ...named, layers_pattern: null }, ["h.0.attn.c_attn"]), {
    name: "ConfigError",
    message: /by "layers_to_transform"/,
  });
});

test("loadAdapter refuses tensors of a module that the config leaves out", async () => {
  for (const name of ["lora", "fourierft", "ia3", "vera", "c3a", "waveft", "oft", "miss-bat"]) {
    await load(name);
    await assert.rejects(load(name, { config: { exclude_modules: ["q_proj"] } }), {
      name: "ConfigError",
      message:
        'Cannot use adapter module "model.layers.0.self_attn.q_proj": PEFT leaves it out by "exclude_modules" of ' +
        "adapter_config.json",
    });
  }
});
