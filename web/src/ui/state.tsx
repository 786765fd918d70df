/** The state of an upload in a word, with a colour that says how well it goes. */
import type { Schema } from "../api";

export type UploadState = Schema<"Upload">["state"];
type Tone = "idle" | "busy" | "good" | "mixed" | "bad";

export const STATES: Record<UploadState, [words: string, tone: Tone]> = {
  awaiting_upload: ["Waiting for the file", "idle"],
  uploaded: ["Stored", "busy"],
  scanning: ["Scanning", "busy"],
  splitting: ["Splitting", "busy"],
  queued: ["Queued", "busy"],
  processing: ["Loading", "busy"],
  paused: ["Paused", "idle"],
  needs_review: ["Needs a look", "mixed"],
  canceling: ["Canceling", "busy"],
  completed: ["Completed", "good"],
  completed_with_errors: ["Some rejected", "mixed"],
  failed: ["Failed", "bad"],
  canceled: ["Canceled", "idle"],
  expired: ["Expired", "idle"],
  reverting: ["Undoing", "busy"],
  reverted: ["Undone", "idle"],
  quarantined: ["Quarantined", "bad"],
};

export function State({ of }: { of: UploadState }) {
  const [words, tone] = STATES[of] ?? [of, "idle"];
  return <span class={`state ${tone}`}>{words}</span>;
}
