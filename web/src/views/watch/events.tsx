/** What has happened to an upload, the newest first. */
import { useEffect, useState } from "preact/hooks";
import type { Schema } from "../../api";
import { bytes, count, counted } from "../../format";
import { usePages } from "../../live";
import { Button } from "../../ui/button";
import { Moment } from "../../ui/moment";
import { Failure } from "../../ui/notice";
import { STATES, type UploadState } from "../../ui/state";
import type { Upload } from "./verbs";

type Event = Schema<"Event">;

const SHOWN = 20; // of the timeline, unless more are asked for
const BAD = ["chunk_dead", "failed", "quarantined"];

const WORDS: Record<string, string> = {
  created: "Announced",
  stored: "The file is stored",
  scanned: "The whole file was read",
  chunk_dead: "A chunk was given up",
  cancel: "Canceling was asked",
  pause: "Pausing was asked",
  resume: "Resuming was asked",
  confirm: "Confirmed",
  redrive: "Another try was asked",
  revert: "Undoing was asked",
  retry: "A correction was announced",
  verify: "A comparison was asked",
  receipt: "The receipt was made",
  files_expired: "File and rejects were kept long enough",
};

export function Events({ upload }: { upload: Upload }) {
  const asked = { path: { upload_id: upload.id }, query: { limit: 1000 } };
  const { items, error, more, done, reload } = usePages("/v1/uploads/{upload_id}/events", asked);
  const [all, setAll] = useState(false);
  useEffect(reload, [upload.state, upload.children.length]);
  useEffect(() => {
    if (!done) more();
  }, [items.length]);
  return (
    <details class="card events" open>
      <summary>
        <h2>What happened</h2>
      </summary>
      <Failure error={error} title="The timeline could not be fetched." />
      <ol>
        {items
          .slice(all ? 0 : -SHOWN)
          .reverse()
          .map((one) => (
            <li
              key={one.id}
              class={[one.event, one.state ?? ""].some((name) => BAD.includes(name)) ? "bad" : undefined}
            >
              <Moment at={one.at} />
              <span>{told(one, upload.malware?.threat)}</span>
            </li>
          ))}
      </ol>
      {!all && items.length > SHOWN && (
        <Button small onClick={() => setAll(true)}>
          Show all {count(items.length)}
        </Button>
      )}
    </details>
  );
}

function told(event: Event, threat: string | null | undefined): string {
  const known = event.details as Record<string, unknown>;
  const checks = event.state === "processing" && known.pass === "check";
  const words = checks
    ? "Checking"
    : event.event === "state" && event.state
      ? (STATES[event.state as UploadState]?.[0] ?? event.state)
      : (WORDS[event.event] ?? event.event);
  const further = [
    typeof known.bytes === "number" && bytes(known.bytes),
    typeof known.rows === "number" && counted(known.rows, "row"),
    typeof known.chunks === "number" && counted(known.chunks, "chunk"),
    typeof known.chunk === "number" && `chunk ${count(known.chunk)}`,
    typeof known.attempts === "number" && counted(known.attempts, "attempt"),
    typeof known.fault === "string" && known.fault,
    typeof known.code === "string" && (known.code === event.state ? threat : known.code),
  ].filter(Boolean);
  return further.length ? `${words}: ${further.join(", ")}` : words;
}
