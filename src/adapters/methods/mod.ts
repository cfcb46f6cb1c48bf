/**
 * Every adapter method once.
 *
 * @module
 */
import type { Method } from "../method.ts";
import { adalora } from "./adalora.ts";
import { boft } from "./boft.ts";
import { c3a } from "./c3a.ts";
import { delora } from "./delora.ts";
import { dora } from "./dora.ts";
import { ether } from "./ether.ts";
import { fourierft } from "./fourierft.ts";
import { hira } from "./hira.ts";
import { hra } from "./hra.ts";
import { ia3 } from "./ia3.ts";
import { lnTuning } from "./ln_tuning.ts";
import { loha } from "./loha.ts";
import { lokr } from "./lokr.ts";
import { lora } from "./lora.ts";
import { loraXs } from "./lora_xs.ts";
import { miss } from "./miss.ts";
import { missBat } from "./miss_bat.ts";
import { oft } from "./oft.ts";
import { randlora } from "./randlora.ts";
import { road } from "./road.ts";
import { shira } from "./shira.ts";
import { svft } from "./svft.ts";
import { tinylora } from "./tinylora.ts";
import { trainableTokens } from "./trainable_tokens.ts";
import { vblora } from "./vblora.ts";
import { vera } from "./vera.ts";
import { waveft } from "./waveft.ts";

/** The methods that adapters may be of; of two that claim one, the later has it. */
export const methods: readonly Method[] = [
  fourierft,
  lora,
  dora,
  c3a,
  waveft,
  vblora,
  loraXs,
  vera,
  adalora,
  delora,
  tinylora,
  miss,
  missBat,
  loha,
  lokr,
  hira,
  randlora,
  shira,
  ia3,
  road,
  hra,
  oft,
  boft,
  ether,
  svft,
  lnTuning,
  trainableTokens,
];
