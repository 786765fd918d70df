/** What may be wider than there is room: it scrolls by itself, by the keyboard as well. */
import type { ComponentChildren } from "preact";

export function Scrolls({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is to be reached by the keyboard
    <section class="scrolls" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
