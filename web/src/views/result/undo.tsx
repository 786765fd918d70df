/** To take an upload out of its table again, and the rows that had to stay. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { count, counted } from "../../format";
import { usePages } from "../../live";
import { href } from "../../router";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Failure, Notice } from "../../ui/notice";
import { type Column, Table } from "../../ui/table";
import { may, type Upload } from "../watch/verbs";

type Conflict = Schema<"Conflict">;

const WHY: Record<Conflict["why"], string> = {
  edited: "changed or deleted one by one since",
  replaced: "written over by a later upload",
  referenced: "rows of another dataset refer to it",
  taken: "another row has the key of the one that would come back",
  refused: "the row that would come back is no longer allowed",
};

export function Undo({ upload, refresh }: { upload: Upload; refresh: () => void }) {
  const { busy, error, act } = useDoing(refresh);
  const [sure, setSure] = useState(false);
  const [force, setForce] = useState(false);
  if (upload.state === "reverted") return <Undone upload={upload} />;
  if (!may("revert", upload)) return null;
  function undo(): void {
    setSure(false);
    act("revert", () =>
      api.post("/v1/uploads/{upload_id}/revert", { path: { upload_id: upload.id }, body: { force } }),
    );
  }
  return (
    <section class="card">
      <div class="title">
        <div>
          <h2>Undo</h2>
          <p class="quiet">Takes its rows out of {upload.dataset}; rows that it wrote over are what they were.</p>
        </div>
        <Button kind="danger" busy={busy === "revert"} onClick={() => setSure(true)}>
          Undo this upload
        </Button>
      </div>
      <Failure error={error} title="It was not undone." />
      <Dialog open={sure} onClose={() => setSure(false)} title="Undo this upload?">
        <p>
          {counted(upload.loaded, "row")} that it inserted go
          {upload.updated > 0 && `, ${counted(upload.updated, "row")} that it wrote over come back`}. An undo cannot be
          taken back; the file can be sent again. Rows that somebody has changed since are left, and told afterwards.
        </p>
        <label class="check">
          <input type="checkbox" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />
          <span>Also rows that were changed since: what others have written over them is lost</span>
        </label>
        <div class="buttons">
          <Button kind="danger" onClick={undo}>
            Undo the upload
          </Button>
          <Button onClick={() => setSure(false)}>Leave it</Button>
        </div>
      </Dialog>
    </section>
  );
}

function Undone({ upload }: { upload: Upload }) {
  const { reverted_rows, restored_rows, conflicts } = upload;
  return (
    <section class="card">
      <Notice kind={conflicts ? "warning" : "success"} title="This upload is undone">
        <p>
          {counted(reverted_rows, "row")} removed, {count(restored_rows)} restored, {count(conflicts)} left as they are.
        </p>
      </Notice>
      {conflicts > 0 && <Conflicts upload={upload} />}
    </section>
  );
}

const COLUMNS: Column<Conflict>[] = [
  { key: "row", title: "Record", width: 5, grow: 0, end: true, cell: (one) => count(one.row) },
  { key: "key", title: "Key", width: 8, cell: (one) => <code>{key(one.key)}</code> },
  { key: "why", title: "Left because", width: 12, grow: 2, cell: (one) => WHY[one.why] ?? one.why },
  {
    key: "by",
    title: "By",
    width: 8,
    wide: true,
    cell: (one) => (one.by ? <a href={href(`/uploads/${one.by}`)}>{one.by}</a> : "–"),
  },
];

function Conflicts({ upload }: { upload: Upload }) {
  const asked = { path: { upload_id: upload.id }, query: { limit: 1000 } };
  const { items, more, error } = usePages("/v1/uploads/{upload_id}/conflicts", asked);
  return (
    <>
      <Failure error={error} title="The rows that were left could not be fetched." />
      <Table
        label="Rows that were left as they are"
        rows={items}
        columns={COLUMNS}
        id={(one) => one.row}
        total={upload.conflicts}
        onEnd={more}
      />
    </>
  );
}

function key(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "object") return String(value);
  return Object.values(value).map(String).join(", ");
}
