/** What may be asked of an upload in its state, and nothing else; what cannot be taken back is asked twice. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { count, legible } from "../../format";
import { isLegal, type Verb } from "../../journey";
import { go } from "../../router";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Failure } from "../../ui/notice";

export type Upload = Schema<"Upload">;
export function may(verb: Verb, upload: Upload): boolean {
  if (!isLegal(verb, upload.state)) return false;
  if (verb === "retry") return upload.rejected > 0;
  if (verb === "redrive") return upload.unprocessed > 0;
  if (verb === "revert") return upload.rows_visible > 0 || upload.updated > 0;
  return true;
}

interface Asking {
  upload: Upload;
  /** Ask for the upload anew: something was done to it. */
  refresh: () => void;
}

type Plain = "cancel" | "pause" | "resume" | "redrive";

export function Verbs({ upload, refresh }: Asking) {
  const { busy, error, act } = useDoing(refresh);
  const [sure, setSure] = useState<"cancel" | "delete" | null>(null);
  const path = { upload_id: upload.id };
  const ask = (verb: Plain) => act(verb, () => api.post(`/v1/uploads/{upload_id}/${verb}`, { path }));
  async function remove(): Promise<void> {
    const gone = () => api.delete("/v1/uploads/{upload_id}", { path });
    if (await act("delete", gone, `${legible(upload.filename)} is deleted.`)) go("/", {}, true);
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
