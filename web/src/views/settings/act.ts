/** Something that is done at the press of a button: that it is under way, and how it failed. */
import { useState } from "preact/hooks";
import { Offline, Problem } from "../../http";
import { announce } from "../../ui/announce";

export interface Doing {
  /** What is under way, by the name it was given. */
  busy: string | null;
  error: Problem | Offline | null;
  /** Do it; whether it was done. `done` is said to readers of the screen. */
  act: (name: string, doing: () => Promise<unknown>, done: string) => Promise<boolean>;
}

export function useDoing(): Doing {
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<Problem | Offline | null>(null);
  async function act(name: string, doing: () => Promise<unknown>, done: string): Promise<boolean> {
    setBusy(name);
    setError(null);
    try {
      await doing();
      announce(done);
      return true;
    } catch (failure) {
      if (!(failure instanceof Problem || failure instanceof Offline)) throw failure;
      setError(failure);
      return false;
    } finally {
      setBusy(null);
    }
  }
  return { busy, error, act };
}
