/**
 * The module that the helpers of the CPU device run.
 *
 * @module
 */
import { type HelperSetup, serveTeam } from "../device/cpu_team.ts";
import { onStarter } from "./starter.ts";

onStarter((setup, answer) => serveTeam(setup as HelperSetup, () => answer(true)));
