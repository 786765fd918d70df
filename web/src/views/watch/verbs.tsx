/** What may be asked of an upload in its state, and nothing else; what cannot be taken back is asked twice. */
import { useState } from "preact/hooks";
import { api, type Schema } from "../../api";
import { count } from "../../format";
import type { Offline, Problem } from "../../http";
import { go } from "../../router";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Failure } from "../../ui/notice";
import type { UploadState } from "../../ui/state";

export type Upload = Schema<"Upload">;
export type Verb = "cancel" | "pause" | "resume" | "confirm" | "redrive" | "revert" | "delete";

const BEFORE_THE_END: UploadState[] = [
  ...(["awaiting_upload", "uploaded", "scanning", "splitting", "queued"] as const),
  ...(["processing", "paused", "needs_review"] as const),
];
/** In which states each is legal and changes something: `VERBS` of the service's journey.py, without repeats. */
const LEGAL: Record<Verb, UploadState[]> = {
  cancel: BEFORE_THE_END,
  pause: ["queued", "processing"],
  resume: ["paused"],
  confirm: ["needs_review"],
  redrive: ["completed_with_errors", "failed"],
  revert: ["completed", "completed_with_errors", "failed", "canceled"],
  delete: [
    ...([
      "awaiting_upload",
      "completed",
      "completed_with_errors",
      "failed",
      "canceled",
      "expired",
      "reverted",
    ] as const),
    "quarantined",
  ],
};

export function may(verb: Verb, upload: Upload): boolean {
  if (!LEGAL[verb].includes(upload.state)) return false;
  if (verb === "redrive") return upload.unprocessed > 0;
  if (verb === "revert") return upload.rows_visible > 0 || upload.updated > 0;
  return true;
}

interface Asking {
  upload: Upload;
  /** Ask for the upload anew: something was done to it. */
  refresh: () => void;
}

/** Something that is asked of the service, once at a time, and what came of it. */
export function useDeed(refresh: () => void) {
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<Problem | Offline | null>(null);
  async function act(name: string, deed: () => Promise<unknown>): Promise<boolean> {
    setBusy(name);
    setError(null);
    try {
      await deed();
      return true;
    } catch (failure) {
      setError(failure as Problem | Offline);
      return false;
    } finally {
      setBusy(null);
      refresh();
    }
  }
  return { busy, error, act, forgive: () => setError(null) };
}

type Plain = "cancel" | "pause" | "resume" | "redrive";

export function Verbs({ upload, refresh }: Asking) {
  const { busy, error, act } = useDeed(refresh);
  const [sure, setSure] = useState<"cancel" | "delete" | null>(null);
  const path = { upload_id: upload.id };
  const ask = (verb: Plain) => act(verb, () => api.post(`/v1/uploads/{upload_id}/${verb}`, { path }));
  async function remove(): Promise<void> {
    if (!(await act("delete", () => api.delete("/v1/uploads/{upload_id}", { path })))) return;
    announce(`${upload.filename} is deleted.`);
    go("/", {}, true);
  }
  const button = (verb: Plain, words: string, kind: "primary" | "plain" = "plain") =>
    may(verb, upload) && (
      <Button kind={kind} busy={busy === verb} onClick={() => ask(verb)}>
        {words}
      </Button>
    );
  return (
    <>
      <div class="buttons">
        {button("resume", "Resume", "primary")}
        {button("pause", "Pause")}
        {button("redrive", `Try ${count(upload.unprocessed)} left out again`, "primary")}
        {may("cancel", upload) && (
          <Button kind="danger" busy={busy === "cancel"} onClick={() => setSure("cancel")}>
            Cancel
          </Button>
        )}
        {may("delete", upload) && (
          <Button kind="danger" busy={busy === "delete"} onClick={() => setSure("delete")}>
            Delete
          </Button>
        )}
      </div>
      <Failure error={error} title="That was not done." />
      <Dialog open={sure === "cancel"} onClose={() => setSure(null)} title="Cancel this upload?">
        <p>
          Nothing more is loaded. {rowsStay(upload)} A canceled upload cannot be taken up again; the file would have to
          be sent anew.
        </p>
        <div class="buttons">
          <Button
            kind="danger"
            onClick={() => {
              setSure(null);
              ask("cancel");
            }}
          >
            Cancel the upload
          </Button>
          <Button onClick={() => setSure(null)}>Let it go on</Button>
        </div>
      </Dialog>
      <Dialog open={sure === "delete"} onClose={() => setSure(null)} title="Delete this upload?">
        <p>
          Its file, its status and its rejected rows go for good. {rowsStay(upload)} To take rows out of the dataset,
          undo the upload first.
        </p>
        <div class="buttons">
          <Button
            kind="danger"
            onClick={() => {
              setSure(null);
              remove();
            }}
          >
            Delete the upload
          </Button>
          <Button onClick={() => setSure(null)}>Keep it</Button>
        </div>
      </Dialog>
    </>
  );
}

function rowsStay(upload: Upload): string {
  return upload.rows_visible ? `The ${count(upload.rows_visible)} rows that are in ${upload.dataset} stay.` : "";
}
