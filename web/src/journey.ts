/** What may be asked of an upload in which state: journey.json is made of the service's own table, `make web` does it. */
import journey from "./journey.json";
import type { UploadState } from "./ui/state";

export type Verb = keyof typeof journey.verbs;

/** Nothing moves any more in these. */
export const ENDS = journey.terminal as UploadState[];

const VERBS = journey.verbs as Record<Verb, UploadState[]>;
/** What a verb leads to: asked for there it is granted, and changes nothing. */
const SO_ALREADY: Partial<Record<Verb, UploadState[]>> = {
  cancel: ["canceling", "canceled"],
  pause: ["paused"],
  resume: ["queued", "processing"],
  revert: ["reverting", "reverted"],
};

/** Whether the service grants it, and something changes by it. */
export function isLegal(verb: Verb, state: UploadState): boolean {
  return VERBS[verb].includes(state) && !SO_ALREADY[verb]?.includes(state);
}
