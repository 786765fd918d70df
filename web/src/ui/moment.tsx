/** How long ago something was; the whole moment is told to whoever points at it. */
import { ago, exactly } from "../format";

export function Moment({ at }: { at: string }) {
  return (
    <time dateTime={at} title={exactly(at)}>
      {ago(at)}
    </time>
  );
}
