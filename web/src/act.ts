/** Something that is done at the press of a button, one thing at a time: that it is under way, and how it failed. */
import { useState } from "preact/hooks";
import { Offline, Problem } from "./http";
import { Refusal, Unanswered } from "./storage";
import { announce } from "./ui/announce";

/** How what is asked of the service and of the storage may fail; anything else is a mistake of the page. */
export type Failed = Problem | Offline | Refusal | Unanswered;

interface Doing {
  /** What is under way, by the name it was given. */
  busy: string | null;
  error: Failed | null;
  /** Do it; whether it was done. `done` is said to readers of the screen. */
  act: (name: string, doing: () => Promise<unknown>, done?: string) => Promise<boolean>;
}

/** `after` is called when it was done and when it failed: what is shown may be another now. */
export function useDoing(after?: () => void): Doing {
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<Failed | null>(null);
  async function act(name: string, doing: () => Promise<unknown>, done?: string): Promise<boolean> {
    setBusy(name);
    setError(null);
    try {
      await doing();
      if (done) announce(done);
      return true;
    } catch (failure) {
      if (!hasFailed(failure)) throw failure;
      setError(failure);
      return false;
    } finally {
      setBusy(null);
      after?.();
    }
  }
  return { busy, error, act };
}

function hasFailed(failure: unknown): failure is Failed {
  return [Problem, Offline, Refusal, Unanswered].some((kind) => failure instanceof kind);
}
