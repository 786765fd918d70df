/** How long ago something was, for as long as it is shown; the whole moment is told to whoever points at it. */
import { signal } from "@preact/signals";
import { ago, exactly } from "../format";

const now = signal(Date.now());
setInterval(() => {
  now.value = Date.now();
}, 15_000);

export function Moment({ at }: { at: string }) {
  return (
    <time dateTime={at} title={exactly(at)}>
      {ago(at, Math.max(now.value, Date.parse(at)))}
    </time>
  );
}
