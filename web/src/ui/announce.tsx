/** What is said to readers of the screen when something happens elsewhere than where they are. */
import { signal } from "@preact/signals";

const said = signal("");

export function announce(text: string): void {
  // The same words again are a change only with something added.
  said.value = said.value === text ? `${text}\u00a0` : text;
}

/** Once, in the frame. */
export function Announcer() {
  return (
    <div class="unseen" aria-live="polite" data-announcer>
      {said}
    </div>
  );
}
