/** The rejected rows: looked at, corrected in place, downloaded, and sent again as a child upload. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { count, counted } from "../../format";
import { type Pages, usePages } from "../../live";
import { go } from "../../router";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Failure, Notice } from "../../ui/notice";
import { type Column, Table } from "../../ui/table";
import { send as sendFile, type Watcher } from "../upload/sender";
import { may, type Upload } from "../watch/verbs";
import { Editor } from "./editor";
import { cells, columns, corrections, type FileColumn, type Marks, marks } from "./record";
import { type Edits, saveAs, saveFrom, unsentOf } from "./unsent";

export type Reject = Schema<"Reject">;

export function Rejects({ upload }: { upload: Upload }) {
  const asked = { path: { upload_id: upload.id }, query: { limit: 1000 } };
  // Without `format` it is a page; the contract has one answer for both.
  const path = "/v1/uploads/{upload_id}/rejects" as "/v1/uploads/{upload_id}/events";
  const { items, more, error } = usePages(path, asked) as unknown as Pages<Reject>;
  const unsent = unsentOf(upload.id);
  const [edits, setEdits] = useState(unsent.edits);
  const [open, setOpen] = useState<number | null>(null);
  const { busy, error: refused, act } = useDoing();
  const [waits, setWaits] = useState<string | null>(null);
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);
  const ready = may("retry", upload);
  const shown = { at: marks(upload), columns: columns(upload) };
  const corrects = ready && shown.columns.length > 0;

  function hold(next: Edits): void {
    unsent.edits = next;
    setEdits(next);
  }
  function keep(row: number, values: string[] | null): void {
    const next = new Map(edits);
    if (values) next.set(row, values);
    else next.delete(row);
    hold(next);
  }
  /** The next line to be looked at, or none. */
  function look(place: number | null): void {
    unsent.typed.clear();
    setOpen(place);
  }
  async function resubmit(): Promise<void> {
    const { signal } = left.current;
    const sending = act("send", async () => {
      const fields = shown.columns.map((one) => one.field);
      const id = await send(upload, corrections(fields, edits), { signal, sent: () => {}, waits: setWaits });
      // What was corrected meanwhile was not sent with them.
      hold(new Map([...unsent.edits].filter(([row, values]) => edits.get(row) !== values)));
      announce(`${counted(edits.size, "corrected row")} sent again.`);
      go(`/uploads/${id}`);
    });
    await sending.catch((error) => {
      if (!signal.aborted) throw error; // nobody looks any more
    });
  }

  const digits = count(items.at(-1)?.line ?? 0).length;
  const list: Column<Reject>[] = [
    {
      key: "line",
      title: "Line",
      width: Math.max(3, 0.6 * digits),
      grow: 0,
      end: true,
      cell: (one) => count(one.line),
    },
    {
      key: "why",
      title: "Reason",
      width: 8,
      grow: 2,
      cell: (one) => <Reason reject={one} edited={edits.has(one.row)} />,
    },
    { key: "raw", title: "Row", width: 14, grow: 3, wide: true, cell: (one) => <Raw reject={one} {...shown} /> },
    {
      key: "act",
      title: corrects ? "Correct" : "Look",
      width: 4,
      grow: 0,
      cell: (one, place) => (
        <button
          type="button"
          class="link"
          aria-label={`${corrects ? "Correct" : "Look at"} line ${one.line}`}
          onClick={() => setOpen(place)}
        >
          {corrects ? "Correct" : "Look"}
        </button>
      ),
    },
  ];
  return (
    <section class="card rejects">
      <div class="title">
        <h2>{counted(upload.rejected, "rejected row")}</h2>
        {ready && <Downloads upload={upload} />}
      </div>
      <Failure error={error} title="The rejected rows could not be fetched." />
      <Failure error={refused} title="The corrected rows were not sent." />
      {busy === "send" && waits && <Notice kind="warning">{waits}</Notice>}
      <Table
        label="Rejected rows"
        rows={items}
        columns={list}
        id={(one) => one.row}
        total={upload.rejected}
        onEnd={more}
        onOpen={(_, place) => setOpen(place)}
      />
      {edits.size > 0 && (
        <div class="kept" role="status">
          <span>{counted(edits.size, "row")} corrected, not sent yet</span>
          <div class="buttons">
            <Button kind="primary" busy={busy === "send"} onClick={resubmit}>
              Send {counted(edits.size, "row")} again
            </Button>
            <Button onClick={() => hold(new Map())}>Forget them</Button>
          </div>
        </div>
      )}
      {open !== null && items[open] && (
        <Editor
          key={items[open].row}
          reject={items[open]}
          columns={shown.columns}
          marks={shown.at}
          held={edits.get(items[open].row)}
          typed={unsent.typed}
          editable={ready}
          hasNext={open + 1 < items.length}
          onKeep={keep}
          onNext={() => look(open + 1)}
          onClose={() => look(null)}
        />
      )}
    </section>
  );
}

function Reason({ reject, edited }: { reject: Reject; edited: boolean }) {
  const [first, ...others] = reject.errors;
  return (
    <span title={reject.errors.map((one) => `${one.column ?? "record"}: ${one.detail}`).join("\n")}>
      {edited && <span class="state good">corrected</span>} {first?.column && <strong>{first.column}</strong>}{" "}
      {first?.detail}
      {others.length > 0 && <span class="quiet"> and {counted(others.length, "more", "more")}</span>}
    </span>
  );
}

/** The row as it stood in the file, its bad cells marked. */
function Raw({ reject, at, columns: all }: { reject: Reject; at: Marks; columns: FileColumn[] }) {
  const bad = new Set(reject.errors.map((one) => one.column));
  const places = new Set(all.filter((one) => bad.has(one.field) || bad.has(one.name)).map((one) => one.place));
  if (!places.size) return <code>{reject.raw}</code>;
  return (
    <code>
      {cells(reject.raw, at).map((cell, place) => (
        <>
          {place > 0 && at.delimiter}
          {places.has(place) ? <mark>{cell || "\u2423"}</mark> : cell}
        </>
      ))}
    </code>
  );
}

function Downloads({ upload }: { upload: Upload }) {
  const { busy, error, act } = useDoing();
  const fetchAs = (format: "csv" | "xlsx") =>
    act(format, async () => {
      for (;;) {
        const path = { upload_id: upload.id };
        const answer = await api.get("/v1/uploads/{upload_id}/rejects", { path, query: { format } });
        if ("url" in answer) {
          // Of encrypted fields the file is the answer.
          if (answer.url.startsWith("data:")) saveAs(`${upload.id}-rejects.${format}`, answer.url);
          else saveFrom(answer.url);
          return;
        }
        await new Promise((done) => setTimeout(done, 1000));
      }
    });
  return (
    <>
      <div class="buttons">
        <Button small busy={busy === "csv"} onClick={() => fetchAs("csv")} label="Download the rejected rows as CSV">
          CSV
        </Button>
        <Button small busy={busy === "xlsx"} onClick={() => fetchAs("xlsx")} label="Download the rejected rows as XLSX">
          XLSX
        </Button>
      </div>
      <Failure error={error} title="The file could not be made." />
    </>
  );
}

/** The child upload that the rows are sent to, once: where an answer is lost, whether they arrived is asked first. */
async function send(parent: Upload, text: string, watcher: Watcher): Promise<string> {
  // A name may have 1,024 letters, emoji among them; its end says what kind of file it is.
  const filename = `corrections of ${[...parent.filename].slice(-1000).join("")}`;
  const file = new File([text], filename, { type: "text/csv" });
  const dialect = { delimiter: ",", quote: '"', header: true, encoding: "utf-8" } as const;
  const { id, upload } = await api.post("/v1/uploads/{upload_id}/retries", {
    path: { upload_id: parent.id },
    body: { filename, size: file.size, content_type: file.type, options: { dialect } },
  });
  await sendFile(id, file, watcher, upload);
  return id;
}
