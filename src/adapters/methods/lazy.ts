/**
 * Every adapter method once, each loaded with the first adapter that may be of it: a page loads the few that it meets.
 *
 * @module
 */
import type { LazyMethod } from "../method_list.ts";

/** The methods that adapters may be of unless a caller lists others; in the order of `methods`. */
export const lazyMethods: readonly LazyMethod[] = [
  {
    name: "FourierFT",
    peftType: "FOURIERFT",
    load: async () => (await import("./fourierft.ts")).fourierft,
  },
  {
    name: "LoRA",
    peftType: "LORA",
    load: async () => (await import("./lora.ts")).lora,
  },
  {
    name: "DoRA",
    peftType: "LORA",
    load: async () => (await import("./dora.ts")).dora,
  },
  {
    name: "C3A",
    peftType: "C3A",
    hasBanksApart: true,
    load: async () => (await import("./c3a.ts")).c3a,
  },
  {
    name: "WaveFT",
    peftType: "WAVEFT",
    hasBanksApart: true,
    load: async () => (await import("./waveft.ts")).waveft,
  },
  {
    name: "VB-LoRA",
    peftType: "VBLORA",
    load: async () => (await import("./vblora.ts")).vblora,
  },
  {
    name: "LoRA-XS",
    peftType: "LORA",
    load: async () => (await import("./lora_xs.ts")).loraXs,
  },
  {
    name: "VeRA",
    peftType: "VERA",
    load: async () => (await import("./vera.ts")).vera,
  },
  {
    name: "AdaLoRA",
    peftType: "ADALORA",
    load: async () => (await import("./adalora.ts")).adalora,
  },
  {
    name: "DeLoRA",
    peftType: "DELORA",
    load: async () => (await import("./delora.ts")).delora,
  },
  {
    name: "TinyLoRA",
    peftType: "TINYLORA",
    load: async () => (await import("./tinylora.ts")).tinylora,
  },
  {
    name: "MiSS",
    peftType: "MISS",
    load: async () => (await import("./miss.ts")).miss,
  },
  {
    name: "MiSS-bat",
    peftType: "MISS",
    hasBanksApart: true,
    load: async () => (await import("./miss_bat.ts")).missBat,
  },
  {
    name: "LoHa",
    peftType: "LOHA",
    load: async () => (await import("./loha.ts")).loha,
  },
  {
    name: "LoKr",
    peftType: "LOKR",
    hasBanksApart: true,
    load: async () => (await import("./lokr.ts")).lokr,
  },
  {
    name: "HiRA",
    peftType: "HIRA",
    hasBanksApart: true,
    load: async () => (await import("./hira.ts")).hira,
  },
  {
    name: "RandLoRA",
    peftType: "RANDLORA",
    hasBanksApart: true,
    load: async () => (await import("./randlora.ts")).randlora,
  },
  {
    name: "SHiRA",
    peftType: "SHIRA",
    hasBanksApart: true,
    load: async () => (await import("./shira.ts")).shira,
  },
  {
    name: "IA3",
    peftType: "IA3",
    load: async () => (await import("./ia3.ts")).ia3,
  },
  {
    name: "RoAd",
    peftType: "ROAD",
    load: async () => (await import("./road.ts")).road,
  },
  {
    name: "HRA",
    peftType: "HRA",
    hasBanksApart: true,
    load: async () => (await import("./hra.ts")).hra,
  },
  {
    name: "OFT",
    peftType: "OFT",
    load: async () => (await import("./oft.ts")).oft,
  },
  {
    name: "BOFT",
    peftType: "BOFT",
    load: async () => (await import("./boft.ts")).boft,
  },
  {
    name: "ETHER",
    peftType: "ETHER",
    load: async () => (await import("./ether.ts")).ether,
  },
  {
    name: "SVFT",
    peftType: "SVFT",
    hasBanksApart: true,
    load: async () => (await import("./svft.ts")).svft,
  },
  {
    name: "LN-tuning",
    peftType: "LN_TUNING",
    load: async () => (await import("./ln_tuning.ts")).lnTuning,
  },
  {
    name: "trainable tokens",
    peftType: "TRAINABLE_TOKENS",
    load: async () => (await import("./trainable_tokens.ts")).trainableTokens,
  },
];
