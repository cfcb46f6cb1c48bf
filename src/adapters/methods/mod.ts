/**
 * Every adapter method once.
 *
 * @module
 */
import type { Method } from "../method.ts";
import { fourierft } from "./fourierft.ts";
import { lora } from "./lora.ts";

/** The methods an adapter folder's `peft_type` may name. */
export const methods: readonly Method[] = [fourierft, lora];
